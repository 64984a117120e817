// PE modules that lie, and modules with holes.
#include <gmock/gmock.h>

#include "guest/windows/limits.h"
#include "tiny_pe.h"

namespace glasshook::windows {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint32_t kFar = 0xffff'fff0;

TEST(HostilePe, RefusesWhatIsNoModule) {
  const auto parse = [](std::vector<std::byte> bytes) {
    return PeModule::parse(std::make_shared<TestSource>(std::move(bytes)), Layout::file);
  };
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse(std::vector<std::byte>(4096)));
  EXPECT_FALSE(TinyPe().put(0x3c, kFar).parse());
  EXPECT_FALSE(TinyPe().put(0x3c, std::uint32_t{TinyPe::kBytes - 4}).parse());
  EXPECT_FALSE(TinyPe().put(TinyPe::kNewHeader, 0u).parse()) << "DOS";
  EXPECT_FALSE(TinyPe().put(TinyPe::kOptional, std::uint16_t{0x10b}).parse()) << "PE32";
  const auto with_sections = [](std::uint16_t count) {
    return TinyPe().put(TinyPe::kFileHeader + offsetof(FileHeader, section_count), count).parse();
  };
  EXPECT_FALSE(with_sections(0));
  EXPECT_FALSE(with_sections(0xffff));
  const auto with_optional = [](std::uint16_t size) {
    return TinyPe()
        .put(TinyPe::kFileHeader + offsetof(FileHeader, optional_header_bytes), size)
        .parse();
  };
  EXPECT_FALSE(with_optional(0));
  EXPECT_FALSE(with_optional(0xffff)) << "the sections would lie behind the end";
  EXPECT_FALSE(
      TinyPe().put(TinyPe::kOptional + offsetof(OptionalHeader, image_bytes), kFar).parse());
}

TEST(HostilePe, SectionsOutsideTheImageAreLeftOut) {
  SectionHeader outside{};
  outside.virtual_size = 0x1000;
  outside.rva = 0x3800;
  EXPECT_EQ(TinyPe().put_section(2, outside).good().sections().size(), 2u);
  outside.rva = kFar;
  EXPECT_EQ(TinyPe().put_section(2, outside).good().sections().size(), 2u);
  TinyPe none;
  for (std::size_t i = 0; i < 3; ++i) none.put_section(i, outside);
  EXPECT_FALSE(none.parse());
}

TEST(HostilePe, RawDataBehindTheFileIsMissingNotRead) {
  SectionHeader header{};
  header.virtual_size = header.file_size = 0x1000;
  header.rva = 0x2000;
  header.file_offset = 0xffff'fe00;
  const PeModule module = TinyPe().put_section(1, header).good();
  EXPECT_THAT(module.exports().all(), IsEmpty());
  EXPECT_THAT(module.incomplete(), Not(IsEmpty()));
}

TEST(HostilePe, ExportCountsAreCapped) {
  const auto count = [](std::size_t field) {
    TinyPe tiny;
    tiny.put(TinyPe::kExports + field, 0xffff'ffffu);
    const PeModule module = tiny.good();
    EXPECT_THAT(module.incomplete(), Not(IsEmpty()));
    return module.exports().all().size();
  };
  EXPECT_LE(count(offsetof(ExportHeader, function_count)), kMaxExports);
  EXPECT_LE(count(offsetof(ExportHeader, name_count)), kMaxExports);
}

TEST(HostilePe, EndlessNamesHaveABudget) {
  // 65536 names that all point to a long text without an end.
  TinyPe tiny;
  for (std::uint32_t at = 0x2200; at < 0x2400; ++at) tiny.put(at, 'A');
  tiny.put(TinyPe::kExports + offsetof(ExportHeader, name_count), 0x100u);
  for (std::uint32_t at = 0; at < 0x400; at += 4) tiny.put(0x2800 + at, 0x2200u);
  tiny.put(TinyPe::kExports + offsetof(ExportHeader, names), 0x2800u);
  const PeModule module = tiny.good();
  for (const Export& entry : module.exports().all()) EXPECT_LE(entry.name.size(), kMaxNameBytes);
}

TEST(HostilePe, PointersOutsideAreIgnored) {
  for (std::size_t field = offsetof(ExportHeader, functions); field < sizeof(ExportHeader);
       field += 4)
    EXPECT_THAT(TinyPe().put(TinyPe::kExports + field, kFar).good().incomplete(), Not(IsEmpty()));
  for (std::size_t directory = 0; directory < kDirectoryCount; ++directory) {
    EXPECT_TRUE(TinyPe().put_directory(directory, kFar, 0x1000).parse());
    EXPECT_TRUE(TinyPe().put_directory(directory, 0x3ff0, kFar).parse());
    EXPECT_TRUE(TinyPe().put_directory(directory, 1, 0x4000).parse());
  }
  TinyPe ordinals;
  ordinals.put(TinyPe::kNameOrdinals, std::uint16_t{0xffff});
  EXPECT_EQ(ordinals.good().exports().find("Data"), nullptr);
  const PeModule address = TinyPe().put(TinyPe::kFunctions, kFar).good();
  const Export* open = address.exports().find("Open");
  ASSERT_NE(open, nullptr);
  EXPECT_FALSE(address.is_code(open->rva));
  EXPECT_EQ(address.target_of(*open), std::nullopt);
  EXPECT_EQ(address.function_at(open->rva), std::nullopt);
}

TEST(HostilePe, ForwardersWithoutEndAreMissing) {
  TinyPe tiny;
  tiny.put(TinyPe::kFunctions + 16, TinyPe::kExports + TinyPe::kExportBytes - 4);
  for (std::uint32_t at = TinyPe::kExports + TinyPe::kExportBytes - 4; at < 0x2400; ++at)
    tiny.put(at, 'A');
  for (std::uint32_t at = 0x2400; at < 0x3000; ++at) tiny.put(at, 'A');
  EXPECT_EQ(tiny.good().exports().find("Forward"), nullptr);
  EXPECT_THAT(tiny.good().incomplete(), Not(IsEmpty()));
}

TEST(HostilePe, ImportsThatLie) {
  const auto slot = [](TinyPe tiny) { return tiny.good().import_at(TinyPe::kAddresses); };
  EXPECT_TRUE(slot(TinyPe()));
  EXPECT_FALSE(slot(TinyPe().put(TinyPe::kLookups, std::uint64_t{0x7fff'ffff'ffff'fff0})));
  EXPECT_FALSE(slot(TinyPe().put(TinyPe::kLookups, std::uint64_t{kFar})));
  EXPECT_FALSE(slot(TinyPe().put(TinyPe::kImports, kFar)));
  EXPECT_FALSE(slot(TinyPe().put(TinyPe::kImports + offsetof(ImportDescriptor, name), kFar)));
  EXPECT_FALSE(TinyPe().good().import_at(TinyPe::kAddresses + 4)) << "not aligned";
  EXPECT_FALSE(TinyPe().good().import_at(0));
  EXPECT_FALSE(TinyPe().good().import_at(~std::uint64_t{0}));
}

TEST(HostilePe, UnwindChainsHaveABudget) {
  TinyPe loop;
  // The second part's parent is itself.
  loop.put(TinyPe::kUnwindInfo + 0x18, RuntimeFunction{0x1010, 0x1020, TinyPe::kUnwindInfo + 0x10});
  const PeModule module = loop.good();
  EXPECT_EQ(module.unwind_table().primary_at(module.image(), 0x1018), std::nullopt);
  EXPECT_EQ(module.function_at(0x1018), (Extent{0x1010, 0x1020}));
  EXPECT_EQ(module.unwind_table().parts_at(module.image(), 0x1000).size(), 1u);

  TinyPe indirect;
  indirect.put(TinyPe::kUnwind + 12, RuntimeFunction{0x1010, 0x1020, TinyPe::kUnwind | 1});
  const PeModule by_entry = indirect.good();
  EXPECT_EQ(by_entry.unwind_table().primary_at(by_entry.image(), 0x1018), (Extent{0x1000, 0x1010}));
  const PeModule itself =
      indirect.put(TinyPe::kUnwind + 20, std::uint32_t{(TinyPe::kUnwind + 12) | 1}).good();
  EXPECT_EQ(itself.unwind_table().primary_at(itself.image(), 0x1018), std::nullopt);
}

TEST(HostilePe, UnwindTablesThatLie) {
  const auto at = [](const TinyPe& tiny, std::uint64_t rva) {
    return tiny.good().function_at(rva);
  };
  EXPECT_EQ(at(TinyPe().put(TinyPe::kUnwind, RuntimeFunction{0x1000, 0x0800, 0}), 0x1000),
            (Extent{0x1000, 0x1010}))
      << "ends before it begins: then it is a leaf";
  EXPECT_EQ(at(TinyPe().put_directory(kExceptionDirectory, kFar, 0xffff), 0x1000),
            (Extent{0x1000, 0x1040}));
  EXPECT_TRUE(TinyPe().put_directory(kExceptionDirectory, 0x3000, kFar).parse());
  TinyPe huge;
  huge.put(TinyPe::kUnwind, RuntimeFunction{0, 0xffff'ffff, 0});
  const auto found = elf::find_return_extents(code_of(huge.good()), 0x1005);
  EXPECT_TRUE(found.incomplete || !found.ranges.empty());
}

TEST(HolesInPe, AnyMissingPageIsSurvivedAndSaid) {
  for (std::uint64_t page = 0; page < 4; ++page) {
    const auto source = std::make_shared<TestSource>(TinyPe().bytes());
    source->remove_page(page);
    const auto module = PeModule::parse(source, Layout::file);
    if (page == 0) {
      EXPECT_FALSE(module);
      continue;
    }
    ASSERT_TRUE(module) << page;
    EXPECT_EQ(module->exports().all().empty(), page == 2);
    EXPECT_EQ(module->incomplete().empty(), page != 2);
    (void)elf::find_return_extents(code_of(*module), 0x1000);
    for (const Export& entry : module->exports().all()) (void)module->target_of(entry);
  }
}

}  // namespace
}  // namespace glasshook::windows
