// Modules that lie, and modules with holes.
#include <elf.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "guest/elf/errno_location.h"
#include "guest/elf/function_extents.h"
#include "support.h"

namespace glasshook::elf {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint64_t kDynamic = 0x200, kHash = 0x400, kSymbols = 0x500, kStrings = 0x600,
                        kVersions = 0x700, kDefinitions = 0x740, kUnwind = 0x800;

/// A tiny shared object of one page: two symbols, one version, one unwind entry. Tests spoil it.
class Tiny {
 public:
  Tiny() : bytes_(0x1000) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    put(0, header);
    put_header(0, PT_LOAD, 0, 0x1000);
    put_header(1, PT_DYNAMIC, kDynamic, 16 * sizeof(Elf64_Dyn));
    put_header(2, PT_GNU_EH_FRAME, kUnwind, 0x40);
    put_tag(0, DT_SYMTAB, kSymbols);
    put_tag(1, DT_STRTAB, kStrings);
    put_tag(2, DT_STRSZ, 0x20);
    put_tag(3, DT_HASH, kHash);
    put_tag(4, DT_VERSYM, kVersions);
    put_tag(5, DT_VERDEF, kDefinitions);
    put_tag(6, DT_VERDEFNUM, 1);
    put(kHash, std::array<std::uint32_t, 2>{1, 2});
    put_symbol(1, 1, 0x900, 0x10);
    std::memcpy(&bytes_[kStrings], "\0open\0V1\0", 9);
    put(kVersions, std::array<std::uint16_t, 2>{0, 2});
    put(kDefinitions, Elf64_Verdef{1, 0, 2, 1, 0, sizeof(Elf64_Verdef), 0});
    put(kDefinitions + sizeof(Elf64_Verdef), Elf64_Verdaux{6, 0});
    put_unwind();
  }

  template <class T>
  Tiny& put(std::uint64_t at, const T& value) {
    std::memcpy(&bytes_[at], &value, sizeof value);
    return *this;
  }
  Tiny& put_header(std::uint64_t index, std::uint32_t type, std::uint64_t address,
                   std::uint64_t size) {
    return put(sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr),
               Elf64_Phdr{type, PF_R | PF_X, address, address, address, size, size, 4096});
  }
  Tiny& put_tag(std::uint64_t index, std::int64_t tag, std::uint64_t value) {
    return put(kDynamic + index * sizeof(Elf64_Dyn), Elf64_Dyn{tag, {value}});
  }
  Tiny& put_symbol(std::uint64_t index, std::uint32_t name, std::uint64_t value,
                   std::uint64_t size) {
    return put(kSymbols + index * sizeof(Elf64_Sym),
               Elf64_Sym{name, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, value, size});
  }

  [[nodiscard]] Result<ElfModule> parse() const {
    return ElfModule::parse(std::make_shared<TestSource>(bytes_), Layout::file);
  }
  [[nodiscard]] ElfModule good() const {
    Result<ElfModule> module = parse();
    if (!module) throw std::runtime_error(module.error().message);
    return std::move(*module);
  }

 private:
  void put_unwind() {
    constexpr std::uint64_t kCie = kUnwind + 0x20, kFde = kCie + 0x18;
    put(kUnwind, std::array<std::uint8_t, 4>{1, 0x1b, 0x03, 0x3b});
    put(kUnwind + 4,
        std::array<std::int32_t, 4>{0x1c, 1, 0x900 - int{kUnwind}, int{kFde - kUnwind}});
    put(kCie, std::array<std::uint32_t, 2>{0x14, 0});
    std::memcpy(&bytes_[kCie + 8], "\1zR\0\1\x78\x10\1\x1b", 9);
    put(kFde, std::array<std::uint32_t, 4>{0x14, kFde + 4 - kCie,
                                           static_cast<std::uint32_t>(0x900 - (kFde + 8)), 0x20});
  }

  std::vector<std::byte> bytes_;
};

TEST(Hostile, TheTinyModuleIsGood) {
  const ElfModule module = Tiny().good();
  EXPECT_THAT(module.incomplete(), IsEmpty());
  const Symbol* open = module.exports().find("open");
  ASSERT_NE(open, nullptr);
  EXPECT_EQ(open->value, 0x900u);
  EXPECT_EQ(module.exports().version(*open), "V1");
  EXPECT_EQ(module.function_at(0x91f), (Extent{0x900, 0x920}));
  EXPECT_FALSE(module.function_at(0x920));
}

TEST(Hostile, RefusesWhatIsNoModule) {
  const auto parse = [](std::vector<std::byte> bytes) {
    return ElfModule::parse(std::make_shared<TestSource>(std::move(bytes)), Layout::file);
  };
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse(std::vector<std::byte>(4096)));
  EXPECT_FALSE(Tiny().put(EI_CLASS, std::uint8_t{ELFCLASS32}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_AARCH64}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_type), std::uint16_t{ET_CORE}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{0}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{0xffff}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_phoff), ~std::uint64_t{0}).parse());
  EXPECT_FALSE(Tiny().put(offsetof(Elf64_Ehdr, e_phentsize), std::uint16_t{1}).parse());
  EXPECT_FALSE(Tiny().put_header(0, PT_NULL, 0, 0).parse()) << "nothing to load";
  EXPECT_FALSE(Tiny().put_header(0, PT_LOAD, ~std::uint64_t{0} - 16, 0x1000).parse()) << "wraps";
}

TEST(Hostile, CountsAreCapped) {
  const ElfModule huge = Tiny().put(kHash, std::array<std::uint32_t, 2>{1, 0xffffffff}).good();
  EXPECT_THAT(huge.incomplete(), Not(IsEmpty()));
  EXPECT_THAT(huge.exports().symbols(), IsEmpty());

  const ElfModule strings = Tiny().put_tag(2, DT_STRSZ, ~std::uint64_t{0}).good();
  EXPECT_THAT(strings.incomplete(), Not(IsEmpty()));
  EXPECT_NE(strings.exports().find("open"), nullptr);

  const ElfModule versions = Tiny()
                                 .put_tag(6, DT_VERDEFNUM, ~std::uint64_t{0})
                                 .put(kDefinitions + offsetof(Elf64_Verdef, vd_next), 0xffffffffu)
                                 .good();
  EXPECT_NE(versions.exports().find("open"), nullptr);
}

TEST(Hostile, GnuHashOfAnyShape) {
  constexpr std::uint64_t kGnuHash = 0x900;
  const auto with = [&](std::array<std::uint32_t, 8> words) {
    return Tiny().put_tag(3, DT_GNU_HASH, kGnuHash).put(kGnuHash, words).good();
  };
  // one bucket, first symbol 1, one bloom word: bucket 1 leads to a chain that ends at once
  EXPECT_NE(with({1, 1, 1, 0, 0, 0, 1, 1}).exports().find("open"), nullptr);
  EXPECT_NE(with({0xffffffff, 0, 0, 0}).exports().find("open"), nullptr)
      << "falls back to where the strings begin";
  EXPECT_NE(with({1, 1, 0xffffffff, 0}).exports().find("open"), nullptr);
  EXPECT_NE(with({1, 0xfffffff0, 1, 0, 0, 0, 0xfffffff1, 0}).exports().find("open"), nullptr);
  EXPECT_THAT(with({1, 0, 1, 0, 0, 0, 0xffff, 0}).exports().symbols().size(), ::testing::Le(8u));
}

TEST(Hostile, NamesOutsideTheStringsAreLeftOut) {
  EXPECT_THAT(Tiny().put_symbol(1, 0xffffffff, 0x900, 1).good().exports().symbols(), IsEmpty());
  Tiny unterminated;
  unterminated.put_tag(2, DT_STRSZ, 4);
  EXPECT_THAT(unterminated.good().exports().symbols(), IsEmpty());
}

TEST(Hostile, PointersOutsideTheModuleAreIgnored) {
  for (std::uint64_t tag = 0; tag < 6; ++tag) {
    Tiny tiny;
    tiny.put(kDynamic + tag * sizeof(Elf64_Dyn) + 8, std::uint64_t{0xffffffff00000000});
    EXPECT_TRUE(tiny.parse()) << tag;
  }
  EXPECT_TRUE(Tiny().put_header(1, PT_DYNAMIC, 0xfffffffffffff000, 0x100).parse());
  EXPECT_TRUE(Tiny().put_header(2, PT_GNU_EH_FRAME, 0xfffffffffffff000, 0x100).parse());
}

TEST(Hostile, SymbolSizesThatWrap) {
  Tiny tiny;
  tiny.put_header(2, PT_NULL, 0, 0).put_symbol(1, 1, 0x900, ~std::uint64_t{0});
  EXPECT_FALSE(tiny.good().function_at(0x900));
}

TEST(Hostile, UnwindTablesThatLie) {
  const auto at = [](const Tiny& tiny, std::uint64_t address) {
    const Result<ElfModule> module = tiny.parse();
    return module ? module->function_at(address) : std::nullopt;
  };
  constexpr std::uint64_t kCount = kUnwind + 8, kCie = kUnwind + 0x20, kFde = kCie + 0x18;
  const Extent from_symbol{0x900, 0x910};
  EXPECT_EQ(at(Tiny().put(kUnwind, std::uint8_t{9}), 0x900), from_symbol) << "version";
  EXPECT_EQ(at(Tiny().put(kUnwind + 3, std::uint8_t{0x1b}), 0x900), from_symbol) << "encoding";
  EXPECT_EQ(at(Tiny().put(kCount, 0xffffffffu), 0x900), from_symbol) << "count";
  EXPECT_EQ(at(Tiny().put(kCount, 0x10000u), 0x900), from_symbol) << "table behind the module";
  EXPECT_EQ(at(Tiny().put(kFde, 0u), 0x900), from_symbol) << "no length";
  EXPECT_EQ(at(Tiny().put(kFde + 4, 0u), 0x900), from_symbol) << "a CIE, not an FDE";
  EXPECT_EQ(at(Tiny().put(kFde + 4, 0xffffff00u), 0x900), from_symbol) << "CIE far away";
  EXPECT_EQ(at(Tiny().put(kFde + 4, 4u), 0x900), from_symbol) << "its own CIE";
  EXPECT_EQ(at(Tiny().put(kCie + 9, std::uint8_t{'q'}), 0x900), from_symbol) << "augmentation";
  EXPECT_EQ(at(Tiny().put(kCie + 9, std::array<std::uint8_t, 8>{1, 1, 1, 1, 1, 1, 1, 1}), 0x900),
            from_symbol);
  EXPECT_EQ(at(Tiny().put(kCie + 16, std::uint8_t{0xff}), 0x900), from_symbol) << "omitted";
  EXPECT_FALSE(at(Tiny().put(kFde + 8, 0u), 0x930)) << "an FDE of another function";
}

TEST(Hostile, BuildIdsThatLie) {
  Tiny tiny;
  tiny.put_header(2, PT_NOTE, 0xa00, ~std::uint64_t{0} - 0xa00);
  tiny.put(0xa00, Elf64_Nhdr{4, 0xffffffff, NT_GNU_BUILD_ID});
  EXPECT_EQ(tiny.good().build_id(), "");
  tiny.put(0xa00, Elf64_Nhdr{4, 2, NT_GNU_BUILD_ID}).put(0xa0c, 0x00554e47).put(0xa10, 0xcdab);
  EXPECT_EQ(tiny.good().build_id(), "abcd");
}

TEST(Hostile, RelocatedPointersAreTakenBack) {
  constexpr std::uint64_t kLoaded = 0x7f0000000000;
  Tiny tiny;
  tiny.put_tag(0, DT_SYMTAB, kLoaded + kSymbols).put_tag(1, DT_STRTAB, kLoaded + kStrings);
  tiny.put_tag(3, DT_HASH, kLoaded + kHash);
  EXPECT_THAT(tiny.good().exports().symbols(), IsEmpty()) << "nobody said it was loaded";
  class Forward final : public ByteSource {
   public:
    explicit Forward(const Tiny& tiny) : module_(tiny.good()) {}
    bool read(std::uint64_t at, std::span<std::byte> out) const override {
      return module_.read(at, out);
    }

   private:
    ElfModule module_;
  };
  const Result<ElfModule> loaded =
      ElfModule::parse(std::make_shared<Forward>(tiny), Layout::memory, kLoaded);
  ASSERT_TRUE(loaded);
  EXPECT_NE(loaded->exports().find("open"), nullptr);
}

TEST(Holes, AnyMissingPageOfARealModuleIsSurvivedAndSaid) {
  if (!std::filesystem::exists(kLibc)) GTEST_SKIP();
  const std::vector<std::byte> bytes = read_bytes(kLibc);
  const std::size_t all = parse_file(kLibc).exports().symbols().size();
  for (std::uint64_t page = 1; page < 48; page += 3) {
    const auto source = std::make_shared<TestSource>(bytes);
    source->remove_page(page);
    const Result<ElfModule> libc = ElfModule::parse(source, Layout::file);
    ASSERT_TRUE(libc) << page;
    if (libc->exports().symbols().size() == all) continue;
    EXPECT_THAT(libc->incomplete(), Not(IsEmpty())) << page;
    EXPECT_GT(libc->exports().symbols().size(), all / 2) << page;
  }
  const auto no_header = std::make_shared<TestSource>(bytes);
  no_header->remove_page(0);
  EXPECT_THAT(ElfModule::parse(no_header, Layout::file).error().message, HasSubstr("missing"));
}

TEST(ErrnoLocation, KnowsTheWaysItIsWritten) {
  const auto find = [](std::vector<std::uint8_t> code) {
    Tiny tiny;
    tiny.put(kStrings + 0x20, std::array<char, 17>{"__errno_location"});
    tiny.put_tag(2, DT_STRSZ, 0x40).put_symbol(1, 0x20, 0x900, 0x10);
    for (std::size_t i = 0; i < code.size(); ++i) tiny.put(0x900 + i, code[i]);
    return find_errno(tiny.good());
  };
  // mov rax, [rip+0x100]; add rax, fs:0; ret
  EXPECT_EQ(find({0x48, 0x8b, 0x05, 0, 1, 0, 0, 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3}),
            (ErrnoLocation{.slot = 0xa07, .offset = 0}));
  // endbr64; mov rax, fs:0; add rax, [rip+0x100]; ret
  EXPECT_EQ(find({0xf3, 0x0f, 0x1e, 0xfa, 0x64, 0x48, 0x8b, 0x04, 0x25, 0,   0,
                  0,    0,    0x48, 0x03, 0x05, 0,    1,    0,    0,    0xc3}),
            (ErrnoLocation{.slot = 0xa14, .offset = 0}));
  // musl: mov rax, fs:0; add rax, 0x34; ret
  EXPECT_EQ(find({0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x83, 0xc0, 0x34, 0xc3}),
            (ErrnoLocation{.slot = std::nullopt, .offset = 0x34}));
  EXPECT_FALSE(find({0xc3})) << "no thread pointer";
  EXPECT_FALSE(find({0xe8, 0, 0, 0, 0, 0xc3})) << "a call";
  EXPECT_FALSE(find({0x06})) << "no instruction";
  EXPECT_FALSE(find(std::vector<std::uint8_t>(64, 0x50))) << "no end";
}

}  // namespace
}  // namespace glasshook::elf
