#include "cli/session_note.h"

#include <gtest/gtest.h>

namespace glasshook::cli {
namespace {

SessionNote sample() {
  SessionNote note{.options = {}, .windows_apis = true};
  monitor::SessionOptions& options = note.options;
  options.behaviours = {"process", "file"};
  options.apis = {"libc!open*"};
  options.filter.pids = {1, 77};
  options.filter.comms = {"sh"};
  options.filter.exes = {"/bin/*", "x"};
  options.filter.tree = true;
  options.host_id = "vm-1";
  options.rate_limit = 100;
  options.platform = behaviour::Platform::windows;
  return note;
}

TEST(SessionNote, ComesBackAsItWas) {
  const auto back = decode_session(encode_session(sample()));
  ASSERT_TRUE(back);
  EXPECT_EQ(encode_session(*back), encode_session(sample()));
  EXPECT_EQ(back->options.filter.exes, sample().options.filter.exes);
  EXPECT_EQ(back->options.filter.pids, sample().options.filter.pids);
  EXPECT_TRUE(back->options.filter.tree);
  EXPECT_EQ(back->options.rate_limit, 100u);
  EXPECT_EQ(back->options.platform, behaviour::Platform::windows);
  EXPECT_TRUE(back->windows_apis);
}

TEST(SessionNote, RefusesEveryCutAndEveryTail) {
  auto bytes = encode_session(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_session(std::span(bytes).first(size))) << size;
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_session(bytes));
}

TEST(SessionNote, RefusesAnotherVersion) {
  auto bytes = encode_session(sample());
  bytes[0] = std::byte{9};
  const auto back = decode_session(bytes);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace glasshook::cli
