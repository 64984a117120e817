#include "guest/windows/process.h"

#include <gmock/gmock.h>

#include <cstring>
#include <map>

#include "base/text.h"
#include "guest/windows/limits.h"

namespace glasshook::windows {
namespace {

using ::testing::ElementsAre;

/// Memory of a process: a few mapped pages; everything else is missing.
class FakeProcess final : public elf::ByteSource {
 public:
  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto page = pages_.find((address + i) / kPageSize);
      if (page == pages_.end()) return false;
      out[i] = page->second[(address + i) % kPageSize];
    }
    return true;
  }
  template <class T>
  FakeProcess& put(std::uint64_t address, const T& value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    for (std::size_t i = 0; i < sizeof value; ++i) put_byte(address + i, bytes[i]);
    return *this;
  }
  /// A UNICODE_STRING at `at` whose text lies at `buffer` and is named as `stored`.
  FakeProcess& put_string(std::uint64_t at, std::uint64_t buffer, std::u16string_view text,
                          std::uint64_t stored) {
    put(at, static_cast<std::uint16_t>(text.size() * 2));
    put(at + 2, static_cast<std::uint16_t>(text.size() * 2 + 2));
    put(at + 8, stored);
    for (std::size_t i = 0; i < text.size(); ++i) put(buffer + 2 * i, text[i]);
    return *this;
  }
  FakeProcess& put_string(std::uint64_t at, std::uint64_t buffer, std::u16string_view text) {
    return put_string(at, buffer, text, buffer);
  }

 private:
  void put_byte(std::uint64_t address, std::byte value) {
    auto& page = pages_[address / kPageSize];
    page.resize(kPageSize);
    page[address % kPageSize] = value;
  }
  std::map<std::uint64_t, std::vector<std::byte>> pages_;
};

constexpr std::uint64_t kTeb = 0x7ffd'e000, kPeb = 0x7ffd'f000, kLdr = 0x1'0000,
                        kParameters = 0x2'0000, kEntries = 0x3'0000, kTexts = 0x4'0000;

/// A process with two modules.
FakeProcess sample() {
  FakeProcess p;
  p.put(kTeb + kTebSelf, kTeb).put(kTeb + 8, std::uint64_t{0x23'0000});
  p.put(kTeb + 0x10, std::uint64_t{0x13'0000}).put(kTeb + kTebProcessId, std::uint64_t{0x20});
  p.put(kTeb + kTebThreadId, std::uint64_t{0x24}).put(kTeb + kTebPeb, kPeb);
  p.put(kTeb + kTebLastError, std::uint32_t{5});
  p.put(kPeb + 2, std::uint8_t{1}).put(kPeb + 0x10, std::uint64_t{0x1'4000'0000});
  p.put(kPeb + 0x18, kLdr).put(kPeb + 0x20, kParameters);
  p.put(kPeb + 0x118, std::uint32_t{10}).put(kPeb + 0x11c, std::uint32_t{0});
  p.put(kPeb + 0x120, std::uint16_t{19045});
  p.put(kParameters + 8, std::uint32_t{1});
  p.put_string(kParameters + 0x38, kTexts, u"C:\\t\\");
  p.put_string(kParameters + 0x60, kTexts + 0x100, u"C:\\t\\a.exe");
  p.put_string(kParameters + 0x70, kTexts + 0x200, u"a.exe \"ü €\" \U0001f600");
  p.put(kLdr + 0x10, kEntries);
  const auto module = [&](std::uint64_t at, std::uint64_t next, std::uint64_t base,
                          std::u16string_view name) {
    p.put(at, next).put(at + 0x30, base).put(at + 0x38, base + 0x1000);
    p.put(at + 0x40, std::uint32_t{0x5000});
    p.put_string(at + 0x48, at + 0x400, std::u16string(u"C:\\w\\") + std::u16string(name));
    p.put_string(at + 0x58, at + 0x600, name);
  };
  module(kEntries, kEntries + 0x1000, 0x1'4000'0000, u"a.exe");
  module(kEntries + 0x1000, kLdr + 0x10, 0x1'7000'0000, u"ntdll.dll");
  return p;
}

TEST(Teb, TellsTheWin32Ids) {
  const auto teb = read_teb(sample(), Gva{kTeb});
  ASSERT_TRUE(teb);
  EXPECT_EQ(teb->process_id, 0x20u);
  EXPECT_EQ(teb->thread_id, 0x24u);
  EXPECT_EQ(teb->last_error, 5u);
  EXPECT_EQ(teb->peb, Gva{kPeb});
  EXPECT_EQ(teb->stack_base, Gva{0x23'0000});
}

TEST(Teb, IsRefusedWhenItIsNone) {
  EXPECT_FALSE(read_teb(sample(), Gva{0}));
  EXPECT_FALSE(read_teb(sample(), Gva{0x9'0000}));
  EXPECT_FALSE(read_teb(sample().put(kTeb + kTebSelf, kTeb + 8), Gva{kTeb}));
  EXPECT_FALSE(read_teb(sample(), Gva{~std::uint64_t{0} - 8}));
}

TEST(Peb, LeadsToEverything) {
  const FakeProcess process = sample();
  const auto peb = read_peb(process, Gva{kPeb});
  ASSERT_TRUE(peb);
  EXPECT_TRUE(peb->being_debugged);
  EXPECT_EQ(peb->image_base, Gva{0x1'4000'0000});
  EXPECT_EQ(peb->os_build, 19045);
  const auto parameters = read_parameters(process, peb->parameters);
  ASSERT_TRUE(parameters);
  EXPECT_EQ(parameters->image_path, "C:\\t\\a.exe");
  EXPECT_EQ(parameters->command_line, "a.exe \"ü €\" 😀");
  EXPECT_EQ(parameters->current_directory, "C:\\t\\");
  const LoadedModules modules = read_modules(process, peb->loader_data);
  EXPECT_FALSE(modules.incomplete);
  ASSERT_EQ(modules.items.size(), 2u);
  EXPECT_EQ(modules.items[1].name, "ntdll.dll");
  EXPECT_EQ(modules.items[1].path, "C:\\w\\ntdll.dll");
  EXPECT_EQ(modules.items[1].base, Gva{0x1'7000'0000});
  EXPECT_EQ(modules.items[1].size, 0x5000u);
}

TEST(Parameters, OffsetsBeforeTheyAreNormalized) {
  FakeProcess process = sample();
  process.put(kParameters + 8, std::uint32_t{0});
  process.put_string(kParameters + 0x38, kParameters + 0x400, u"D:\\", 0x400);
  EXPECT_EQ(read_parameters(process, Gva{kParameters})->current_directory, "D:\\");
}

TEST(Parameters, WhatIsMissingIsEmptyOrCut) {
  FakeProcess process = sample();
  process.put(kParameters + 0x68, std::uint64_t{0x99'0000});
  EXPECT_EQ(read_parameters(process, Gva{kParameters})->image_path, "");
  // 65534 bytes are promised, one page is there.
  process.put(kParameters + 0x70, std::uint16_t{0xffff});
  const auto cut = read_parameters(process, Gva{kParameters});
  EXPECT_TRUE(cut->command_line.starts_with("a.exe"));
  EXPECT_TRUE(is_valid_utf8(cut->command_line));
  process.put(kParameters + 0x78, ~std::uint64_t{0} - 3);
  EXPECT_EQ(read_parameters(process, Gva{kParameters})->command_line, "");
  EXPECT_FALSE(read_parameters(process, Gva{0x99'0000}));
  EXPECT_FALSE(read_parameters(process, Gva{0}));
  EXPECT_FALSE(read_peb(process, Gva{0x99'0000}));
}

TEST(Modules, ListsThatLie) {
  const auto modules = [](const FakeProcess& process) { return read_modules(process, Gva{kLdr}); };
  FakeProcess loop = sample();
  loop.put(kEntries + 0x1000, kEntries);
  EXPECT_EQ(modules(loop).items.size(), 2u);
  EXPECT_TRUE(modules(loop).incomplete);

  FakeProcess broken = sample();
  broken.put(kEntries + 0x1000, std::uint64_t{0xdead'0000});
  EXPECT_EQ(modules(broken).items.size(), 2u);
  EXPECT_TRUE(modules(broken).incomplete);

  FakeProcess empty = sample();
  empty.put(kLdr + 0x10, kLdr + 0x10);
  EXPECT_EQ(modules(empty).items.size(), 0u);
  EXPECT_FALSE(modules(empty).incomplete);
  EXPECT_TRUE(read_modules(empty, Gva{0}).incomplete);

  FakeProcess endless;
  endless.put(kLdr + 0x10, kEntries);
  for (std::uint64_t i = 0; i < kMaxLoadedModules + 8; ++i)
    endless.put(kEntries + i * 0x80, kEntries + (i + 1) * 0x80);
  endless.put(kEntries + (kMaxLoadedModules + 8) * 0x80 + 0x80, 0);
  EXPECT_EQ(modules(endless).items.size(), kMaxLoadedModules);
  EXPECT_EQ(modules(endless).incomplete->code, ErrorCode::limit);
}

TEST(Utf16, BecomesValidUtf8) {
  EXPECT_EQ(utf8_of_utf16(u"aü€"), "aü€");
  EXPECT_EQ(utf8_of_utf16(u"\U0001f600"), "😀");
  const char16_t lone[] = {u'a', 0xd800, u'b', 0xdc00, 0xd800};
  EXPECT_EQ(utf8_of_utf16({lone, 5}),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace glasshook::windows
