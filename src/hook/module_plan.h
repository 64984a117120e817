// Where hooks go in a user-mode module: entry sites and return ranges by page of its file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/catalogue.h"
#include "guest/elf/elf_module.h"
#include "hook/page_sites.h"
#include "hook/selector.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::hook {

/// A function of a module that the selection names.
struct ModuleFunction {
  const api::Signature* signature = nullptr;  ///< null: exported, but nobody described it
  std::string module;                         ///< the module's name, as shown
  std::string name;                           ///< of the export, as shown
  std::uint64_t address = 0;                  ///< the module's own
  WatchOptions options;
  std::optional<std::int64_t> errno_slot_delta;  ///< as in SignatureOptions
  std::optional<std::int64_t> errno_offset;
  Audience audience = {};
  bool is_unix_half = false;  ///< of a Windows module: called as Windows functions are
  /// The hook that this code has already under another name: no other is made, it gets this
  /// audience besides.
  std::optional<hypervisor::HookId> also = {};

  bool operator==(const ModuleFunction&) const = default;
};

/// The module of the catalogue that a file is: by its name, else by the name it gives itself (a
/// copy under another name is the same library). Null when it is none.
[[nodiscard]] const api::Module* module_named(const api::ApiCatalogue& catalogue,
                                              std::string_view file_name, std::string_view soname);
/// True when the glob of `selected` matches such a file.
[[nodiscard]] bool names_module(const SelectedExport& selected, std::string_view file_name,
                                std::string_view soname, const api::ApiCatalogue& catalogue);

/// Compiles and loads the hook of one function; empty when that fails (the function is left out).
using HookMaker = std::function<std::optional<hypervisor::HookId>(const ModuleFunction&)>;

/// The hooks of one build of a module, ready for page questions. Independent of where and in which
/// process it is loaded.
class ModulePlan {
 public:
  /// Functions planned in one module.
  static constexpr std::size_t kMaxFunctions = 4096;

  /// `file_name`, or else the name the module gives itself, decides which signatures apply. Of
  /// several names for one address only the first
  /// that was selected is hooked: a call shows once.
  [[nodiscard]] static ModulePlan make(const elf::ElfModule& module, std::string_view file_name,
                                       const Selection& selection,
                                       const api::ApiCatalogue& catalogue, const HookMaker& maker);

  /// What to watch on page `file_page` (file offset / kPageSize) of the module's file; null:
  /// nothing.
  [[nodiscard]] const hypervisor::PageSites* page(std::uint64_t file_page) const {
    return sites_.find(file_page);
  }
  [[nodiscard]] bool is_empty() const { return sites_.pages().empty(); }
  /// True when bytes of the module were missing that may say more about that page.
  [[nodiscard]] bool is_unfinished(std::uint64_t file_page) const {
    return unfinished_everywhere_ || unfinished_.contains(file_page);
  }
  /// True when no page is unfinished.
  [[nodiscard]] bool is_complete() const { return !unfinished_everywhere_ && unfinished_.empty(); }
  [[nodiscard]] const PageSitesMap& sites() const { return sites_; }
  /// What may be missed, for people.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  friend class ModulePlanner;

  PageSitesMap sites_;
  std::vector<std::string> notes_;
  bool unfinished_everywhere_ = false;
  std::set<std::uint64_t> unfinished_;  ///< file pages
};

}  // namespace glasshook::hook
