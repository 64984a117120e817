// Tables for people and JSON Lines for programs, from one description.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace glasshook::cli {

/// An address or a mask: 0x… in both forms, since JSON numbers lose the low bits of large ones.
struct Hex {
  std::uint64_t value = 0;
};

/// What stands in a cell. Strings are raw guest bytes; each form makes them safe. monostate: not
/// known, and left out of the JSON.
using Cell =
    std::variant<std::monostate, std::string, std::uint64_t, bool, Hex, std::vector<std::string>>;

struct Column {
  std::string_view title;  ///< in the table; empty: only in JSON
  std::string_view key;    ///< in JSON; empty: only in the table
  bool right = false;      ///< aligned to the right
};

/// Rows of equal columns.
class Listing {
 public:
  explicit Listing(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell a column.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }

  /// A line of titles and a line a row, columns aligned.
  [[nodiscard]] std::string table(bool color) const;
  /// One object a row.
  [[nodiscard]] std::string json_lines() const;

  /// Either of the two to the standard output.
  void print(bool json, bool color) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace glasshook::cli
