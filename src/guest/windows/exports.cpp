#include "guest/windows/exports.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "guest/windows/limits.h"
#include "guest/windows/pe_format.h"

namespace glasshook::windows {
namespace {

/// Reads `count` values page by page; what is missing stays zero. The number of bytes missing is
/// added to `missing`.
template <class T>
std::vector<T> read_array(const Image& image, std::uint64_t rva, std::uint64_t count,
                          std::uint64_t& missing) {
  std::vector<T> values(count);
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span{values});
  for (std::uint64_t done = 0; done < bytes.size();) {
    const std::uint64_t to_page_end = 4096 - (rva + done) % 4096;
    const std::uint64_t size = std::min<std::uint64_t>(to_page_end, bytes.size() - done);
    if (!image.read(rva + done, bytes.subspan(done, size))) {
      std::ranges::fill(bytes.subspan(done, size), std::byte{0});
      missing += size;
    }
    done += size;
  }
  return values;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// The ".dll" or the like that a name in lower case ends with; empty when there is none.
std::string_view suffix_of(std::string_view name) {
  for (const std::string_view suffix : {".dll", ".exe", ".drv", ".sys", ".ocx", ".cpl", ".acm"})
    if (name.size() > suffix.size() && name.ends_with(suffix)) return suffix;
  return {};
}

}  // namespace

/// Collects the entries of one export directory.
class ExportTable::Reader {
 public:
  Reader(const Image& image, Extent directory, const ExportHeader& header)
      : image_(image), directory_(directory), header_(header) {}

  std::vector<Export> run(std::vector<std::string>& incomplete) {
    const std::uint64_t count = capped(header_.function_count);
    const std::uint64_t names = capped(header_.name_count);
    functions_ = read_array<std::uint32_t>(image_, header_.functions, count, missing_);
    named_.resize(count);
    const auto name_rvas = read_array<std::uint32_t>(image_, header_.names, names, missing_);
    const auto indices = read_array<std::uint16_t>(image_, header_.name_ordinals, names, missing_);
    for (std::uint64_t i = 0; i < names; ++i)
      if (name_rvas[i] != 0) add_named(indices[i], name_rvas[i]);
    for (std::uint32_t i = 0; i < count; ++i)
      if (!named_[i]) add(i, {});
    if (missing_ > 0)
      incomplete.push_back(fmt::format("{} bytes of the export table are missing", missing_));
    if (unreadable_ > 0)
      incomplete.push_back(fmt::format("{} export names are missing", unreadable_));
    if (cut_) incomplete.emplace_back("the export table is longer than the cap");
    return std::move(exports_);
  }

 private:
  std::uint64_t capped(std::uint32_t count) {
    cut_ |= count > kMaxExports;
    return std::min<std::uint64_t>(count, kMaxExports);
  }

  /// Text at an RVA, within what is left of the budget for all of them.
  std::optional<std::string> text(std::uint64_t rva) {
    if (budget_ == 0) {
      cut_ = true;
      return std::nullopt;
    }
    std::optional<std::string> found = image_.read_string(rva, kMaxNameBytes);
    const std::size_t used = found ? found->size() + 1 : kMaxNameBytes;
    budget_ -= std::min(budget_, used);
    return found;
  }

  void add_named(std::uint16_t index, std::uint64_t name_rva) {
    if (index >= functions_.size()) return;
    std::optional<std::string> name = text(name_rva);
    if (!name || name->empty()) {
      ++unreadable_;
      return;
    }
    named_[index] = true;
    add(index, std::move(*name));
  }

  void add(std::uint32_t index, std::string name) {
    const std::uint32_t rva = functions_[index];
    if (rva == 0) return;
    Export entry{.name = std::move(name),
                 .ordinal = header_.ordinal_base + index,
                 .rva = rva,
                 .forwarder = {}};
    // An address inside the directory itself is that of a text: the export is forwarded.
    if (directory_.contains(rva)) {
      entry.rva = 0;
      const std::optional<std::string> target = text(rva);
      if (!target || target->empty()) {
        ++unreadable_;
        return;
      }
      entry.forwarder = *target;
    }
    exports_.push_back(std::move(entry));
  }

  const Image& image_;
  Extent directory_;
  ExportHeader header_;
  std::vector<std::uint32_t> functions_;
  std::vector<bool> named_;
  std::vector<Export> exports_;
  std::size_t budget_ = kMaxExportText;
  std::uint64_t missing_ = 0, unreadable_ = 0;
  bool cut_ = false;
};

ExportTable ExportTable::read(const Image& image, Extent directory,
                              std::vector<std::string>& incomplete) {
  ExportTable table;
  const auto header = image.read_value<ExportHeader>(directory.begin);
  if (!header) {
    incomplete.emplace_back("the export directory is missing");
    return table;
  }
  table.module_name_ = image.read_string(header->name, kMaxNameBytes).value_or("");
  table.exports_ = Reader(image, directory, *header).run(incomplete);
  std::ranges::sort(table.exports_, [](const Export& a, const Export& b) {
    return std::tie(a.name, a.ordinal) < std::tie(b.name, b.ordinal);
  });
  for (const Export& entry : table.exports_)
    if (entry.rva != 0) table.addresses_.push_back(entry.rva);
  std::ranges::sort(table.addresses_);
  return table;
}

const Export* ExportTable::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(exports_, name, {}, &Export::name);
  return !name.empty() && found != exports_.end() && found->name == name ? &*found : nullptr;
}

const Export* ExportTable::find(std::uint32_t ordinal) const {
  const auto found = std::ranges::find(exports_, ordinal, &Export::ordinal);
  return found == exports_.end() ? nullptr : &*found;
}

std::optional<std::uint64_t> ExportTable::next_address(std::uint64_t rva) const {
  const auto next = std::ranges::upper_bound(addresses_, rva);
  return next == addresses_.end() ? std::nullopt : std::optional{*next};
}

std::string module_stem(std::string_view file_name) {
  if (const std::size_t slash = file_name.find_last_of("/\\"); slash != file_name.npos)
    file_name.remove_prefix(slash + 1);
  std::string stem = lower(file_name);
  return stem.substr(0, stem.size() - suffix_of(stem).size());
}

bool is_file_name(std::string_view name) { return !suffix_of(lower(name)).empty(); }

std::optional<ExportName> parse_forwarder(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  if (dot == text.npos || dot == 0 || dot + 1 == text.size()) return std::nullopt;
  ExportName target{.module = module_stem(text.substr(0, dot)), .name = {}, .ordinal = 0};
  const std::string_view name = text.substr(dot + 1);
  if (!name.starts_with('#')) {
    target.name = name;
    return target;
  }
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + 1, end, target.ordinal);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return target;
}

}  // namespace glasshook::windows
