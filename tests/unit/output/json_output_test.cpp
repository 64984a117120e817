#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>
#include <rapidjson/pointer.h>

#include <random>

#include "base/base64.h"
#include "base/text.h"
#include "output/json_line.h"
#include "output/sample_events.h"

namespace glasshook::output {
namespace {

using testing::sample_event;
using testing::sample_process;

/// Parses one line strictly: one object, valid UTF-8, one newline, at the end.
rapidjson::Document parse(std::string_view line) {
  rapidjson::Document d;
  EXPECT_TRUE(is_valid_utf8(line));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  d.Parse<rapidjson::kParseValidateEncodingFlag>(line.data(), line.size());
  EXPECT_FALSE(d.HasParseError()) << line;
  EXPECT_TRUE(d.IsObject());
  return d;
}

std::string text_at(const rapidjson::Document& d, const char* pointer) {
  const rapidjson::Value* v = rapidjson::Pointer(pointer).Get(d);
  return v != nullptr && v->IsString() ? std::string{v->GetString(), v->GetStringLength()} : "?";
}

std::int64_t number_at(const rapidjson::Document& d, const char* pointer) {
  const rapidjson::Value* v = rapidjson::Pointer(pointer).Get(d);
  return v != nullptr && v->IsInt64() ? v->GetInt64() : -1;
}

TEST(JsonLine, KeepsProcessesUntilTheyEnd) {
  JsonLines lines{{}};
  const auto process = sample_process("cp", 11, {"cp"});
  (void)lines.event(sample_event("file_written", process));
  EXPECT_EQ(process.use_count(), 2);
  EXPECT_EQ(text_at(parse(lines.event(sample_event("process_exited", process))), "/process/name"),
            "cp");
  EXPECT_EQ(process.use_count(), 1);
  EXPECT_EQ(text_at(parse(lines.event(sample_event("file_written", process))), "/process/name"),
            "cp");
}

TEST(JsonLine, KeepsAsMuchOfProcessesAsIsAllowed) {
  JsonLines lines{{}};
  const std::string argument(1u << 20, 'a');
  std::vector<std::shared_ptr<const behaviour::Process>> processes;
  for (std::uint32_t pid = 1; pid <= 20; ++pid)
    processes.push_back(sample_process("cp", pid, {argument}));
  for (const auto& process : processes)
    EXPECT_EQ(number_at(parse(lines.event(sample_event("file_written", process))), "/process/pid"),
              process->pid);
  const auto kept =
      std::ranges::count_if(processes, [](const auto& p) { return p.use_count() > 1; });
  EXPECT_GT(kept, 0);
  EXPECT_LE(kept, 8);
}

TEST(JsonLine, CarriesEcsNamesAndTypes) {
  JsonLines lines{{.host_id = "vm-1", .host_name = "debian"}};
  const auto parent = sample_process("bash", 10, {"bash"});
  const auto process = sample_process("cp", 11, {"cp", "-a", "x y"}, parent);
  const auto d = parse(lines.event(sample_event(
      "file_written", process,
      {{"file.path", std::string{"/tmp/x"}}, {"glasshook.bytes", std::uint64_t{12}}})));
  EXPECT_EQ(text_at(d, "/@timestamp"), "2025-11-24T16:00:00.123456789Z");
  EXPECT_EQ(text_at(d, "/event/action"), "file_written");
  EXPECT_EQ(text_at(d, "/event/category/0"), "file");
  EXPECT_EQ(text_at(d, "/event/type/0"), "change");
  EXPECT_EQ(number_at(d, "/event/sequence"), 7);
  EXPECT_EQ(number_at(d, "/process/pid"), 11);
  EXPECT_EQ(number_at(d, "/process/thread/id"), 11);
  EXPECT_EQ(text_at(d, "/process/command_line"), "cp -a x y");
  EXPECT_EQ(text_at(d, "/process/args/2"), "x y");
  EXPECT_EQ(number_at(d, "/process/args_count"), 3);
  EXPECT_EQ(text_at(d, "/process/parent/entity_id"), "id-10");
  EXPECT_EQ(text_at(d, "/user/id"), "1000");
  EXPECT_EQ(text_at(d, "/file/path"), "/tmp/x");
  EXPECT_EQ(number_at(d, "/glasshook/bytes"), 12);
  EXPECT_EQ(text_at(d, "/glasshook/schema"), kSchemaVersion);
  EXPECT_EQ(text_at(d, "/host/id"), "vm-1");
}

TEST(JsonLine, MergesFieldsIntoTheObjectsThatExist) {
  JsonLines lines{{}};
  const auto d = parse(lines.event(sample_event(
      "process_exited", sample_process("x", 5, {}),
      {{"file.path", std::string{"/a"}},
       {"process.exit_code", std::uint64_t{3}},
       {"user.effective.id", std::string{"0"}},
       {"event.start", std::string{"t"}},
       {"glasshook.a.b.c", true},
       {"process.thread.capabilities.effective", std::vector<std::string>{"CAP_SYS_ADMIN"}},
       {"file.inode", std::string{"9"}},
       {"glasshook.a.b.d", std::int64_t{-4}}})));
  EXPECT_EQ(number_at(d, "/process/exit_code"), 3);
  EXPECT_EQ(text_at(d, "/user/effective/id"), "0");
  EXPECT_EQ(text_at(d, "/user/id"), "1000");
  EXPECT_EQ(text_at(d, "/event/start"), "t");
  EXPECT_EQ(text_at(d, "/process/thread/capabilities/effective/0"), "CAP_SYS_ADMIN");
  EXPECT_EQ(text_at(d, "/file/inode"), "9");
  EXPECT_EQ(number_at(d, "/glasshook/a/b/d"), -4);
  EXPECT_TRUE(rapidjson::Pointer("/glasshook/a/b/c").Get(d)->GetBool());
}

TEST(JsonLine, NeverRepeatsAKey) {
  JsonLines lines{{}};
  const std::string_view line = lines.event(
      sample_event("file_opened", sample_process("x", 5, {}),
                   {{"file.path", std::string{"/first"}}, {"file.path", std::string{"/second"}}}));
  EXPECT_NE(line.find("/first"), std::string_view::npos);
  EXPECT_EQ(line.find("/second"), std::string_view::npos);
  parse(line);
}

TEST(JsonLine, KeepsTheExactBytesOfWhatIsNotUtf8) {
  JsonLines lines{{}};
  const auto parent = sample_process("p\xfe", 4, {"p\xfe"});
  const auto process = sample_process("n", 5, {"a", "b\xff"}, parent);
  const auto d = parse(lines.event(
      sample_event("file_opened", process, {{"file.path", std::string{"/tmp/\xff\n\x1b[31m"}}})));
  EXPECT_EQ(text_at(d, "/file/path"), "/tmp/\xef\xbf\xbd\n\x1b[31m");
  const rapidjson::Value& raw = *rapidjson::Pointer("/glasshook/raw").Get(d);
  EXPECT_EQ(raw["file.path"].GetString(), to_base64("/tmp/\xff\n\x1b[31m"));
  EXPECT_EQ(raw["process.args"][1].GetString(), to_base64("b\xff"));
  EXPECT_EQ(raw["process.parent.name"].GetString(), to_base64("p\xfe"));
  EXPECT_EQ(text_at(d, "/process/args/1"), "b\xef\xbf\xbd");
}

TEST(JsonLine, EscapesEveryControlByte) {
  JsonLines lines{{}};
  std::string all;
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  all += all;  // long enough for any vector path of the writer
  const std::string line{
      lines.event(sample_event("file_opened", sample_process("x", 5, {}), {{"file.path", all}}))};
  for (const char c : line.substr(0, line.size() - 1))
    EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  EXPECT_EQ(text_at(parse(line), "/file/path"), all);
}

TEST(JsonLine, IsValidForRandomBytes) {
  JsonLines lines{{}};
  std::mt19937 random{1};
  for (int round = 0; round < 2000; ++round) {
    const auto junk = [&] {
      std::string s(random() % 64, '\0');
      for (char& c : s) c = static_cast<char>(random());
      return s;
    };
    const auto process = sample_process(junk(), round + 1, {junk(), junk()});
    const std::string path = junk();
    const auto d = parse(lines.event(sample_event(
        "file_opened", process,
        {{"file.path", path}, {"glasshook.list", std::vector<std::string>{junk(), junk()}}})));
    if (is_valid_utf8(path)) {
      EXPECT_EQ(text_at(d, "/file/path"), path);
    } else {
      const rapidjson::Value& raw = *rapidjson::Pointer("/glasshook/raw").Get(d);
      EXPECT_EQ(raw["file.path"].GetString(), to_base64(path));
    }
  }
}

TEST(JsonLine, LivesWithoutAProcess) {
  JsonLines lines{{}};
  const auto d =
      parse(lines.event(sample_event("file_opened", nullptr, {{"process.pid", std::uint64_t{9}}})));
  EXPECT_EQ(number_at(d, "/process/pid"), 9);
  EXPECT_FALSE(d.HasMember("user"));
}

TEST(JsonLine, ForgetsProcessesWithoutMixingThemUp) {
  JsonLines lines{{}};
  for (std::uint32_t pid = 1; pid < 5000; ++pid) {
    const auto d = parse(lines.event(sample_event("file_opened", sample_process("x", pid, {"a"}))));
    ASSERT_EQ(number_at(d, "/process/pid"), pid);
  }
}

TEST(JsonLine, EndsWithASummary) {
  JsonLines lines{{}};
  Summary s;
  s.duration = std::chrono::seconds{2};
  s.count(sample_event("file_opened", nullptr));
  s.hooks.push_back({.name = "vfs_rename",
                     .hits = 5,
                     .sent = 4,
                     .filtered = 1,
                     .rate_limited = 0,
                     .dropped = 0,
                     .returned = 4,
                     .unreturned = 0});
  s.losses.dropped = 3;
  s.losses.late_commits = 4;
  s.losses.overwritten = 5;
  s.losses.lifted = 6;
  s.blocks = {.shown = 7, .hidden = 8};
  s.missing_hooks = {"foo: no such function"};
  const auto d = parse(lines.summary(s, {}));
  EXPECT_EQ(text_at(d, "/event/action"), "session_summary");
  EXPECT_EQ(number_at(d, "/glasshook/summary/actions/file_opened"), 1);
  EXPECT_EQ(number_at(d, "/glasshook/summary/losses/dropped"), 3);
  EXPECT_EQ(number_at(d, "/glasshook/summary/losses/late_commits"), 4);
  EXPECT_EQ(number_at(d, "/glasshook/summary/losses/overwritten"), 5);
  EXPECT_EQ(number_at(d, "/glasshook/summary/losses/lifted"), 6);
  EXPECT_EQ(number_at(d, "/glasshook/summary/blocks/shown"), 7);
  EXPECT_EQ(number_at(d, "/glasshook/summary/blocks/hidden"), 8);
  EXPECT_EQ(number_at(d, "/glasshook/summary/hooks/0/hits"), 5);
  EXPECT_EQ(text_at(d, "/glasshook/summary/missing_hooks/0"), "foo: no such function");
}

TEST(Base64, MatchesTheTestVectorsOfRfc4648) {
  EXPECT_EQ(to_base64(""), "");
  EXPECT_EQ(to_base64("f"), "Zg==");
  EXPECT_EQ(to_base64("fo"), "Zm8=");
  EXPECT_EQ(to_base64("foo"), "Zm9v");
  EXPECT_EQ(to_base64("foobar"), "Zm9vYmFy");
}

}  // namespace
}  // namespace glasshook::output
