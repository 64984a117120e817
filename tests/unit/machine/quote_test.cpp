#include "machine/quote.h"

#include <gtest/gtest.h>

#include "scratch.h"

namespace glasshook::machine {
namespace {

TEST(ShellQuoted, IsOneWordOfTheSameBytes) {
  std::string every_byte;
  for (int c = 1; c < 256; ++c) every_byte += static_cast<char>(c);
  for (const std::string& text :
       {std::string(), std::string("plain"), std::string("it's"), std::string("''"),
        std::string("$(reboot) `x` \\ \" * ~ # & ; \n | !"), every_byte, every_byte + every_byte}) {
    for (const char* shell : {"sh", "bash"}) {
      const auto out =
          run_program({shell, "-c", "printf %s, " + shell_quoted(text) + " end"}, soon());
      ASSERT_TRUE(out) << out.error().message;
      EXPECT_EQ(*out, text + ",end,") << shell;
    }
  }
}

}  // namespace
}  // namespace glasshook::machine
