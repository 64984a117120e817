// Every line that can be printed agrees with docs/event.schema.json.
#include <gtest/gtest.h>
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/schema.h>
#include <rapidjson/stringbuffer.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "behaviour/fake_guest.h"
#include "output/json_line.h"
#include "output/sample_events.h"
#include "source_root.h"

namespace glasshook::output {
namespace {

using behaviour::testing::Captured;
using behaviour::testing::FakeGuest;

std::string read_document(const char* name) {
  const auto root = glasshook::test::source_root();
  std::ifstream in(root / "docs" / name, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

class Schema {
 public:
  Schema() {
    const std::string text = read_document("event.schema.json");
    json_.Parse(text.data(), text.size());
    EXPECT_FALSE(json_.HasParseError());
    schema_ = std::make_unique<rapidjson::SchemaDocument>(json_);
  }

  /// Where a line breaks the schema; empty when it does not.
  std::string complaint(std::string_view line) const {
    rapidjson::Document d;
    d.Parse(line.data(), line.size());
    if (d.HasParseError()) return rapidjson::GetParseError_En(d.GetParseError());
    rapidjson::SchemaValidator validator(*schema_);
    if (d.Accept(validator)) return {};
    rapidjson::StringBuffer where;
    validator.GetInvalidDocumentPointer().StringifyUriFragment(where);
    return fmt::format("{} breaks {}", where.GetString(), validator.GetInvalidSchemaKeyword());
  }

  const rapidjson::Document& json() const { return json_; }

 private:
  rapidjson::Document json_;
  std::unique_ptr<rapidjson::SchemaDocument> schema_;
};

TEST(Schema, RefusesMistakes) {
  const Schema schema;
  JsonLines lines{{}};
  const auto process = testing::sample_process("x", 1, {"x"});
  const auto says = [&](std::vector<behaviour::Field> fields) {
    return schema.complaint(lines.event(testing::sample_event("file_opened", process, fields)));
  };
  EXPECT_EQ(says({{"file.path", "/x"}}), "");
  EXPECT_NE(says({{"file.paht", "/x"}}), "");
  EXPECT_NE(says({{"file.path", std::uint64_t{1}}}), "");
  EXPECT_NE(says({{"glasshook.something", "x"}}), "");
  EXPECT_NE(says({{"user.effective.id", "root"}}), "");
  EXPECT_NE(schema.complaint("{}"), "");
}

TEST(Schema, HoldsWhateverFamiliesSay) {
  const Schema schema;
  JsonLines lines{{.host_id = "vm-1", .host_name = "debian"}};
  std::set<std::string_view> told;
  for (const auto& named : behaviour::make_families()) {
    FakeGuest guest(named->name());
    guest.origin = {.origin = behaviour::CodeOrigin::anonymous, .module = ""};
    const auto hooks = named->hooks();
    // Odd rounds: numbers everywhere; even ones: text. The values vary, so that flags differ.
    for (std::uint64_t round = 0; round < 8; ++round) {
      const std::uint64_t number = std::array<std::uint64_t, 4>{0, 1, 0x8180, 0x108000}[round / 2];
      for (std::size_t i = 0; i < hooks.size(); ++i)
        for (const bool is_exit : {false, true}) {
          const hook::Moment& moment = is_exit ? hooks[i].exit : hooks[i].entry;
          if (!moment.enabled) continue;
          std::vector<Captured> captured;
          for (const hook::Capture& capture : moment.captures) {
            const bool word = capture.kind == hook::CaptureKind::word;
            if (word) captured.emplace_back(capture.name, number);
            if (!word)
              captured.emplace_back(capture.name, std::string("/tmp/\xff\0LD_AUDIT=1", 17));
          }
          auto process = behaviour::testing::make_process(10 + static_cast<std::uint32_t>(round));
          guest.send(i, is_exit, {.process = process, .syscall = 1, .seconds = 3}, captured);
        }
      for (const behaviour::WantedApi& api : named->apis()) {
        const std::string name = api.selector.substr(api.selector.find('!') + 1);
        const behaviour::testing::Caller caller{
            .process = behaviour::testing::make_process(10 + static_cast<std::uint32_t>(round))};
        for (std::uint64_t wild = 0; wild < 4; ++wild)
          guest.user_call(name, caller, behaviour::testing::wild_arguments(100 * round + wild));
        guest.family().on_process_exit(caller.process, guest);
      }
      guest.family().on_end(guest);
    }
    const auto last = behaviour::testing::make_process(99);
    guest.family().on_unbacked_code(last, 0x1000, {}, guest);
    guest.family().on_unbacked_code(last, 0x2000, {}, guest);
    guest.family().on_modified_code(
        last, {.path = "/a\xff", .address = 1, .bytes = 4096, .functions = {"libc!open", "\xfe"}},
        {}, guest);
    guest.family().on_modified_code(last, {.path = "", .address = 0, .bytes = 1, .functions = {}},
                                    {}, guest);
    using namespace behaviour;
    for (const KernelTampering& tampering : std::initializer_list<KernelTampering>{
             TableChange{.table = "idt_table", .index = 255, .before = "\xff", .after = "0x0"},
             EntryChange{.name = "LSTAR", .cpu = 3, .before = "a", .after = "\xff"},
             KernelCodeChange{.address = 1, .bytes = 4096, .functions = {"\xff"}, .target = "\xfe"},
             KernelCodeChange{.address = ~0ull, .bytes = 1, .functions = {}, .target = ""},
             HiddenProcess{.pid = 7, .process = last, .missing_from = {"task_list"}},
             HiddenModule{.name = "\xff", .address = 1, .bytes = 0}})
      guest.family().on_kernel_tampered(tampering, {}, guest);
    guest.family().on_import_replaced(last, {"a\xff", "b!#1", 1, 0, ""}, {}, guest);
    guest.family().on_process_exit(last, guest);
    for (const behaviour::Event& event : guest.events) {
      told.insert(event.action);
      const std::string_view line = lines.event(event);
      EXPECT_EQ(schema.complaint(line), "") << line;
    }
  }
  EXPECT_GE(told.size(), 35u);
}

TEST(Schema, HoldsTheSummaryAndApiCalls) {
  const Schema schema;
  JsonLines lines{{}};
  Summary summary;
  summary.count(testing::sample_event("file_opened", nullptr));
  summary.hooks.emplace_back().name = "vfs_rename";
  summary.missing_hooks = {"x: gone"};
  EXPECT_EQ(schema.complaint(lines.summary(summary, {})), "");
  EXPECT_EQ(schema.complaint(
                lines.event(testing::sample_event("api_called", testing::sample_process("x", 1, {}),
                                                  {{"api.module", "libc"},
                                                   {"api.name", "open"},
                                                   {"api.depth", std::uint64_t{0}},
                                                   {"api.args.path", "/\xff"},
                                                   {"api.args.flags", std::uint64_t{2}},
                                                   {"api.result", std::int64_t{-1}},
                                                   {"event.duration", std::uint64_t{5}},
                                                   {"api.error", "ENOENT"}}))),
            "");
}

TEST(Schema, AndTheDocumentKnowEveryAction) {
  const Schema schema;
  const std::string document = read_document("events.md");
  std::set<std::string> listed;
  for (const auto& value :
       schema.json()["properties"]["event"]["properties"]["action"]["enum"].GetArray())
    listed.insert(value.GetString());
  for (const behaviour::ActionInfo& action : behaviour::actions()) {
    EXPECT_TRUE(listed.contains(std::string{action.name})) << action.name;
    EXPECT_NE(document.find(fmt::format("`{}`", action.name)), std::string::npos) << action.name;
  }
}

}  // namespace
}  // namespace glasshook::output
