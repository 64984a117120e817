// Little-endian encoding and bounded decoding of byte buffers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace glasshook {

/// Appends plain values to a buffer.
class ByteWriter {
 public:
  template <class T>
    requires(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>)
  void put(const T& value) {
    append(std::as_bytes(std::span{&value, 1}));
  }

  /// A length (u32) and the bytes.
  void put_block(std::span<const std::byte> block) {
    put(static_cast<std::uint32_t>(block.size()));
    append(block);
  }
  void put_text(std::string_view text) { put_block(std::as_bytes(std::span{text})); }

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  void append(std::span<const std::byte> more) {
    const std::size_t before = bytes_.size();
    bytes_.resize(before + more.size());
    std::copy(more.begin(), more.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(before));
  }

  std::vector<std::byte> bytes_;
};

/// Reads what ByteWriter wrote. Reading past the end gives zeros and clears ok(); it never faults.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
    requires(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>)
  [[nodiscard]] T get() {
    T value{};
    if (bytes_.size() < sizeof value) {
      ok_ = false;
      bytes_ = {};
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }

  [[nodiscard]] std::span<const std::byte> get_block() {
    const auto length = get<std::uint32_t>();
    if (length > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const auto block = bytes_.first(length);
    bytes_ = bytes_.subspan(length);
    return block;
  }
  [[nodiscard]] std::string get_text() {
    const auto block = get_block();
    return {reinterpret_cast<const char*>(block.data()), block.size()};
  }

  /// False once anything was missing.
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

}  // namespace glasshook
