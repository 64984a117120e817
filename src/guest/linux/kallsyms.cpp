#include "guest/linux/kallsyms.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace glasshook::linux_guest {
namespace {

constexpr std::uint32_t kMinSymbols = 256;
constexpr std::uint32_t kMaxSymbols = 2u << 20;
constexpr std::size_t kMaxSymbolName = 512;  // KSYM_NAME_LEN since 6.1
constexpr std::size_t kMaxNameBytes = 128u << 20;
constexpr std::size_t kTokens = 256;
/// Symbol addresses lie above the start of the kernel text mapping, whatever KASLR does.
constexpr std::uint64_t kKernelMap = 0xffff'ffff'8000'0000;

/// A copy of guest memory, read by offset.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool has(std::size_t offset, std::size_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }
  [[nodiscard]] std::uint8_t byte(std::size_t offset) const {
    return std::to_integer<std::uint8_t>(bytes_[offset]);
  }
  /// A value whose place was checked with has().
  template <class T>
  [[nodiscard]] T value(std::size_t offset) const {
    T out;
    std::memcpy(&out, bytes_.data() + offset, sizeof out);
    return out;
  }
  [[nodiscard]] const char* chars() const { return reinterpret_cast<const char*>(bytes_.data()); }

 private:
  std::span<const std::byte> bytes_;
};

constexpr std::size_t align_up(std::size_t value, std::size_t to) {
  return (value + to - 1) & ~(to - 1);
}

/// The 256 strings a byte of a compressed name can stand for.
struct Tokens {
  std::array<std::string_view, kTokens> text;
  std::size_t end = 0;  ///< behind the last NUL

  static std::optional<Tokens> read(const Bytes& bytes, std::size_t at) {
    Tokens tokens;
    for (std::string_view& token : tokens.text) {
      if (!bytes.has(at, 1)) return std::nullopt;
      const std::size_t limit = std::min(bytes.size() - at, kMaxSymbolName);
      token = {bytes.chars() + at, strnlen(bytes.chars() + at, limit)};
      if (token.size() == limit) return std::nullopt;
      at += token.size() + 1;
    }
    tokens.end = at;
    return tokens;
  }

  /// Where token_index lies, if it says the same as the table itself.
  [[nodiscard]] std::optional<std::size_t> index(const Bytes& bytes) const {
    for (const std::size_t align : {8u, 4u}) {
      const std::size_t at = align_up(end, align);
      if (bytes.has(at, kTokens * 2) && agrees(bytes, at)) return at;
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] bool agrees(const Bytes& bytes, std::size_t at) const {
    for (std::size_t i = 0; i < kTokens; ++i)
      if (bytes.value<std::uint16_t>(at + 2 * i) != text[i].data() - text[0].data()) return false;
    return true;
  }
};

/// Start of the token table whose entry for '0' is at `mark`.
std::optional<std::size_t> table_of_mark(const Bytes& bytes, std::size_t mark) {
  std::size_t at = mark;
  for (int token = '0'; token > 0; --token) {
    const std::size_t floor = at - std::min(at, kMaxSymbolName + 1);
    if (at < 2 || bytes.byte(at - 1) != 0) return std::nullopt;
    --at;  // the NUL of the token before
    while (at > floor && bytes.byte(at - 1) != 0) --at;
  }
  return at;
}

/// Length of a compressed name (ULEB128 of one or two bytes); steps `at` over it.
std::optional<std::size_t> name_length(const Bytes& bytes, std::size_t& at) {
  if (!bytes.has(at, 2)) return std::nullopt;
  std::size_t length = bytes.byte(at++);
  if ((length & 0x80) != 0) length = (length & 0x7f) | std::size_t{bytes.byte(at++)} << 7;
  if (length == 0 || length > kMaxSymbolName || !bytes.has(at, length)) return std::nullopt;
  return length;
}

/// True when `count` names from `names` end where a table of markers begins that agrees with them.
bool names_agree(const Bytes& bytes, std::size_t names, std::uint32_t count, std::size_t end,
                 KallsymsBudget& budget) {
  std::vector<std::uint32_t> markers;
  std::size_t at = names;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!budget.take()) return false;
    if (i % 256 == 0) markers.push_back(static_cast<std::uint32_t>(at - names));
    const auto length = name_length(bytes, at);
    if (!length || at + *length > end) return false;
    at += *length;
  }
  for (const std::size_t align : {8u, 4u}) {
    const std::size_t table = align_up(at, align);
    const std::size_t size = markers.size() * sizeof(std::uint32_t);
    if (table + size <= end && bytes.has(table, size) &&
        std::memcmp(bytes.chars() + table, markers.data(), size) == 0)
      return true;
  }
  return false;
}

/// Finds kallsyms_num_syms, which kallsyms_names follows, below the token table.
std::optional<std::size_t> find_count(const Bytes& bytes, std::size_t token_table,
                                      KallsymsBudget& budget) {
  for (std::size_t at = token_table & ~std::size_t{7}; at >= 16 && budget.take();) {
    at -= 8;
    const auto word = bytes.value<std::uint64_t>(at);
    if (word < kMinSymbols || word > kMaxSymbols) continue;
    // Every name takes a length and at least a byte.
    const auto count = static_cast<std::uint32_t>(word);
    if (token_table - at < std::size_t{count} * 2) continue;
    if (names_agree(bytes, at + 8, count, token_table, budget)) return at;
  }
  return std::nullopt;
}

std::uint64_t symbol_address(const KallsymsTables& tables, std::int32_t offset) {
  if (!tables.absolute_percpu) return tables.relative_base + static_cast<std::uint32_t>(offset);
  if (offset >= 0) return static_cast<std::uint64_t>(offset);
  return tables.relative_base - 1 - static_cast<std::uint64_t>(std::int64_t{offset});
}

/// Addresses ascend, and most are kernel addresses.
bool addresses_agree(const Bytes& bytes, const KallsymsTables& tables) {
  std::uint64_t before = 0;
  std::uint32_t in_kernel = 0;
  for (std::uint32_t i = 0; i < tables.count; ++i) {
    const auto address = symbol_address(tables, bytes.value<std::int32_t>(tables.offsets + 4 * i));
    if (address < before) return false;
    before = address;
    in_kernel += address >= tables.relative_base ? 1 : 0;
  }
  return in_kernel > tables.count / 2;
}

/// Fills in offsets and relative_base, trying both layouts and both meanings of an offset.
bool find_offsets(const Bytes& bytes, std::size_t count_at, std::size_t behind_index,
                  KallsymsTables& tables) {
  const std::size_t size = align_up(std::size_t{tables.count} * 4, 8);
  struct Place {
    std::size_t offsets, base;
  };
  const std::size_t last = align_up(behind_index, 8);
  const std::array places{Place{.offsets = last, .base = last + size},
                          Place{.offsets = count_at - 8 - size, .base = count_at - 8}};
  for (const Place& place : places) {
    if (!bytes.has(place.offsets, size) || !bytes.has(place.base, 8)) continue;
    tables.offsets = static_cast<std::uint32_t>(place.offsets);
    tables.relative_base = bytes.value<std::uint64_t>(place.base);
    if (tables.relative_base < kKernelMap) continue;
    for (const bool absolute_percpu : {true, false}) {
      tables.absolute_percpu = absolute_percpu;
      if (addresses_agree(bytes, tables)) return true;
    }
  }
  return false;
}

/// Cuts the region down to the tables.
KallsymsTables tightened(KallsymsTables tables, std::size_t behind_index) {
  const std::uint32_t begin = std::min(tables.names, tables.offsets) & ~std::uint32_t{7};
  const std::size_t end =
      std::max(behind_index, std::size_t{tables.offsets} + std::size_t{tables.count} * 4);
  tables.begin = Gpa{begin};
  tables.size = static_cast<std::uint32_t>(end - begin);
  tables.names -= begin;
  tables.token_table -= begin;
  tables.offsets -= begin;
  return tables;
}

}  // namespace

std::span<const std::byte> token_table_mark() {
  static constexpr char kMark[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
  static_assert(sizeof kMark == 20);
  return std::as_bytes(std::span{kMark});
}

bool is_token_table(std::span<const std::byte> window, std::size_t mark) {
  const Bytes bytes{window};
  const auto table = mark < window.size() ? table_of_mark(bytes, mark) : std::nullopt;
  const auto tokens = table ? Tokens::read(bytes, *table) : std::nullopt;
  return tokens && tokens->index(bytes);
}

std::optional<KallsymsTables> find_tables(std::span<const std::byte> window, std::size_t mark,
                                          KallsymsBudget& budget) {
  const Bytes bytes{window};
  if (mark >= window.size() || window.size() > kMaxKallsymsBytes) return std::nullopt;
  const auto token_table = table_of_mark(bytes, mark);
  if (!token_table) return std::nullopt;
  const auto tokens = Tokens::read(bytes, *token_table);
  const auto index = tokens ? tokens->index(bytes) : std::nullopt;
  if (!index) return std::nullopt;
  const auto count_at = find_count(bytes, *token_table, budget);
  if (!count_at) return std::nullopt;
  KallsymsTables tables{.begin = {},
                        .size = 0,
                        .count = bytes.value<std::uint32_t>(*count_at),
                        .names = static_cast<std::uint32_t>(*count_at + 8),
                        .token_table = static_cast<std::uint32_t>(*token_table),
                        .offsets = 0,
                        .relative_base = 0,
                        .absolute_percpu = false};
  const std::size_t behind_index = *index + kTokens * 2;
  if (!find_offsets(bytes, *count_at, behind_index, tables)) return std::nullopt;
  return tightened(tables, behind_index);
}

Result<std::vector<Symbol>> decode_symbols(std::span<const std::byte> copy,
                                           const KallsymsTables& tables) {
  const Bytes bytes{copy};
  const auto tokens = Tokens::read(bytes, tables.token_table);
  if (!tokens || tables.count > kMaxSymbols ||
      !bytes.has(tables.offsets, std::size_t{tables.count} * 4))
    return fail(ErrorCode::guest_fault, "the kernel's symbol tables do not fit their place");
  std::vector<Symbol> symbols;
  symbols.reserve(tables.count);
  std::size_t at = tables.names, total = 0;
  std::string name;
  for (std::uint32_t i = 0; i < tables.count; ++i) {
    const auto length = name_length(bytes, at);
    if (!length) return fail(ErrorCode::guest_fault, "kernel symbol {} has no name", i);
    name.clear();
    for (std::size_t end = at + *length; at < end && name.size() <= kMaxSymbolName; ++at)
      name += tokens->text[bytes.byte(at)];
    total += name.size();
    if (name.size() < 2 || name.size() > kMaxSymbolName + 1 || total > kMaxNameBytes)
      return fail(ErrorCode::guest_fault, "kernel symbol {} has an impossible name", i);
    symbols.push_back(
        {.address = {symbol_address(tables, bytes.value<std::int32_t>(tables.offsets + 4 * i))},
         .type = name[0],
         .name = name.substr(1)});
  }
  return symbols;
}

}  // namespace glasshook::linux_guest
