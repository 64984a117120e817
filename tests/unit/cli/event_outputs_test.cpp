#include "cli/event_outputs.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace glasshook::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// What people see of one event of each weight.
std::string shown(const std::string& show) {
  const api::ApiCatalogue none;
  WatchOptions options;
  options.show = show;
  auto outputs =
      EventOutputs::open(options, EventOutputs::Live::text, ColorMode::never, api::GuestApis(none));
  if (!outputs) return outputs.error().message;
  ::testing::internal::CaptureStderr();
  outputs->begin("host");
  for (const char* action : {"file_opened", "file_deleted", "process_injected", "api_called"})
    outputs->write(behaviour::make_event(action));
  outputs->flush();
  return ::testing::internal::GetCapturedStderr();
}

TEST(EventOutputs, ShowWhatIsAskedFor) {
  EXPECT_THAT(shown("all"), HasSubstr("opened"));
  EXPECT_THAT(shown("changes"), Not(HasSubstr("opened")));
  EXPECT_THAT(shown("changes"), HasSubstr("deleted"));
  EXPECT_THAT(shown("notable"), Not(HasSubstr("deleted")));
  EXPECT_THAT(shown("notable"), HasSubstr("injected code into"));
  EXPECT_THAT(shown("notable"), HasSubstr("called"));
  EXPECT_THAT(shown("all of it"), HasSubstr("is not known"));
}

}  // namespace
}  // namespace glasshook::cli
