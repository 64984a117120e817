// A guest small enough to write by hand: RAM, page tables, a kernel image with kallsyms and BTF.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "btf_builder.h"
#include "guest/linux/kernel.h"
#include "memory/physical_memory.h"

namespace glasshook::linux_guest {

/// How the kernel of a fake guest is built.
struct FakeKernelOptions {
  bool offsets_last = true;  ///< kallsyms as from 6.4 on
  bool absolute_percpu = true;
  bool five_level = false;
  bool with_btf = true;
  std::size_t name_order_bytes = 3;  ///< of kallsyms_seqs_of_names, a symbol; 0 before 6.2
};

/// 8 MiB of RAM: page tables from 4 KiB on, heap from 2 MiB, kernel image from 4 MiB.
class FakeGuest : public PhysicalMemory {
 public:
  static constexpr std::uint64_t kSize = 8u << 20, kHeap = 2u << 20, kImage = 4u << 20;
  static constexpr Gva kImageVa{0xffff'ffff'8100'0000};
  static constexpr Gva kDirectMap{0xffff'8880'0000'0000};
  static constexpr std::uint64_t kDelta = kImageVa.value - kImage;
  static constexpr std::string_view kBanner = "Linux version 6.6.6-fake (a@b) #1 SMP\n";

  explicit FakeGuest(FakeKernelOptions options = {}) : options_(options), ram_(kSize) {
    map_kernel();
    define("_text", kImageVa);
    define("init_top_pgt", image(kRoot));
    define("linux_banner", image(kBannerAt));
    put_text(image(kBannerAt), kBanner);
  }

  // PhysicalMemory
  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override {
    ++reads;
    if (from.value > kSize || out.size() > kSize - from.value) return false;
    std::memcpy(out.data(), ram_.data() + from.value, out.size());
    return true;
  }
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override {
    return {{.begin = {0x1000}, .size = kSize - 0x1000}};
  }
  [[nodiscard]] std::span<const std::byte> view(Gpa from,
                                                std::uint64_t size) const noexcept override {
    return with_views && from.value <= kSize && size <= kSize - from.value
               ? std::span{ram_}.subspan(from.value, size)
               : std::span<const std::byte>{};
  }
  bool with_views = true;
  mutable std::size_t reads = 0;  ///< so far

  // Writing
  [[nodiscard]] std::span<std::byte> bytes(Gpa at, std::size_t size) {
    return std::span{ram_}.subspan(at.value, size);
  }
  /// Physical address of a kernel address in the image or the direct map.
  static Gpa physical(Gva at) {
    return {at >= kImageVa ? at.value - kDelta : at.value - kDirectMap.value};
  }
  template <class T>
  void put(Gva at, T value) {
    std::memcpy(bytes(physical(at), sizeof value).data(), &value, sizeof value);
  }
  void put_text(Gva at, std::string_view text) {
    std::memcpy(bytes(physical(at), text.size()).data(), text.data(), text.size());
  }
  static Gva image(std::uint64_t offset) { return kImageVa + offset; }
  /// Zeroed kernel memory.
  Gva allocate(std::size_t size, std::size_t align = 16) {
    heap_ = (heap_ + align - 1) & ~(align - 1);
    const Gva at = kDirectMap + heap_;
    heap_ += size;
    require(heap_ <= kImage);
    return at;
  }
  Gva allocate_text(std::string_view text) {
    const Gva at = allocate(text.size() + 1);
    put_text(at, text);
    return at;
  }

  // The kernel
  void define(std::string_view name, Gva at, char type = 'D') {
    symbols_.push_back({.address = at, .type = type, .name = std::string{name}});
  }
  /// A variable of the kernel image.
  Gva variable(std::string_view name, std::size_t size) {
    variables_ -= (size + 63) & ~std::size_t{63};
    define(name, image(variables_));
    return image(variables_);
  }
  BtfBuilder btf;

  /// Writes BTF and kallsyms.
  void finish() {
    std::uint64_t at = kTables;
    if (options_.with_btf) {
      const auto blob = btf.blob();
      std::ranges::copy(blob, bytes(physical(image(at)), blob.size()).begin());
      define("__start_BTF", image(at));
      define("__stop_BTF", image(at + blob.size()));
      at += blob.size();
    }
    at = (at + 15) & ~std::uint64_t{15};
    const auto tables = kallsyms();
    require(at + tables.size() < variables_);
    kallsyms_at = Gpa{kImage + at};
    kallsyms_size = tables.size();
    std::ranges::copy(tables, bytes(kallsyms_at, tables.size()).begin());
  }
  [[nodiscard]] const std::vector<Symbol>& symbols() const { return symbols_; }
  Gpa kallsyms_at;
  std::size_t kallsyms_size = 0;
  std::uint64_t relative_base = kImageVa.value;

  /// Finds the kernel, as a monitor would.
  [[nodiscard]] LinuxKernel kernel() const {
    auto found = LinuxKernel::find(*this);
    require(found.has_value());
    return std::move(*found);
  }
  [[nodiscard]] Gpa root() const { return {kImage + kRoot}; }

  /// Maps one page of user memory; the tables are made as needed. `root` is physical.
  void map_user(Gpa root, Gva at, Gpa to) {
    Gpa table = root;
    for (int shift = options_.five_level ? 48 : 39; shift > 12; shift -= 9) {
      const Gva entry = kDirectMap + table.value + ((at.value >> shift) & 511) * 8;
      std::uint64_t value = 0;
      (void)read(physical(entry), std::as_writable_bytes(std::span{&value, 1}));
      if (value == 0) {
        value = physical(allocate(4096, 4096)).value | 7;
        put(entry, value);
      }
      table = Gpa{value & kCr3RootMask};
    }
    put(kDirectMap + table.value + ((at.value >> 12) & 511) * 8, to.value | 7);
  }

  /// The heap as far as it is used.
  [[nodiscard]] std::span<std::byte> heap() { return bytes(Gpa{kHeap}, heap_ - kHeap); }

 private:
  /// A test that builds an impossible guest is wrong itself.
  static void require(bool holds) {
    if (!holds) std::abort();
  }
  static constexpr std::uint64_t kRoot = 0x1000, kBannerAt = 0x2000, kTables = 0x4000;

  void entry(Gpa table, std::uint64_t index, std::uint64_t value) {
    std::memcpy(bytes(table + index * 8, 8).data(), &value, 8);
  }
  void map_kernel() {
    constexpr std::uint64_t kTable = 3, kLarge = 0x83;
    const Gpa text_pud{0x2000}, text_pmd{0x3000}, map_pud{0x4000}, map_pmd{0x5000}, p4d{0x6000};
    const Gpa top = options_.five_level ? p4d : root();
    if (options_.five_level) entry(root(), 511, p4d.value | kTable);
    entry(top, 511, text_pud.value | kTable);
    entry(text_pud, 510, text_pmd.value | kTable);
    entry(top, 273, map_pud.value | kTable);
    entry(map_pud, 0, map_pmd.value | kTable);
    for (std::uint64_t i = 0; i < 2; ++i) entry(text_pmd, 8 + i, (kImage + (i << 21)) | kLarge);
    for (std::uint64_t i = 0; i < kSize >> 21; ++i) entry(map_pmd, i, i << 21 | kLarge);
  }

  // kallsyms, as scripts/kallsyms.c writes it, with tokens of one character each
  using Table = std::vector<std::byte>;
  template <class T>
  static void append(Table& out, T value) {
    const auto raw = std::as_bytes(std::span{&value, 1});
    out.insert(out.end(), raw.begin(), raw.end());
  }
  static void align(Table& out) { out.resize((out.size() + 7) & ~std::size_t{7}); }

  void append_offsets(Table& out) const {
    for (const Symbol& s : symbols_) {
      const bool percpu = !s.address.is_kernel();
      const auto above = s.address.value - relative_base;
      const auto value = !options_.absolute_percpu ? above : percpu ? s.address.value : ~above;
      append(out, static_cast<std::uint32_t>(value));
    }
    align(out);
    append(out, relative_base);
  }
  void append_names(Table& out) const {
    append(out, static_cast<std::uint64_t>(symbols_.size()));
    std::vector<std::uint32_t> markers;
    const std::size_t begin = out.size();
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      if (i % 256 == 0) markers.push_back(static_cast<std::uint32_t>(out.size() - begin));
      const std::string name = symbols_[i].type + symbols_[i].name;
      if (name.size() > 127) {
        append(out, static_cast<std::uint8_t>(name.size() | 0x80));
        append(out, static_cast<std::uint8_t>(name.size() >> 7));
      } else {
        append(out, static_cast<std::uint8_t>(name.size()));
      }
      for (const char c : name) append(out, c);
    }
    align(out);
    for (const std::uint32_t marker : markers) append(out, marker);
    align(out);
  }
  static void append_tokens(Table& out) {
    std::vector<std::uint16_t> index;
    const std::size_t begin = out.size();
    for (int c = 0; c < 256; ++c) {
      index.push_back(static_cast<std::uint16_t>(out.size() - begin));
      if (c > ' ' && c < 127) append(out, static_cast<char>(c));
      append(out, '\0');
    }
    align(out);
    for (const std::uint16_t at : index) append(out, at);
  }

  [[nodiscard]] Table kallsyms() {
    for (int i = 0; i < 300; ++i)
      define(fmt::format("filler_{}", i), image(3'000'000 + static_cast<std::uint64_t>(i)), 't');
    std::ranges::stable_sort(symbols_, {}, &Symbol::address);
    Table out;
    if (!options_.offsets_last) append_offsets(out);
    append_names(out);
    if (!options_.offsets_last)
      out.resize(out.size() + options_.name_order_bytes * symbols_.size());
    align(out);
    append_tokens(out);
    align(out);
    if (options_.offsets_last) append_offsets(out);
    return out;
  }

  FakeKernelOptions options_;
  std::vector<std::byte> ram_;
  std::uint64_t heap_ = kHeap;
  std::uint64_t variables_ = 3u << 20;
  std::vector<Symbol> symbols_;
};

}  // namespace glasshook::linux_guest
