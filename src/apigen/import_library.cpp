#include "apigen/import_library.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>

namespace glasshook::apigen {
namespace {

using Bytes = std::span<const std::byte>;

// The `ar` format (ar(5)) and COFF (Microsoft's PE format specification).
constexpr std::string_view kArchiveMagic = "!<arch>\n";
constexpr std::size_t kMemberHeader = 60, kMemberSizeAt = 48, kMemberSizeDigits = 10;
constexpr std::size_t kCoffHeader = 20, kSectionHeader = 40, kSymbolBytes = 18;
constexpr std::size_t kMaxMembers = 100'000;
constexpr std::string_view kImportPrefix = "__imp_";

std::string_view text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `size` bytes at `at`, or nothing when they are not there.
std::optional<Bytes> part(Bytes bytes, std::size_t at, std::size_t size) {
  if (at > bytes.size() || size > bytes.size() - at) return std::nullopt;
  return bytes.subspan(at, size);
}

std::uint32_t number(Bytes bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

std::string until_nul(Bytes bytes) {
  const std::string_view all = text(bytes);
  return std::string(all.substr(0, all.find('\0')));
}

/// One COFF object of the archive.
class ImportObject {
 public:
  explicit ImportObject(Bytes bytes) : bytes_(bytes) {}

  /// The export of this member and the function symbol that calls it; nothing for other members.
  std::optional<ImportedFunction> function() const {
    const auto header = part(bytes_, 0, kCoffHeader);
    if (!header) return std::nullopt;
    std::string export_name;
    const std::size_t sections = number(header->subspan(2, 2));
    for (std::size_t i = 0; i < sections; ++i) {
      const auto section = part(bytes_, kCoffHeader + i * kSectionHeader, kSectionHeader);
      if (!section) return std::nullopt;
      if (until_nul(section->first(8)) != ".idata$6") continue;
      const auto data =
          part(bytes_, number(section->subspan(20, 4)), number(section->subspan(16, 4)));
      if (!data || data->size() < 3) return std::nullopt;
      export_name = until_nul(data->subspan(2));
    }
    const std::string symbol = imported_symbol(*header);
    if (export_name.empty() || symbol.empty()) return std::nullopt;
    return ImportedFunction{symbol, export_name};
  }

 private:
  /// X, when both X and __imp_X are defined here: data has only the latter.
  std::string imported_symbol(Bytes header) const {
    const std::size_t table = number(header.subspan(8, 4)), count = number(header.subspan(12, 4));
    const std::size_t strings = table + count * kSymbolBytes;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count && i < kMaxMembers; ++i) {
      const auto symbol = part(bytes_, table + i * kSymbolBytes, kSymbolBytes);
      if (!symbol) return {};
      const bool defined = number(symbol->subspan(12, 2)) != 0;
      if (defined) names.push_back(symbol_name(*symbol, strings));
      i += std::to_integer<std::size_t>((*symbol)[17]);  // auxiliary records
    }
    for (const std::string& name : names)
      if (std::ranges::find(names, std::string(kImportPrefix) + name) != names.end()) return name;
    return {};
  }

  std::string symbol_name(Bytes symbol, std::size_t strings) const {
    if (number(symbol.first(4)) != 0) return until_nul(symbol.first(8));
    const std::size_t at = strings + number(symbol.subspan(4, 4));
    return at < bytes_.size() ? until_nul(bytes_.subspan(at)) : std::string();
  }

  Bytes bytes_;
};

}  // namespace

Result<std::vector<ImportedFunction>> parse_import_library(Bytes archive) {
  if (!text(archive).starts_with(kArchiveMagic))
    return fail(ErrorCode::invalid_argument, "this is no archive");
  std::map<std::string, std::string> functions;
  std::size_t at = kArchiveMagic.size();
  for (std::size_t members = 0; at < archive.size() && members < kMaxMembers; ++members) {
    const auto header = part(archive, at, kMemberHeader);
    if (!header) return fail(ErrorCode::invalid_argument, "the archive is cut off");
    const std::string_view digits = text(header->subspan(kMemberSizeAt, kMemberSizeDigits));
    std::size_t size = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), size);
    const auto member = part(archive, at + kMemberHeader, size);
    if (!member) return fail(ErrorCode::invalid_argument, "the archive is cut off");
    const bool is_index = text(*header).starts_with('/') && text(*header).substr(1, 1) < "0";
    if (!is_index)
      if (auto function = ImportObject(*member).function())
        functions.emplace(std::move(function->symbol), std::move(function->export_name));
    at += kMemberHeader + size + size % 2;
  }
  std::vector<ImportedFunction> list;
  for (const auto& [symbol, name] : functions) list.push_back({symbol, name});
  return list;
}

Result<std::vector<ImportedFunction>> read_import_library(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
  if (bytes.empty()) return fail(ErrorCode::io, "cannot read {}", path.string());
  auto parsed = parse_import_library(std::as_bytes(std::span(bytes)));
  if (!parsed) return fail(parsed.error().code, "{}: {}", path.string(), parsed.error().message);
  return parsed;
}

}  // namespace glasshook::apigen
