#include "cli/listing.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "cli/diagnostics.h"
#include "output/describe.h"
#include "output/json_writer.h"
#include "output/style.h"

namespace glasshook::cli {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += ' ';
    out += to_printable(word);
  }
  return out;
}

std::string text_of(const Cell& cell) {
  return std::visit(Overloaded{[](std::monostate) { return std::string("-"); },
                               [](const std::string& text) { return to_printable(text); },
                               [](std::uint64_t number) { return fmt::format("{}", number); },
                               [](bool yes) { return std::string(yes ? "yes" : "no"); },
                               [](Hex hex) { return fmt::format("{:#x}", hex.value); },
                               [](const std::vector<std::string>& words) { return joined(words); }},
                    cell);
}

void write_json(output::JsonWriter& json, const Cell& cell) {
  std::visit(Overloaded{[&](std::monostate) { json.Null(); },
                        [&](const std::string& text) { json.bytes(std::string_view{text}); },
                        [&](std::uint64_t number) { json.Uint64(number); },
                        [&](bool yes) { json.Bool(yes); },
                        [&](Hex hex) { json.text(fmt::format("{:#x}", hex.value)); },
                        [&](const std::vector<std::string>& words) { json.bytes(words); }},
             cell);
}

}  // namespace

std::string Listing::table(bool color) const {
  std::vector<std::size_t> shown;
  for (std::size_t c = 0; c < columns_.size(); ++c)
    if (!columns_[c].title.empty()) shown.push_back(c);
  std::vector<std::vector<std::string>> lines;
  lines.emplace_back();
  for (const std::size_t c : shown) lines.back().emplace_back(columns_[c].title);
  for (const auto& row : rows_) {
    lines.emplace_back();
    for (const std::size_t c : shown) lines.back().push_back(text_of(row[c]));
  }
  std::vector<std::size_t> widths(shown.size(), 0);
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], output::text_width(line[i]));

  const output::Style style = output::style(color);
  std::string out;
  for (std::size_t l = 0; l < lines.size(); ++l) {
    std::string text;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const std::string padding(widths[i] - output::text_width(lines[l][i]), ' ');
      if (i > 0) text += "  ";
      text += columns_[shown[i]].right ? padding + lines[l][i] : lines[l][i] + padding;
    }
    text.resize(text.find_last_not_of(' ') + 1);
    if (l == 0) text = fmt::format("{}{}{}", style.dim, text, style.reset);
    out += text + '\n';
  }
  return out;
}

std::string Listing::json_lines() const {
  std::string out;
  for (const auto& row : rows_) {
    rapidjson::StringBuffer buffer;
    output::JsonWriter json(buffer);
    json.StartObject();
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].key.empty() || std::holds_alternative<std::monostate>(row[c])) continue;
      json.key(columns_[c].key);
      write_json(json, row[c]);
    }
    json.EndObject();
    out.append(buffer.GetString(), buffer.GetSize());
    out += '\n';
  }
  return out;
}

void Listing::print(bool json, bool color) const {
  write_all(STDOUT_FILENO, json ? json_lines() : table(color));
}

}  // namespace glasshook::cli
