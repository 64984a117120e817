#include "capture/record.h"

#include <cstring>

#include "capture/program.h"

namespace glasshook::capture {
namespace {

bool is_known(RecordKind kind) {
  return kind == RecordKind::entry || kind == RecordKind::exit || kind == RecordKind::code_page;
}

bool is_well_formed(const FieldHeader& field) {
  if (field.kind < FieldKind::words || field.kind > FieldKind::list) return false;
  if (field.kind == FieldKind::words && field.length % 8 != 0) return false;
  if (field.kind == FieldKind::utf16 && field.length % 2 != 0) return false;
  return field.length <= kMaxFieldBytes;
}

}  // namespace

std::uint64_t FieldView::word(std::size_t index) const noexcept {
  std::uint64_t value = 0;
  if (index < data.size() / sizeof value)
    std::memcpy(&value, data.data() + index * sizeof value, sizeof value);
  return value;
}

bool RecordView::parse(std::span<const std::byte> bytes, RecordView& out) noexcept {
  out.field_count_ = 0;
  RecordHeader& header = out.header_;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kRecordVersion || !is_known(header.kind) || header.size != bytes.size() ||
      header.size > kMaxRecordBytes || header.size % 8 != 0)
    return false;

  std::size_t at = sizeof header;
  std::size_t count = 0;
  while (at < bytes.size()) {
    FieldHeader field;
    if (count == kMaxFields || bytes.size() - at < sizeof field) return false;
    std::memcpy(&field, bytes.data() + at, sizeof field);
    at += sizeof field;
    if (!is_well_formed(field) || field.length > bytes.size() - at) return false;
    out.fields_[count++] = {.id = field.id,
                            .kind = field.kind,
                            .flags = field.flags,
                            .detail = field.detail,
                            .data = bytes.subspan(at, field.length)};
    at += (std::size_t{field.length} + 7) & ~std::size_t{7};
  }
  out.field_count_ = count;
  out.bytes_ = bytes;
  return true;
}

const FieldView* RecordView::find(std::uint16_t id) const noexcept {
  for (const FieldView& field : fields())
    if (field.id == id) return &field;
  return nullptr;
}

std::optional<std::uint64_t> RecordView::find_word(std::uint16_t id) const noexcept {
  for (const FieldView& field : fields())
    if (field.kind == FieldKind::words && field.id <= id &&
        std::size_t{id} - field.id < field.data.size() / sizeof(std::uint64_t))
      return field.word(std::size_t{id} - field.id);
  return std::nullopt;
}

}  // namespace glasshook::capture
