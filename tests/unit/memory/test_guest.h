// A guest made of bytes: RAM and page tables that a test lays out as it likes.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "base/guest_address.h"
#include "memory/guest_ram.h"
#include "memory/physical_memory.h"

namespace glasshook::test {

class TestGuest final : public PhysicalMemory {
 public:
  static constexpr std::uint64_t kRamSize = 4 << 20;
  static constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kLarge = 0x80;
  static constexpr std::uint64_t kNoExecute = 1ull << 63;
  static constexpr std::uint64_t kAllRights = kPresent | kWritable | kUser;

  TestGuest() : bytes_(new(std::align_val_t{kPageSize}) std::byte[kRamSize]{}) {
    ram_.add({.begin = Gpa{0}, .size = kRamSize, .host = bytes_.get()});
  }

  [[nodiscard]] const GuestRam& ram() const { return ram_; }
  [[nodiscard]] std::span<std::byte> bytes() { return {bytes_.get(), kRamSize}; }

  /// A zeroed page nobody uses yet.
  Gpa new_page() { return Gpa{(next_page_ += kPageSize) - kPageSize}; }

  /// An address space with nothing in it.
  AddressSpace new_space(bool five_level = false) { return {new_page(), five_level}; }

  /// Maps the page (4 KiB, 2 MiB or 1 GiB) that holds `address` to `to`.
  void map(AddressSpace space, Gva address, Gpa to, std::uint64_t page_size = kPageSize,
           std::uint64_t rights = kAllRights) {
    std::uint64_t table = space.root.value;
    for (int shift = space.five_level ? 48 : 39;; shift -= 9) {
      const Gpa entry{table + ((address.value >> shift) & 511) * 8};
      if (1ull << shift == page_size) {
        store(entry, to.value | rights | (page_size > kPageSize ? kLarge : 0));
        return;
      }
      if ((load(entry) & kPresent) == 0) store(entry, new_page().value | kAllRights);
      table = load(entry) & kCr3RootMask;
    }
  }

  /// Maps a fresh page at `address` and returns where it is.
  Gpa map_new(AddressSpace space, Gva address) {
    const Gpa page = new_page();
    map(space, address, page);
    return page;
  }

  void write(Gpa to, std::span<const std::byte> data) {
    std::memcpy(bytes_.get() + to.value, data.data(), data.size());
  }
  void write(Gpa to, std::string_view text) { write(to, std::as_bytes(std::span{text})); }
  template <class T>
    requires std::is_integral_v<T>
  void store(Gpa to, T value) {
    std::memcpy(bytes_.get() + to.value, &value, sizeof value);
  }
  [[nodiscard]] std::uint64_t load(Gpa from) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.get() + from.value, sizeof value);
    return value;
  }

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override {
    const std::byte* host = ram_.at(from, out.size());
    if (host != nullptr) std::memcpy(out.data(), host, out.size());
    return host != nullptr;
  }
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override {
    return {{Gpa{0}, kRamSize}};
  }
  [[nodiscard]] std::span<const std::byte> view(Gpa from,
                                                std::uint64_t size) const noexcept override {
    const std::byte* host = ram_.at(from, size);
    return host ? std::span{host, size} : std::span<const std::byte>{};
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kPageSize}); }
  };
  std::unique_ptr<std::byte[], Free> bytes_;
  GuestRam ram_;
  std::uint64_t next_page_ = kPageSize;  // page 0 stays empty
};

}  // namespace glasshook::test
