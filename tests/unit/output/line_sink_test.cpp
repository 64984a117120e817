#include "output/line_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "output/output.h"
#include "output/sample_events.h"

namespace glasshook::output {
namespace {

class TemporaryFile {
 public:
  TemporaryFile() {
    char name[] = "/tmp/glasshook-test-XXXXXX";
    const int fd = ::mkstemp(name);
    EXPECT_GE(fd, 0);
    ::close(fd);
    path = name;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  [[nodiscard]] std::string content() const {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }
  std::string path;
};

TEST(LineSink, WritesWhatItIsGiven) {
  TemporaryFile file;
  {
    auto sink = LineSink::open(file.path);
    ASSERT_TRUE(sink);
    ASSERT_TRUE(sink->write("one\n"));
    ASSERT_TRUE(sink->write("two\n"));
    ASSERT_TRUE(sink->flush());
    EXPECT_EQ(sink->written(), 8u);
    ASSERT_TRUE(sink->write("three\n"));
  }
  EXPECT_EQ(file.content(), "one\ntwo\nthree\n");
}

TEST(LineSink, SaysWhatToDoAboutAMissingDirectory) {
  const auto sink = LineSink::open("/nonexistent/dir/file");
  ASSERT_FALSE(sink);
  EXPECT_EQ(sink.error().code, ErrorCode::io);
  EXPECT_FALSE(sink.error().remedy.empty());
}

TEST(LineSink, FullDiskIsAnErrorThatStays) {
  auto sink = LineSink::open("/dev/full");
  ASSERT_TRUE(sink);
  ASSERT_TRUE(sink->write("line\n"));
  const auto flushed = sink->flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, ErrorCode::io);
  EXPECT_THAT(flushed.error().remedy, ::testing::HasSubstr("free some space"));
  EXPECT_FALSE(sink->write("more\n"));
  EXPECT_FALSE(sink->flush());
}

TEST(LineSink, LeavesWholeLinesWhenAFileMayNotGrow) {
  TemporaryFile file;
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit small = old_limit;
  small.rlim_cur = 1000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  bool failed = false;
  {
    auto sink = LineSink::open(file.path);
    ASSERT_TRUE(sink);
    const std::string line = std::string(99, 'x') + "y\n";  // 101 bytes: 1000 is no line's end
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(sink->write(line));
    failed = !sink->flush();
  }
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(failed);
  const std::string content = file.content();
  EXPECT_EQ(content.size(), 9u * 101);
  EXPECT_TRUE(content.ends_with("y\n"));
}

TEST(LineSink, AClosedPipeIsClosed) {
  const auto old_handler = ::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  {
    LineSink sink = LineSink::borrow(ends[1], "the pipe");
    ASSERT_TRUE(sink.write("x\n"));
    const auto flushed = sink.flush();
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code, ErrorCode::closed);
  }
  ::close(ends[1]);
  ::signal(SIGPIPE, old_handler);
}

TEST(JsonOutput, ReportsAFullDisk) {
  auto sink = LineSink::open("/dev/full");
  ASSERT_TRUE(sink);
  const auto output = make_json_output(std::move(*sink), {});
  const auto event = testing::sample_event("file_opened", testing::sample_process("x", 1, {"x"}));
  ASSERT_TRUE(output->write(event));
  EXPECT_FALSE(output->flush());
  EXPECT_FALSE(output->write(event));
  EXPECT_FALSE(output->finish({}));
}

TEST(JsonOutput, WritesALineAnEventAndOneToEnd) {
  TemporaryFile file;
  auto sink = LineSink::open(file.path);
  ASSERT_TRUE(sink);
  auto output = make_json_output(std::move(*sink), {});
  const auto event = testing::sample_event("file_opened", testing::sample_process("x", 1, {"x"}));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(output->write(event));
  ASSERT_TRUE(output->finish({}));
  const std::string content = file.content();
  EXPECT_EQ(std::count(content.begin(), content.end(), '\n'), 4);
}

}  // namespace
}  // namespace glasshook::output
