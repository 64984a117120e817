#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/text.h"
#include "output/describe.h"
#include "output/process_tree.h"
#include "output/sample_events.h"
#include "output/summary.h"

namespace glasshook::output {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::sample_event;
using testing::sample_process;

/// What a text output prints for some events.
std::string printed(const std::vector<behaviour::Event>& events, TextOptions options = {}) {
  char name[] = "/tmp/glasshook-test-XXXXXX";
  const int fd = ::mkstemp(name);
  {
    const auto output = make_text_output(LineSink::borrow(fd, "a file"), options);
    for (const auto& event : events) EXPECT_TRUE(output->write(event));
    EXPECT_TRUE(output->finish({}));
  }
  ::close(fd);
  std::ifstream in(name, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  std::filesystem::remove(name);
  return all.str();
}

TEST(TextOutput, PrintsTimeProcessWordsTargetAndResult) {
  const auto e =
      sample_event("file_renamed", sample_process("mv", 812, {"mv"}),
                   {{"file.path", std::string{"/a"}}, {"file.target_path", std::string{"/b"}}});
  EXPECT_EQ(printed({e}, {.start = e.time - std::chrono::milliseconds{1500}}),
            "   1.500000 mv                  812  renamed             /a -> /b\n");
  EXPECT_THAT(printed({e}, {.wall_clock = true}), ::testing::StartsWith("16:00:00.123456 mv "));
}

TEST(TextOutput, ColumnsLineUp) {
  std::istringstream lines{
      printed({sample_event("file_opened", sample_process("a", 1, {}), {{"file.path", "/X"}}),
               sample_event("file_opened", sample_process("fifteen-letters", 4194304, {}),
                            {{"file.path", "/X"}}),
               sample_event("file_opened", sample_process("\xc3\xa4\xc3\xb6", 77, {}),
                            {{"file.path", "/X"}}),
               sample_event("code_executed_unbacked", sample_process("\x1b[31mred\x1b[0m", 77, {}),
                            {{"glasshook.address", "/X"}}),
               sample_event("file_opened", nullptr, {{"file.path", "/X"}})})};
  std::vector<std::size_t> columns;
  for (std::string line; std::getline(lines, line);)
    columns.push_back(text_width(line.substr(0, line.find("/X"))) -
                      (line.contains("at /X") ? 3 : 0));
  ASSERT_EQ(columns.size(), 5u);
  EXPECT_THAT(columns, ::testing::Each(columns[0]));
}

TEST(TextOutput, NoNameCanForgeALineOrDriveTheTerminal) {
  std::mt19937 random{2};
  std::vector<behaviour::Event> events;
  for (int i = 0; i < 500; ++i) {
    std::string junk(random() % 40, '\0');
    for (char& c : junk) c = static_cast<char>(random());
    events.push_back(sample_event(behaviour::actions()[i % behaviour::actions().size()].name,
                                  sample_process(junk, 1, {junk, "\n\x1b]0;x\x07"}),
                                  {{"file.path", junk},
                                   {"glasshook.target.name", junk},
                                   {"dll.path", junk},
                                   {"api.name", junk},
                                   {"api.args.x", junk}}));
  }
  const std::string text = printed(events);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 500);
  EXPECT_TRUE(is_valid_utf8(text));
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

TEST(TextOutput, ColourOnlyWhenAskedFor) {
  const auto e = sample_event("file_deleted", sample_process("rm", 1, {}), {{"file.path", "/a"}});
  EXPECT_THAT(printed({e}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(printed({e}, {.color = true}), HasSubstr("\x1b["));
}

TEST(TextOutput, CutsEndlessTargets) {
  const auto e = sample_event("file_deleted", sample_process("rm", 1, {}),
                              {{"file.path", std::string(5000, 'x')}});
  EXPECT_LT(printed({e}, {.max_target = 100}).size(), 200u);
  EXPECT_GT(printed({e}, {.max_target = 0}).size(), 5000u);
}

TEST(Describe, ActionsOfEveryKind) {
  const auto p = sample_process("x", 9, {"sh", "-c", "echo 'a b'"});
  const auto says = [&](std::string_view action, std::vector<behaviour::Field> fields) {
    const Description d = describe(sample_event(action, p, std::move(fields)));
    return fmt::format("{}|{}|{}", d.words, d.target, d.result);
  };
  EXPECT_EQ(says("process_executed", {}), R"(executed|/usr/bin/x|sh -c 'echo '\''a b'\''')");
  EXPECT_EQ(says("process_exited", {{"process.exit_code", std::uint64_t{2}}}),
            "exited||exit code 2");
  EXPECT_EQ(says("process_exited", {{"glasshook.signal.name", "SIGKILL"}}),
            "exited||killed by SIGKILL");
  EXPECT_EQ(says("file_written", {{"file.path", "/a"},
                                  {"glasshook.bytes", std::uint64_t{1234567}},
                                  {"glasshook.operations", std::uint64_t{3}}}),
            "wrote|/a|1,234,567 bytes in 3 calls");
  EXPECT_EQ(says("network_connected", {{"network.transport", "tcp"},
                                       {"destination.ip", "::1"},
                                       {"destination.port", std::uint64_t{443}}}),
            "connected to|tcp [::1]:443|");
  EXPECT_EQ(says("network_connected", {{"network.transport", "tcp"},
                                       {"destination.ip", "1.2.3.4"},
                                       {"destination.port", std::uint64_t{443}},
                                       {"event.outcome", "failure"},
                                       {"glasshook.error", "ECONNREFUSED"}}),
            "cannot connect to|tcp 1.2.3.4:443|ECONNREFUSED");
  EXPECT_EQ(says("signal_sent", {{"glasshook.target.pid", std::uint64_t{3}},
                                 {"glasshook.target.name", "cat"},
                                 {"glasshook.signal.name", "SIGTERM"}}),
            "signalled|cat[3]|SIGTERM");
  EXPECT_EQ(says("api_called", {{"api.module", "libc"},
                                {"api.name", "open"},
                                {"api.args.path", "/x"},
                                {"api.args.flags", std::uint64_t{2}},
                                {"api.result", "-1"},
                                {"api.error", "ENOENT"}}),
            "called|libc!open(path=/x, flags=2)|= -1 ENOENT");
}

TEST(Describe, NamesOtherProcessesByTheIdThatLinesHaveOnceItIsKnown) {
  const auto target = [](std::vector<behaviour::Field> fields) {
    fields.push_back({"glasshook.target.name", "svchost.exe"});
    return describe(sample_event("process_created", nullptr, std::move(fields))).target;
  };
  EXPECT_EQ(target({{"glasshook.target.windows_process_id", std::uint64_t{288}}}),
            "svchost.exe[Windows id 288]");
  EXPECT_EQ(target({{"glasshook.target.windows_process_id", std::uint64_t{288}},
                    {"glasshook.target.pid", std::uint64_t{258}}}),
            "svchost.exe[258]");
}

TEST(Describe, WindowsProgramsHaveTheirOwnNamesAndWords) {
  behaviour::Process p;
  p.name = "wine64";
  p.executable = "/usr/lib/wine/wine64";
  p.arguments = {"/usr/lib/wine/wine64", R"(C:\windows\cmd.exe)", "/c", "ver"};
  EXPECT_EQ(process_name(p), "cmd.exe");
  EXPECT_EQ(command_line(p), R"('C:\windows\cmd.exe' /c ver)");
  p.arguments = {"/usr/lib/wine/wine64", "C:\\"};
  EXPECT_EQ(process_name(p), "wine64");
  p.arguments = {"/usr/lib/wine/wine64"};
  EXPECT_EQ(process_name(p), "wine64");
  EXPECT_EQ(command_line(p), "/usr/lib/wine/wine64");
  p.executable = "/tmp/wine64x";
  p.arguments = {"/usr/lib/wine/wine64", "x.exe\x1b"};
  EXPECT_EQ(process_name(p), "wine64");
  p.executable = "/usr/lib/wine/wine64";
  EXPECT_EQ(process_name(p), R"(x.exe\x1b)");
}

TEST(ProcessTree, DrawsParentsEndingsAndWhatTheyDid) {
  ProcessTree tree;
  const auto shell = sample_process("sh", 10, {"sh", "run.sh"});
  const auto first = sample_process("cat", 11, {"cat", "/etc/passwd"}, shell);
  const auto second = sample_process("rm", 12, {"rm", "x"}, shell);
  tree.add(sample_event("process_executed", shell));
  tree.add(sample_event("process_executed", first));
  tree.add(sample_event("process_exited", first, {{"process.exit_code", std::uint64_t{0}}}));
  tree.add(sample_event("process_executed", second));
  tree.add(sample_event("file_deleted", second));
  tree.add(sample_event("file_deleted", second));
  tree.add(sample_event("process_exited", second, {{"process.exit_code", std::uint64_t{1}}}));
  EXPECT_EQ(tree.render(false),
            "sh run.sh [10]\n"
            "├─ cat /etc/passwd [11]\n"
            "└─ rm x [12]  exit code 1  (deleted 2)\n");
}

TEST(ProcessTree, CountsByTheWordsOfTheLines) {
  ProcessTree tree;
  const auto p = sample_process("x.exe", 10, {"x.exe"});
  tree.add(sample_event("registry_value_set", p, {{"registry.path", "HKLM\\a"}}));
  tree.add(sample_event("registry_value_set", p,
                        {{"registry.path", "HKLM\\Run\\a"},
                         {"threat.technique.id", std::vector<std::string>{"T1547.001"}}}));
  EXPECT_EQ(tree.render(false), "x.exe [10]  (set autostart value 1, set value 1)\n");
}

TEST(ProcessTree, ShowsTheLatestImage) {
  ProcessTree tree;
  const auto shell = sample_process("sh", 10, {"sh"});
  auto forked = sample_process("sh", 11, {"sh"}, shell);
  tree.add(sample_event("process_started", forked));
  tree.add(sample_event("process_executed", sample_process("ls", 11, {"ls", "-l"}, shell)));
  EXPECT_EQ(tree.render(false), "sh [10]\n└─ ls -l [11]\n");
}

TEST(ProcessTree, FoldsManyAlikeLeaves) {
  ProcessTree tree;
  const auto shell = sample_process("sh", 10, {"sh"});
  for (std::uint32_t i = 0; i < 2000; ++i)
    tree.add(sample_event("process_executed", sample_process("true", 100 + i, {"true"}, shell)));
  EXPECT_EQ(tree.render(false), "sh [10]\n└─ true × 2,000\n");
}

TEST(ProcessTree, SurvivesDepthNumbersAndParentCycles) {
  ProcessTree tree;
  std::shared_ptr<const behaviour::Process> parent;
  for (std::uint32_t i = 1; i < 60'000; ++i) {
    auto p = std::make_shared<behaviour::Process>();
    p->pid = i;
    p->name = "deep";
    p->entity_id = std::to_string(i);
    // A chain that is cut for the destructor's sake, as the monitor's is.
    if (i % 1000 != 0) p->parent = parent;
    parent = p;
    tree.add(sample_event("process_started", p));
  }
  auto same = std::make_shared<behaviour::Process>();
  same->entity_id = "cycle";
  auto child = std::make_shared<behaviour::Process>();
  child->entity_id = "cycle";
  child->parent = same;
  tree.add(sample_event("process_started", child));
  const std::string text = tree.render(false);
  EXPECT_THAT(text, HasSubstr("events of processes beyond the first 50,000"));
  EXPECT_LT(text.size(), 20u << 20);
}

TEST(Summary, CountsAndLosses) {
  Summary s;
  s.duration = std::chrono::milliseconds{1500};
  for (int i = 0; i < 1200; ++i) s.count(sample_event("file_opened", nullptr));
  s.losses.dropped = 2;
  s.hooks.push_back({.name = "do_filp_open",
                     .hits = 1200,
                     .sent = 1200,
                     .filtered = 0,
                     .rate_limited = 0,
                     .dropped = 2,
                     .returned = 1200,
                     .unreturned = 0});
  s.missing_hooks = {"vfs_nothing: the kernel has no such function"};
  const std::string text = render_summary(s, {.show_hooks = true});
  EXPECT_THAT(text, HasSubstr("1,200 events in 1.5 s\n"));
  EXPECT_THAT(text, HasSubstr("file_opened"));
  EXPECT_THAT(text, HasSubstr("lost: 2 records dropped (ring full)\n"));
  EXPECT_THAT(text, HasSubstr("not watched: vfs_nothing"));
  EXPECT_THAT(text, HasSubstr("do_filp_open"));
  EXPECT_THAT(render_summary({}, {}), EndsWith("nothing lost\n"));
}

}  // namespace
}  // namespace glasshook::output
