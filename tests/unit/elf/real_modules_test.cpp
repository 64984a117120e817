// This machine's own modules, held against what binutils say about them.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <map>
#include <sstream>

#include "guest/elf/errno_location.h"
#include "guest/elf/function_extents.h"
#include "support.h"

namespace glasshook::elf {
namespace {

using ::testing::Contains;

class RealModule : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Machine, RealModule, ::testing::ValuesIn(real_modules()),
                         [](const auto& info) {
                           std::string name = std::filesystem::path(info.param).filename();
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

/// "value type name[@[@]version]" of every symbol, as nm prints them. Programs define no versions;
/// nm shows some all the same, of library data copied into them.
std::multiset<std::string> lines_of_nm(const std::string& path) {
  std::multiset<std::string> lines;
  const bool has_versions = path.find(".so") != path.npos;
  std::istringstream output(output_of("nm -D --defined-only " + path));
  for (std::string value, type, name; output >> value >> type >> name;) {
    if (type == "A") continue;
    if (!has_versions) name.resize(std::min(name.find('@'), name.size()));
    lines.insert(value + " " + (type == "i" ? "i " : "- ") + name);
  }
  return lines;
}

TEST_P(RealModule, ExportsAreThoseOfNm) {
  const std::multiset<std::string> expected = lines_of_nm(GetParam());
  if (expected.empty()) GTEST_SKIP() << "no nm, or no symbols";
  const ElfModule module = parse_file(GetParam());
  std::multiset<std::string> found;
  for (const Symbol& s : module.exports().symbols()) {
    std::string name(s.name);
    if (const std::string_view version = module.exports().version(s); !version.empty())
      name += (s.is_default ? "@@" : "@") + std::string(version);
    found.insert(
        fmt::format("{:016x} {} {}", s.value, s.kind == SymbolKind::ifunc ? "i" : "-", name));
  }
  std::erase_if(found,
                [](const std::string& line) { return line.starts_with("0000000000000000"); });
  for (const std::string& line : expected) EXPECT_TRUE(found.contains(line)) << line;
  EXPECT_EQ(found.size(), expected.size());
  EXPECT_TRUE(module.incomplete().empty());
}

TEST_P(RealModule, FunctionsAreThoseOfTheUnwindInformation) {
  const ElfModule module = parse_file(GetParam());
  ASSERT_TRUE(module.unwind_table().has_value());
  std::istringstream output(output_of("readelf --debug-dump=frames " + GetParam() + " 2>&1"));
  std::size_t count = 0;
  for (std::string line; std::getline(output, line);) {
    const std::size_t at = line.find(" pc=");
    if (at == line.npos || line.find(" FDE ") == line.npos) continue;
    Extent extent;
    ASSERT_EQ(std::sscanf(line.c_str() + at, " pc=%lx..%lx", &extent.begin, &extent.end), 2);
    if (extent.begin == extent.end) continue;
    ++count;
    for (const std::uint64_t address : {extent.begin, extent.end - 1}) {
      const auto found = module.function_at(address);
      ASSERT_TRUE(found) << line;
      EXPECT_EQ(found->begin, extent.begin) << line;
      EXPECT_EQ(found->end, extent.end) << line;
    }
  }
  EXPECT_GT(count, 10u);
  EXPECT_EQ(module.unwind_table()->size(), count);
}

TEST_P(RealModule, HeadersAreThoseOfReadelf) {
  const ElfModule module = parse_file(GetParam());
  const std::string output = output_of("readelf -Wdnlh " + GetParam());
  EXPECT_EQ(module.build_id().size(), 40u);
  EXPECT_THAT(output, ::testing::HasSubstr(module.build_id()));
  const bool has_soname = output.find("(SONAME)") != output.npos;
  EXPECT_EQ(module.soname().empty(), !has_soname);
  EXPECT_THAT(output, ::testing::HasSubstr(has_soname ? "[" + module.soname() + "]" : ""));
  const bool has_interpreter = output.find("INTERP") != output.npos;
  EXPECT_EQ(module.interpreter().empty(), !has_interpreter);
  EXPECT_THAT(output, ::testing::HasSubstr(
                          has_interpreter ? "interpreter: " + module.interpreter() + "]" : ""));
  EXPECT_THAT(output, ::testing::HasSubstr(fmt::format("0x{:x}", module.entry_point())));
  EXPECT_FALSE(module.is_static_program());
}

TEST_P(RealModule, EveryExportedFunctionHasReturns) {
  const ElfModule module = parse_file(GetParam());
  const CodeView code = code_of(module);
  std::size_t functions = 0, incomplete = 0, unknown = 0;
  for (const Symbol& s : module.exports().symbols()) {
    if (s.kind != SymbolKind::function) continue;
    ++functions;
    const ReturnExtents extents = find_return_extents(code, s.value);
    EXPECT_LE(extents.ranges.size(), ReturnExtents::kMaxRanges);
    incomplete += extents.incomplete;
    unknown += extents.ranges.empty() && extents.tail_call_slots.empty();
  }
  EXPECT_LE(unknown * 100, functions) << unknown << " of " << functions;
  EXPECT_LE(incomplete * 20, functions) << incomplete << " of " << functions;
}

TEST(RealLibc, StubsLeadToTheirFunctions) {
  if (!std::filesystem::exists(kLibc)) GTEST_SKIP();
  const ElfModule libc = parse_file(kLibc);
  const CodeView code = code_of(libc);
  // glibc 2.33 and later: stat(path, st) is a jump to fstatat(AT_FDCWD, path, st, 0).
  const Symbol* stat = libc.exports().find("stat");
  const Symbol* fstatat = libc.exports().find("fstatat");
  if (!stat || !fstatat) GTEST_SKIP() << "an older C library";
  const ReturnExtents extents = find_return_extents(code, stat->value);
  EXPECT_THAT(extents.ranges, Contains(libc.function_at(fstatat->value).value()));
  EXPECT_EQ(extents.ranges.at(0), libc.function_at(stat->value).value());
}

TEST(RealLibc, IfuncsAreTold) {
  if (!std::filesystem::exists(kLibc)) GTEST_SKIP();
  const ElfModule libc = parse_file(kLibc);
  const Symbol* strlen = libc.exports().find("strlen");
  ASSERT_NE(strlen, nullptr);
  EXPECT_EQ(strlen->kind, SymbolKind::ifunc);
  const std::vector<std::uint64_t> candidates = ifunc_candidates(code_of(libc), strlen->value);
  EXPECT_GE(candidates.size(), 3u) << "sse2, avx2, evex";
  // The address the loader chose is one of them.
  void* loaded = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  ASSERT_NE(loaded, nullptr);
  const auto chosen = reinterpret_cast<std::uint64_t>(dlsym(loaded, "strlen"));
  dlclose(loaded);
  bool found = false;
  for (const std::uint64_t candidate : candidates) found |= (chosen - candidate) % 4096 == 0;
  EXPECT_TRUE(found);
}

TEST(RealLibc, PrefersTheDefaultVersion) {
  if (!std::filesystem::exists(kLibc)) GTEST_SKIP();
  const ElfModule libc = parse_file(kLibc);
  std::map<std::string_view, int> defaults;
  for (const Symbol& s : libc.exports().symbols()) defaults[s.name] += s.is_default;
  for (const auto& [name, count] : defaults) {
    EXPECT_LE(count, 1) << name;
    EXPECT_EQ(libc.exports().find(name)->is_default, count == 1) << name;
  }
}

TEST(OwnProgram, HasASymbolTableWhenNotStripped) {
  const ElfModule self = parse_file("/proc/self/exe");
  const SymbolTable all = self.all_symbols();
  if (all.symbols().empty()) GTEST_SKIP() << "stripped";
  EXPECT_NE(all.find("main"), nullptr);
}

}  // namespace
}  // namespace glasshook::elf
