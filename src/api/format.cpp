#include "api/format.h"

#include <fmt/format.h>

#include "api/errno.h"
#include "api/windows_values.h"
#include "base/plain_text.h"
#include "base/text.h"

namespace glasshook::api {
namespace {

constexpr std::int64_t kAtCurrentDirectory = -100;  // AT_FDCWD, uapi/linux/fcntl.h

Shown show_number(const Type& type, std::uint64_t value) {
  if (type.is_signed) {
    const auto number = static_cast<std::int64_t>(value);
    return {std::to_string(number), number};
  }
  return {std::to_string(value), value};
}

Shown show_named(std::string_view name, const Type& type, std::uint64_t value) {
  if (name.empty()) return show_number(type, value);
  return {std::string(name), std::string(name)};
}

/// A set stores values as written, so -100 has 64 bits there and 32 in a register.
std::uint64_t widen(const Type& type, std::uint64_t raw) {
  Type as_signed = type;
  as_signed.is_signed = true;
  return narrow(as_signed, raw);
}

Shown show_enumeration(const Vocabulary& vocabulary, const Type& type, std::uint64_t value) {
  const ValueSet* set = vocabulary.find_set(type.name);
  if (!set) return show_number(type, value);
  std::string_view name = enumerator(*set, value);
  if (name.empty()) name = enumerator(*set, widen(type, value));
  return show_named(name, type, value);
}

/// Windows has handles that are small negative numbers (the own process is -1).
Shown show_handle(const Vocabulary& vocabulary, const Type& type, std::uint64_t value) {
  constexpr std::int64_t kLowestPseudoHandle = -6;  // GetCurrentThreadEffectiveToken
  const ValueSet* set = type.name.empty() ? nullptr : vocabulary.find_set(type.name);
  if (set)
    if (const std::string_view name = enumerator(*set, value); !name.empty())
      return {std::string(name), std::string(name)};
  const auto number = static_cast<std::int64_t>(value);
  if (number < 0 && number >= kLowestPseudoHandle) return {std::to_string(number), number};
  return {show_address(value), value};
}

Shown show_status(const Vocabulary& vocabulary, const Type& type, std::uint64_t value) {
  const ValueSet* set = vocabulary.find_set(type.name);
  const std::string_view name = set ? enumerator(*set, value) : std::string_view{};
  if (name.empty()) return {fmt::format("{:#x}", value), value};
  return {std::string(name), std::string(name)};
}

Shown show_error(const Type& type, std::uint64_t value) {
  const auto number = static_cast<std::int64_t>(value);
  const bool negated = number < 0 && number >= -static_cast<std::int64_t>(kMaxErrno);
  const std::string_view name = errno_name(static_cast<std::uint32_t>(negated ? -number : number));
  if (name.empty()) return show_number(type, value);
  std::string text = (negated ? "-" : "") + std::string(name);
  return {text, text};
}

Shown show_character(std::uint64_t value) {
  const char c = static_cast<char>(value);
  std::string text = quote({&c, 1});
  text.front() = text.back() = '\'';
  return {std::move(text), std::string(1, c)};
}

}  // namespace

std::uint64_t narrow(const Type& type, std::uint64_t raw) {
  if (type.size == 0 || type.size >= 8) return raw;
  const unsigned unused = 64 - 8u * type.size;
  raw <<= unused;
  return type.is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(raw) >> unused)
                        : raw >> unused;
}

Shown show_scalar(const Vocabulary& vocabulary, const Type& type, std::uint64_t raw) {
  const std::uint64_t value = narrow(type, raw);
  switch (type.kind) {
    case TypeKind::nothing:
      return {"", std::uint64_t{0}};
    case TypeKind::boolean:
      return {value ? "true" : "false", value != 0};
    case TypeKind::character:
      return show_character(value);
    case TypeKind::integer:
    case TypeKind::process_id:
      return show_number(type, value);
    case TypeKind::descriptor:
      return show_named(static_cast<std::int64_t>(value) == kAtCurrentDirectory ? "AT_FDCWD" : "",
                        type, value);
    case TypeKind::mode:
      return {value ? fmt::format("0{:o}", value) : "0", value};
    case TypeKind::errno_value:
      return show_error(type, value);
    case TypeKind::flags: {
      const ValueSet* set = vocabulary.find_set(type.name);
      std::string text = set ? show_flags(*set, value) : fmt::format("{:#x}", value);
      return {text, text};
    }
    case TypeKind::enumeration:
    case TypeKind::signal:
      return show_enumeration(vocabulary, type, value);
    case TypeKind::handle:
      return show_handle(vocabulary, type, value);
    case TypeKind::status:
      return show_status(vocabulary, type, value);
    case TypeKind::filetime: {
      std::string text = filetime_text(value);
      return {std::move(text), value};
    }
    case TypeKind::hex:
      return {fmt::format("{:#x}", value), value};
    default:
      return {show_address(value), value};
  }
}

std::string show_flags(const ValueSet& set, std::uint64_t value) {
  std::string text;
  std::uint64_t shown = 0;
  for (const NamedValue& flag : set.values) {
    if ((value & flag.mask) != flag.value || (shown & flag.mask) != 0) continue;
    if (!text.empty()) text += '|';
    text += flag.name;
    shown |= flag.mask;
  }
  const std::uint64_t rest = value & ~shown;
  if (rest == 0) return text.empty() ? "0" : text;
  return text.empty() ? fmt::format("{:#x}", rest) : fmt::format("{}|{:#x}", text, rest);
}

std::string_view enumerator(const ValueSet& set, std::uint64_t value) {
  for (const NamedValue& named : set.values)
    if ((value & named.mask) == named.value) return named.name;
  return {};
}

std::string quote(std::string_view bytes, bool cut) {
  std::string text = "\"";
  while (true) {
    const std::size_t plain = plain_length(bytes);
    text += bytes.substr(0, plain);
    bytes.remove_prefix(plain);
    if (bytes.empty()) break;
    const std::size_t odd = std::min(bytes.find_first_of("\"\\"), bytes.size());
    text += to_printable(bytes.substr(0, odd));
    bytes.remove_prefix(odd);
    if (bytes.empty()) break;
    text += '\\';
    text += bytes.front();
    bytes.remove_prefix(1);
  }
  text += cut ? "\"..." : "\"";
  return text;
}

std::string show_address(std::uint64_t address) {
  return address ? fmt::format("{:#x}", address) : "NULL";
}

}  // namespace glasshook::api
