#include "cli/trace_output.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace glasshook::cli {
namespace {

using behaviour::Event;

/// What a trace of those events looks like.
std::string traced(const std::vector<Event>& events, const api::ApiCatalogue& catalogue,
                   bool color = false) {
  const UniqueFd file(::memfd_create("trace", MFD_CLOEXEC));
  const auto output =
      make_trace_output(output::LineSink::borrow(file.get(), "trace"), {.color = color}, catalogue);
  for (const Event& event : events) EXPECT_TRUE(output->write(event));
  EXPECT_TRUE(output->finish({}));
  std::string text(4096, '\0');
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

Event call(std::string name, std::vector<behaviour::Field> fields) {
  Event event;
  event.action = "api_called";
  event.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1500));
  auto process = std::make_shared<behaviour::Process>();
  process->name = "cat";
  event.process = process;
  event.thread_id = 41;
  event.fields = {{"api.module", std::string("libc")}, {"api.name", std::move(name)}};
  for (auto& field : fields) event.fields.push_back(std::move(field));
  return event;
}

class TraceOutput : public ::testing::Test {
 protected:
  static api::ApiCatalogue catalogue() {
    const api::SourceFile file{"t.api",
                               "module libc = libc\n"
                               "file: open(path: path, flags: hex32) -> fd ! errno\n"};
    return api::ApiCatalogue::parse(std::span(&file, 1)).value();
  }
  const api::ApiCatalogue catalogue_ = catalogue();
};

TEST_F(TraceOutput, LooksLikeStrace) {
  EXPECT_EQ(traced({call("open", {{"api.args.path", std::string("/a \"b\"\n")},
                                  {"api.args.flags", std::string("O_RDONLY")},
                                  {"api.result", std::int64_t{-1}},
                                  {"api.error", std::string("ENOENT")},
                                  {"event.duration", std::uint64_t{2'500}}})},
                   catalogue_),
            "   1.500000 cat                  41  open(\"/a \\\"b\\\"\\n\", O_RDONLY) = -1 ENOENT "
            "(No such file or directory) <0.000003>\n");
}

TEST_F(TraceOutput, IndentsNestedCallsWithALimit) {
  const auto line = [&](std::uint64_t depth) {
    return traced({call("f", {{"api.depth", depth}})}, catalogue_);
  };
  EXPECT_EQ(line(0), "   1.500000 cat                  41  f() = ?\n");
  EXPECT_EQ(line(2), "   1.500000 cat                  41      f() = ?\n");
  EXPECT_EQ(line(~std::uint64_t{0}).size(), line(32).size());
}

TEST_F(TraceOutput, QuotesGuestTextOfUnknownFunctions) {
  EXPECT_EQ(traced({call("g", {{"api.args.a", std::string("\x1b[2J")},
                               {"api.args.list", std::vector<std::string>{"x", "y\n"}},
                               {"api.args.n", std::uint64_t{0xffff'8880'0000'0000}}})},
                   catalogue_),
            "   1.500000 cat                  41  g(\"\\x1b[2J\", [\"x\", \"y\\n\"], "
            "0xffff888000000000) = ?\n");
}

TEST_F(TraceOutput, LeavesOutOtherEvents) {
  Event event = call("open", {});
  event.action = "file_opened";
  EXPECT_EQ(traced({event}, catalogue_), "");
}

}  // namespace
}  // namespace glasshook::cli
