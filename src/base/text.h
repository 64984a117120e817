// Guest text made safe to show.
#pragma once

#include <string>
#include <string_view>

namespace glasshook {

/// Valid UTF-8 for any bytes: each byte that is not part of a well-formed sequence (Unicode 15,
/// table 3-7) becomes U+FFFD. Control characters are kept; a JSON writer escapes them.
[[nodiscard]] std::string to_valid_utf8(std::string_view bytes);

/// True when `bytes` is well-formed UTF-8.
[[nodiscard]] bool is_valid_utf8(std::string_view bytes) noexcept;

/// For terminals and logs: valid UTF-8 is kept, while control characters (C0, DEL, C1), line and
/// paragraph separators, bidirectional overrides and stray bytes become `\n`, `\x1b`, `\u202e`.
[[nodiscard]] std::string to_printable(std::string_view bytes);

/// `*` and `?` match against the whole text; linear backtracking, no recursion.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;

/// Edit distance for "did you mean" (Damerau-Levenshtein, adjacent swaps), capped at `limit`.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit);

}  // namespace glasshook
