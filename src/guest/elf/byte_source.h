// Bytes of a module, some of which may be missing: a page that was never loaded, or is swapped out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace glasshook::elf {

/// What an ELF module is read from. Hostile: any byte may be anything, and change between reads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// Copies `out.size()` bytes from `offset`. False, with `out` unspecified, when any is missing.
  [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// How many reads failed so far because of bytes that may be there later.
  [[nodiscard]] virtual std::uint64_t misses() const { return 0; }

  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read_value(std::uint64_t offset) const {
    T value;
    if (!read(offset, std::as_writable_bytes(std::span{&value, 1}))) return std::nullopt;
    return value;
  }
};

/// Bytes in this process, borrowed.
class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset) return false;
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace glasshook::elf
