// Which exports of Windows modules are wanted: what the user named, and where that leads.
#pragma once

#include <cstddef>
#include <deque>
#include <set>
#include <string>
#include <tuple>

#include "api/catalogue.h"
#include "guest/windows/exports.h"
#include "hook/selector.h"

namespace glasshook::hook {

/// Exports that are to be hooked, or whose returns end calls of hooked functions.
struct WantedExport {
  std::string module;                         ///< glob over module stems, in lower case
  std::string function;                       ///< glob over names; "#12" is an ordinal
  const api::Signature* signature = nullptr;  ///< null: nobody described it
  std::string shown_module, shown_name;       ///< how calls are shown; empty: as found
  WatchOptions options;
  Audience audience = {};
  bool returns_only = false;  ///< a hooked function jumps there last
  int hops = 0;               ///< forwarders and stubs that led here
};

/// Grows while modules are looked at: an export of one that is forwarded to another, or is nothing
/// but a jump there, makes the other's wanted too. So kernel32!CreateFileW is hooked where its code
/// is, and seen however it is reached.
class PeSelection {
 public:
  static constexpr int kMaxHops = 8;  ///< forwarders that lead to forwarders, and loops of them
  static constexpr std::size_t kMaxItems = 32'768;

  PeSelection() = default;
  /// `windows`: the catalogue of Windows' signatures, borrowed; may be null.
  PeSelection(const Selection& selection, const api::ApiCatalogue* windows);

  [[nodiscard]] std::size_t size() const { return items_.size(); }
  /// Stays valid while items are added.
  [[nodiscard]] const WantedExport& item(std::size_t index) const { return items_[index]; }
  /// What is known of an export that was named without a signature: by its ordinal or a glob.
  [[nodiscard]] const api::Signature* describe(std::string_view stem,
                                               const windows::Export& entry) const {
    return windows_ == nullptr ? nullptr : windows_->find(stem, entry.name);
  }
  /// True when an item from `first` on may name an export of the module.
  [[nodiscard]] bool names_module(std::string_view stem, std::size_t first) const;

  /// Also wants what `item`, found as `found` in module `stem`, leads to. False when it leads too
  /// far or there are too many.
  bool follow(const WantedExport& item, std::string_view stem, const windows::Export& found,
              const windows::ExportName& target, bool returns_only);

 private:
  bool add(WantedExport item);

  const api::ApiCatalogue* windows_ = nullptr;
  std::deque<WantedExport> items_;
  std::set<std::tuple<std::string, std::string, bool, bool>> known_;
};

}  // namespace glasshook::hook
