// The kernel's compressed symbol table as it lies in memory (scripts/kallsyms.c of the kernel).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/guest_address.h"
#include "base/result.h"
#include "guest/linux/symbols.h"

namespace glasshook::linux_guest {

/// Where the tables lie. Offsets are bytes from `begin`; all of them lie within `size`.
struct KallsymsTables {
  Gpa begin;
  std::uint32_t size = 0;         ///< at most kMaxKallsymsBytes
  std::uint32_t count = 0;        ///< symbols
  std::uint32_t names = 0;        ///< kallsyms_names
  std::uint32_t token_table = 0;  ///< kallsyms_token_table
  std::uint32_t offsets = 0;      ///< kallsyms_offsets
  std::uint64_t relative_base = 0;
  bool absolute_percpu = false;  ///< CONFIG_KALLSYMS_ABSOLUTE_PERCPU

  bool operator==(const KallsymsTables&) const = default;
};

/// Tables of two million symbols fit.
inline constexpr std::uint32_t kMaxKallsymsBytes = 48u << 20;

/// The bytes by which a token table is found: the digits '0' to '9' stand for themselves in every
/// kernel, each with a NUL.
[[nodiscard]] std::span<const std::byte> token_table_mark();

/// Work left for finding tables, shared by all places that look like a token table. A step is a
/// word looked at or a name stepped over, some nanoseconds each.
struct KallsymsBudget {
  std::uint64_t steps = 256u << 20;

  /// Takes steps; false when there are none left.
  [[nodiscard]] bool take(std::uint64_t count = 1) {
    const bool enough = count <= steps;
    steps = enough ? steps - count : 0;
    return enough;
  }
};

/// True when a token table and its index lie around a token_table_mark(). A few KiB on either side
/// are enough to tell (kTokenReach), so it is cheap to ask first.
[[nodiscard]] bool is_token_table(std::span<const std::byte> window, std::size_t mark);
inline constexpr std::uint32_t kTokenReach = 16384;

/// Finds all tables around a token_table_mark() at `mark` in a copy of guest memory. Knows the
/// layouts of Linux 5.10 to 6.3 (offsets first) and from 6.4 on (offsets last). Empty unless every
/// table agrees with every other: token index, markers, ascending addresses. `window` begins
/// 8-aligned; `begin` of the result is relative to it.
[[nodiscard]] std::optional<KallsymsTables> find_tables(std::span<const std::byte> window,
                                                        std::size_t mark, KallsymsBudget& budget);

/// Decodes the symbols. `bytes` is a copy of [tables.begin, +size); the tables are not trusted.
[[nodiscard]] Result<std::vector<Symbol>> decode_symbols(std::span<const std::byte> bytes,
                                                         const KallsymsTables& tables);

}  // namespace glasshook::linux_guest
