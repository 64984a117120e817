#include "behaviour/windows/registry_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "api/windows_values.h"
#include "base/base64.h"
#include "behaviour/support.h"

namespace glasshook::behaviour::windows {
namespace {

// winnt.h
constexpr auto kTypes = std::to_array<std::string_view>(
    {"REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD", "REG_DWORD_BIG_ENDIAN",
     "REG_LINK", "REG_MULTI_SZ", "REG_RESOURCE_LIST", "REG_FULL_RESOURCE_DESCRIPTOR",
     "REG_RESOURCE_REQUIREMENTS_LIST", "REG_QWORD"});
enum Type : std::uint32_t {
  kText = 1,
  kExpandText = 2,
  kDword = 4,
  kDwordBigEndian = 5,
  kLink = 6,
  kTexts = 7,
  kQword = 11,
};

std::uint64_t number_at(std::string_view bytes, std::size_t offset, std::size_t size) {
  std::uint64_t value = 0;
  if (offset <= bytes.size() && size <= bytes.size() - offset && size <= sizeof value)
    std::memcpy(&value, bytes.data() + offset, size);
  return value;
}

std::string text_of(std::string_view utf16) {
  return api::utf8_of_utf16(std::as_bytes(std::span(utf16)));
}

/// Up to `size` bytes at `offset`, as far as they are there.
std::string_view part(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
  return offset >= bytes.size() ? std::string_view{} : bytes.substr(offset, size);
}

/// Without the NUL that ends it.
std::string single_text(std::string_view bytes) {
  std::string text = text_of(bytes);
  if (text.ends_with('\0')) text.pop_back();
  return text;
}

/// Each ends with a NUL, all with another.
std::vector<std::string> many_texts(std::string_view bytes) {
  std::vector<std::string> texts = split_nul(text_of(bytes));
  while (!texts.empty() && texts.back().empty()) texts.pop_back();
  return texts;
}

}  // namespace

std::string registry_type(std::uint32_t type) {
  return type < kTypes.size() ? std::string(kTypes[type]) : fmt::format("{:#x}", type);
}

void add_registry_data(Event& event, std::uint32_t type, std::string_view bytes,
                       std::uint64_t size) {
  bytes = bytes.substr(0, size);
  const bool truncated = bytes.size() < size;
  const bool number =
      !truncated && ((type == kDword && size == 4) || (type == kQword && size == 8));
  add(event, "registry.data.type", registry_type(type));
  if (type == kText || type == kExpandText || type == kLink)
    add(event, "registry.data.strings", std::vector{single_text(bytes)});
  else if (type == kTexts)
    add(event, "registry.data.strings", many_texts(bytes));
  else if (number)
    add(event, "registry.data.strings", std::vector{std::to_string(number_at(bytes, 0, size))});
  else if (!truncated && type == kDwordBigEndian && size == 4)
    add(event, "registry.data.strings",
        std::vector{std::to_string(__builtin_bswap32(
            static_cast<std::uint32_t>(number_at(bytes, 0, sizeof(std::uint32_t)))))});
  else
    add(event, "registry.data.bytes", to_base64(bytes));
  add_number(event, "glasshook.registry.data_size", size);
  add_flag(event, "glasshook.registry.data_truncated", truncated);
}

ValueInformation read_value_information(std::uint32_t information_class, std::string_view bytes) {
  // wdm.h: TitleIndex, Type, then by class.
  constexpr std::uint32_t kBasic = 0, kFull = 1, kPartial = 2;
  constexpr std::size_t kType = 4;
  ValueInformation value;
  value.type = static_cast<std::uint32_t>(number_at(bytes, kType, 4));
  if (information_class == kBasic) {
    value.name = text_of(part(bytes, 12, number_at(bytes, 8, 4)));
  } else if (information_class == kFull) {
    value.size = number_at(bytes, 12, 4);
    value.data = part(bytes, number_at(bytes, 8, 4), value.size);
    value.name = text_of(part(bytes, 20, number_at(bytes, 16, 4)));
    value.has_data = bytes.size() >= 20;
  } else if (information_class == kPartial) {
    value.size = number_at(bytes, 8, 4);
    value.data = part(bytes, 12, value.size);
    value.has_data = bytes.size() >= 12;
  }
  return value;
}

}  // namespace glasshook::behaviour::windows
