#include "apigen/rules.h"

#include <gmock/gmock.h>

namespace glasshook::apigen {
namespace {

using ::testing::ElementsAre;

HeaderParameter parameter(std::string name, std::vector<std::string> typedefs) {
  HeaderParameter made{.name = std::move(name), .type = {}};
  made.type.names = std::move(typedefs);
  return made;
}

Rules rules(std::string_view text) {
  Result<Rules> parsed = parse_rules(text, "r");
  if (parsed) return std::move(*parsed);
  ADD_FAILURE() << parsed.error().message;
  return {};
}

TEST(ApigenRules, ReadsStatements) {
  const Rules r = rules(
      "# comment\n"
      "headers -DX=1 : a.h\n"
      "  b.h   # goes on\n"
      "module kernel32 system = kernel32 kernelbase\n"
      "flags f = A_* B without A_MASK\n"
      "enum e 64 = H_*\n"
      "type BOOL WINBOOL = bool32\n"
      "follow S T\n");
  ASSERT_EQ(r.headers.size(), 1u);
  EXPECT_THAT(r.headers[0].options, ElementsAre("-DX=1"));
  EXPECT_THAT(r.headers[0].headers, ElementsAre("a.h", "b.h"));
  ASSERT_EQ(r.modules.size(), 1u);
  EXPECT_EQ(r.modules[0].category, "system");
  EXPECT_THAT(r.modules[0].objects, ElementsAre("kernel32", "kernelbase"));
  ASSERT_EQ(r.sets.size(), 2u);
  EXPECT_TRUE(r.sets[0].is_flags);
  EXPECT_THAT(r.sets[0].macros, ElementsAre("A_*", "B"));
  EXPECT_THAT(r.sets[0].without, ElementsAre("A_MASK"));
  EXPECT_TRUE(r.sets[1].is_wide);
  EXPECT_EQ(r.types[0].word, "bool32");
  EXPECT_THAT(r.followed, ElementsAre("S", "T"));
}

TEST(ApigenRules, FirstMatchingSelectorCounts) {
  const Rules r = rules(
      "category file: kernel32!*File*\n"
      "category other: *\n"
      "fails null, last_error: Get*->BOOL\n"
      "use access: Open*(*Access) *(:REGSAM)\n"
      "in: *(:LPIN)\n"
      "out: f(x)\n");
  HeaderFunction open{.name = "OpenFile", .result = {}, .parameters = {}};
  EXPECT_EQ(first_match(r.categories, "kernel32", open), "file");
  EXPECT_EQ(first_match(r.categories, "user32", open), "other");
  EXPECT_EQ(first_match(r.uses, "user32", open, parameter("dwAccess", {})), "access");
  EXPECT_EQ(first_match(r.uses, "user32", open, parameter("sam", {"REGSAM", "DWORD"})), "access");
  EXPECT_EQ(first_match(r.uses, "user32", open, parameter("sam", {"DWORD"})), "");
  EXPECT_EQ(first_match(r.directions, "m", open, parameter("p", {"LPIN"})), "in");
  HeaderFunction get{.name = "GetX", .result = {}, .parameters = {}};
  EXPECT_EQ(first_match(r.failures, "m", get), "");
  get.result.names = {"BOOL", "int"};
  EXPECT_EQ(first_match(r.failures, "m", get), "null, last_error");
}

TEST(ApigenRules, SaysWhichLineItCannotRead) {
  for (const char* text :
       {"x", "module a b", "flags f A", "type X word", "use x:", "headers a.h"}) {
    const Result<Rules> parsed = parse_rules(std::string("# one\n") + text, "r");
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message.substr(0, 4), "r:2:") << text;
  }
}

}  // namespace
}  // namespace glasshook::apigen
