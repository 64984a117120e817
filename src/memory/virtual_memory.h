// Bounded reads through a guest address space.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "memory/page_walk.h"
#include "memory/physical_memory.h"

namespace glasshook {

/// One address space of a guest, for reading. Cheap to copy; borrows the PhysicalMemory.
class VirtualMemory {
 public:
  VirtualMemory(const PhysicalMemory& physical, AddressSpace space)
      : physical_(&physical), space_(space) {}

  [[nodiscard]] AddressSpace space() const { return space_; }
  [[nodiscard]] const PhysicalMemory& physical() const { return *physical_; }

  [[nodiscard]] std::optional<Translation> translate(Gva address) const noexcept;

  /// Copies across page boundaries; false when any byte is unmapped.
  [[nodiscard]] bool read(Gva from, std::span<std::byte> out) const noexcept;

  /// Copies as much as is mapped in one run from `from`; the number of bytes copied.
  [[nodiscard]] std::size_t read_some(Gva from, std::span<std::byte> out) const noexcept;

  /// One little-endian value.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read_value(Gva from) const noexcept {
    T value;
    if (!read(from, std::as_writable_bytes(std::span{&value, 1}))) return std::nullopt;
    return value;
  }

  /// Bytes up to (not with) the first NUL, at most `max_length`; empty when the start is unmapped.
  /// A string cut by `max_length` or by an unmapped page is returned as far as it goes.
  [[nodiscard]] std::optional<std::string> read_string(Gva from, std::size_t max_length) const;

 private:
  const PhysicalMemory* physical_;
  AddressSpace space_;
};

}  // namespace glasshook
