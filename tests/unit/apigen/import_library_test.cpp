#include "apigen/import_library.h"

#include <gmock/gmock.h>

#include <cstring>
#include <string>

namespace glasshook::apigen {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Little-endian, of any size.
void append(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i, value >>= 8) out += static_cast<char>(value & 0xff);
}

/// An import object as dlltool makes them: one section .idata$6 and symbols.
std::string object(const std::string& export_name, const std::vector<std::string>& symbols) {
  const std::string hint_and_name = std::string("\1\0", 2) + export_name + '\0';
  const std::uint32_t data = 20 + 40;
  const auto table = static_cast<std::uint32_t>(data + hint_and_name.size());
  std::string made;
  append(made, 0x8664, 2);
  append(made, 1, 2);
  append(made, 0, 4);
  append(made, table, 4);
  append(made, symbols.size(), 4);
  append(made, 0, 4);
  made += ".idata$6";
  append(made, 0, 8);
  append(made, hint_and_name.size(), 4);
  append(made, data, 4);
  append(made, 0, 16);
  made += hint_and_name;
  std::string strings(4, '\0');
  for (const std::string& symbol : symbols) {
    append(made, 0, 4);
    append(made, strings.size(), 4);
    append(made, 0, 4);
    append(made, 1, 2);  // section
    append(made, 0, 4);
    strings += symbol + '\0';
  }
  return made + strings;
}

std::string member(const std::string& name, const std::string& content) {
  std::string header = name;
  header.resize(48, ' ');
  header += std::to_string(content.size());
  header.resize(58, ' ');
  return header + "`\n" + content + (content.size() % 2 ? "\n" : "");
}

std::string archive(const std::vector<std::string>& members) {
  std::string made = "!<arch>\n";
  for (const std::string& one : members) made += one;
  return made;
}

auto parse(const std::string& text) { return parse_import_library(std::as_bytes(std::span(text))); }

TEST(ImportLibrary, ListsFunctionsWithTheirExportNames) {
  const auto parsed = parse(archive({
      member("/", "index of symbols"),
      member("b.o/", object("OpenFile", {"OpenFile", "__imp_OpenFile"})),
      member("a.o/", object("strtol", {"_strtol_alias", "__imp__strtol_alias"})),
      member("d.o/", object("SomeData", {"__imp_SomeData"})),
      member("s.o/", object("", {"static_function"})),
      member("t.o/", "not an object"),
  }));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(*parsed, ElementsAre(ImportedFunction{"OpenFile", "OpenFile"},
                                   ImportedFunction{"_strtol_alias", "strtol"}));
}

TEST(ImportLibrary, RefusesWhatIsNoWholeArchive) {
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse("ELF"));
  const std::string whole = archive({member("a.o/", object("F", {"F", "__imp_F"}))});
  for (std::size_t size = 9; size < whole.size(); ++size)
    EXPECT_FALSE(parse(whole.substr(0, size))) << size;
  EXPECT_TRUE(parse(whole));
}

/// Objects that point outside themselves are left out.
TEST(ImportLibrary, SurvivesEveryWrongByte) {
  const std::string good = object("Function", {"Function", "__imp_Function"});
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(0xff);
    const auto parsed = parse(archive({member("a.o/", bad)}));
    ASSERT_TRUE(parsed);
    EXPECT_LE(parsed->size(), 1u);
  }
}

}  // namespace
}  // namespace glasshook::apigen
