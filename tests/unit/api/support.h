// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/catalogue.h"
#include "capture/record.h"
#include "source_root.h"

namespace glasshook::api {

/// The signatures as they are shipped.
inline const ApiCatalogue& shipped() {
  static const ApiCatalogue catalogue = [] {
    const auto root = glasshook::test::source_root();
    Result<ApiCatalogue> loaded = ApiCatalogue::load(root / "apis/linux");
    if (!loaded) {
      ADD_FAILURE() << loaded.error().message << " " << loaded.error().remedy;
      return ApiCatalogue{};
    }
    return std::move(*loaded);
  }();
  return catalogue;
}

/// A record built by hand, as a probe would send it.
class RecordBytes {
 public:
  explicit RecordBytes(capture::RecordKind kind, std::uint8_t flags = 0) {
    header_.kind = kind;
    header_.flags = flags;
    bytes_.resize(sizeof header_);
  }

  RecordBytes& words(std::uint16_t id, std::vector<std::uint64_t> words) {
    return field(id, capture::FieldKind::words,
                 {reinterpret_cast<const char*>(words.data()), words.size() * 8});
  }
  RecordBytes& field(std::uint16_t id, capture::FieldKind kind, std::string_view data,
                     std::uint8_t flags = 0, std::uint8_t detail = 0) {
    capture::FieldHeader header;
    header.detail = detail;
    header.id = id;
    header.kind = kind;
    header.flags = flags;
    header.length = static_cast<std::uint16_t>(data.size());
    append(&header, sizeof header);
    append(data.data(), data.size());
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    return *this;
  }
  /// Borrowed: valid until the next change.
  [[nodiscard]] capture::RecordView view() {
    header_.size = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    capture::RecordView view;
    EXPECT_TRUE(capture::RecordView::parse(bytes_, view));
    return view;
  }

 private:
  void append(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }

  capture::RecordHeader header_;
  std::vector<std::byte> bytes_;
};

}  // namespace glasshook::api
