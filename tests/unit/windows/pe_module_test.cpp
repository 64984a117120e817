#include "guest/windows/pe_module.h"

#include <gmock/gmock.h>

#include "tiny_pe.h"

namespace glasshook::windows {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ExportName by_name(std::string module, std::string name) {
  return {.module = std::move(module), .name = std::move(name), .ordinal = 0};
}
ExportName by_ordinal(std::string module, std::uint32_t ordinal) {
  return {.module = std::move(module), .name = {}, .ordinal = ordinal};
}

class BothLayouts : public testing::TestWithParam<Layout> {
 protected:
  TinyPe tiny;
  [[nodiscard]] PeModule good() const { return tiny.good(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Pe, BothLayouts, testing::Values(Layout::file, Layout::memory));

TEST_P(BothLayouts, HeadersAndSections) {
  const PeModule module = good();
  EXPECT_TRUE(module.is_dll());
  EXPECT_EQ(module.preferred_base(), 0x7b00'0000u);
  EXPECT_EQ(module.size(), 0x4000u);
  ASSERT_EQ(module.sections().size(), 3u);
  EXPECT_EQ(module.sections()[1].name, ".rdata");
  EXPECT_TRUE(module.is_code(0x1000));
  EXPECT_FALSE(module.is_code(0x2000));
  EXPECT_FALSE(module.is_code(0x9000));
  EXPECT_THAT(module.incomplete(), IsEmpty());
}

TEST_P(BothLayouts, ExportsByNameAndOrdinal) {
  const PeModule module = good();
  EXPECT_EQ(module.exports().module_name(), "tiny.dll");
  EXPECT_EQ(module.exports().all().size(), 6u);
  const Export* open = module.exports().find("Open");
  ASSERT_NE(open, nullptr);
  EXPECT_EQ(open->rva, 0x1000u);
  EXPECT_EQ(open->ordinal, 1u);
  EXPECT_EQ(module.exports().find(1u), open);
  const Export* nameless = module.exports().find(4u);
  ASSERT_NE(nameless, nullptr);
  EXPECT_EQ(nameless->name, "");
  EXPECT_EQ(nameless->rva, 0x10c0u);
  EXPECT_EQ(module.exports().find("open"), nullptr) << "case matters";
  EXPECT_EQ(module.exports().find(""), nullptr);
  EXPECT_EQ(module.exports().find(7u), nullptr);
  EXPECT_EQ(module.exports().next_address(0x1000), 0x1040u);
}

TEST_P(BothLayouts, WhereExportsReallyAre) {
  const PeModule module = good();
  const auto target = [&](std::uint32_t ordinal) {
    return module.target_of(*module.exports().find(ordinal));
  };
  EXPECT_EQ(target(1), std::nullopt);
  EXPECT_EQ(target(3), by_name("kernelbase", "CreateFileW")) << "a stub";
  EXPECT_EQ(target(4), by_ordinal("kernelbase", 7));
  EXPECT_EQ(target(5), by_name("ntdll", "RtlAllocateHeap")) << "forwarded";
  EXPECT_EQ(target(6), std::nullopt) << "data";
}

TEST_P(BothLayouts, FunctionsAndTheirParts) {
  const PeModule module = good();
  EXPECT_EQ(module.function_at(0x1008), (Extent{0x1000, 0x1010}));
  EXPECT_EQ(module.function_at(0x1018), (Extent{0x1010, 0x1020}));
  EXPECT_EQ(module.unwind_table().primary_at(module.image(), 0x1018), (Extent{0x1000, 0x1010}));
  EXPECT_THAT(module.unwind_table().parts_at(module.image(), 0x1000),
              ElementsAre(Extent{0x1000, 0x1010}, Extent{0x1010, 0x1020}));
  EXPECT_EQ(module.function_at(0x1040), (Extent{0x1040, 0x1080})) << "a leaf ends at an export";
  EXPECT_EQ(module.function_at(0x10f0), (Extent{0x10f0, 0x1100})) << "or at unwind data";
  EXPECT_EQ(module.function_at(0x2000), std::nullopt) << "not code";
}

TEST_P(BothLayouts, ReturnsAreFoundInAllParts) {
  const PeModule module = good();
  const auto found = elf::find_return_extents(code_of(module), 0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1010}, Extent{0x1010, 0x1020}));
}

TEST(Forwarders, AreParsed) {
  EXPECT_EQ(parse_forwarder("NTDLL.RtlAllocateHeap"), by_name("ntdll", "RtlAllocateHeap"));
  EXPECT_EQ(parse_forwarder("a.b.dll.F"), by_name("a.b", "F")) << "the last dot counts";
  EXPECT_EQ(parse_forwarder("MSVCRT.#12"), by_ordinal("msvcrt", 12));
  for (const char* bad :
       {"", ".", "NTDLL", "NTDLL.", ".F", "NTDLL.#", "NTDLL.#x", "NTDLL.#1x", "NTDLL.#99999999999"})
    EXPECT_EQ(parse_forwarder(bad), std::nullopt) << bad;
}

TEST(ModuleStems, IgnoreFolderCaseAndSuffix) {
  EXPECT_EQ(module_stem("C:\\windows\\System32\\KERNEL32.DLL"), "kernel32");
  EXPECT_EQ(module_stem("/root/.wine/drive_c/windows/system32/ntdll.dll"), "ntdll");
  EXPECT_EQ(module_stem("api-ms-win-core-file-l1-1-0.dll"), "api-ms-win-core-file-l1-1-0");
  EXPECT_EQ(module_stem("a.b.dll"), "a.b");
  EXPECT_EQ(module_stem(""), "");
}

TEST(Imports, DelayedOnesCountToo) {
  TinyPe tiny;
  constexpr std::uint32_t kDelayed = 0x2600, kSlots = 0x2680, kLookups = 0x26a0;
  tiny.put_directory(kDelayImportDirectory, kDelayed, 0x40);
  tiny.put(kDelayed, DelayImportDescriptor{1, TinyPe::kHint + 0x20, 0, kSlots, kLookups, 0, 0, 0});
  tiny.put(kLookups, std::uint64_t{kImportByOrdinal | 9});
  const PeModule module = tiny.good();
  EXPECT_EQ(module.import_at(kSlots), by_ordinal("kernelbase", 9));
  EXPECT_EQ(module.import_at(TinyPe::kAddresses), by_name("kernelbase", "CreateFileW"));
  EXPECT_EQ(module.import_at(kSlots + 8), std::nullopt) << "the end of the list";
}

TEST(Imports, WithoutLookupTableOnlyAFileTells) {
  TinyPe tiny;
  tiny.put(TinyPe::kImports, ImportDescriptor{0, 0, 0, TinyPe::kHint + 0x20, TinyPe::kAddresses});
  tiny.put(TinyPe::kAddresses, std::uint64_t{TinyPe::kHint});
  EXPECT_EQ(tiny.good().import_at(TinyPe::kAddresses), by_name("kernelbase", "CreateFileW"));
  EXPECT_EQ(tiny.good(Layout::memory).import_at(TinyPe::kAddresses), std::nullopt);
}

TEST(OtherMachines, AreRefusedByName) {
  const auto error_for = [](std::uint16_t machine) {
    const auto parsed = TinyPe().put(TinyPe::kFileHeader, machine).parse();
    return parsed ? std::string{} : parsed.error().message;
  };
  EXPECT_THAT(error_for(kMachineI386), HasSubstr("32-bit x86"));
  EXPECT_THAT(error_for(kMachineArm64), HasSubstr("ARM64"));
  EXPECT_THAT(error_for(0x1234), HasSubstr("0x1234"));
}

}  // namespace
}  // namespace glasshook::windows
