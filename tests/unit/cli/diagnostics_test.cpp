#include "cli/diagnostics.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/terminal.h"

namespace glasshook::cli {
namespace {

TEST(ErrorText, SaysWhatAndWhatToDo) {
  EXPECT_EQ(error_text({ErrorCode::io, "no VM", "start one"}),
            "glasshook: no VM\n  try: start one\n");
  EXPECT_EQ(error_text({ErrorCode::io, "no VM", ""}), "glasshook: no VM\n");
}

TEST(ErrorText, CannotBeForgedOrDriveTheTerminal) {
  EXPECT_EQ(error_text({ErrorCode::io, "file \x1b[2J\r", "a\x07"}),
            "glasshook: file \\x1b[2J\\r\n  try: a\\x07\n");
  EXPECT_EQ(error_text({ErrorCode::io, "one\ntwo", ""}), "glasshook: one\n  two\n");
}

TEST(UseColor, FollowsModeAndEnvironment) {
  EXPECT_TRUE(use_color(ColorMode::always, -1));
  EXPECT_FALSE(use_color(ColorMode::never, 1));
  EXPECT_FALSE(use_color(ColorMode::automatic, -1));
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(use_color(ColorMode::automatic, 1));
  EXPECT_TRUE(use_color(ColorMode::always, 1));
  ::unsetenv("NO_COLOR");
}

}  // namespace
}  // namespace glasshook::cli
