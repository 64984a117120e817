// Where hooks go in a PE module: entry sites and return ranges by page of its image.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "guest/windows/pe_module.h"
#include "hook/module_plan.h"
#include "hook/page_sites.h"
#include "hook/pe_selection.h"

namespace glasshook::hook {

/// The hooks of one build of a PE module. Independent of where and in which process it is loaded.
/// Grows with the selection.
class PePlan {
 public:
  /// `stem`: of its file name, in lower case.
  explicit PePlan(std::string stem) : stem_(std::move(stem)) {}

  [[nodiscard]] const std::string& stem() const { return stem_; }
  /// True when the selection has grown by what may be in this module.
  [[nodiscard]] bool is_behind(const PeSelection& selection) const {
    return selection.names_module(stem_, seen_);
  }
  /// Makes the next update look at the whole selection again: the module had holes.
  void look_again() { seen_ = 0; }
  /// Plans what the selection has that was not looked at yet, and adds to it what that leads to.
  /// Of several names for one address only the first is hooked: a call shows once. When the user
  /// named one and behaviours another, that hook is for both. The pages whose sites are others now.
  std::set<std::uint64_t> update(const windows::PeModule& module, PeSelection& selection,
                                 const HookMaker& maker);

  /// What to watch on a page of the image (RVA / kPageSize); null: nothing.
  [[nodiscard]] const hypervisor::PageSites* page(std::uint64_t page) const {
    return sites_.find(page);
  }
  [[nodiscard]] const PageSitesMap& sites() const { return sites_; }
  /// What may be missed, for people.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  friend class PePlanner;

  std::string stem_;
  std::size_t seen_ = 0;  ///< items of the selection
  struct Planned {
    hypervisor::HookId hook;
    Audience audience;
  };
  std::map<std::uint64_t, Planned> planned_;  ///< by RVA
  std::set<std::uint64_t> watched_;           ///< RVAs of functions whose returns are watched
  PageSitesMap sites_;
  std::vector<std::string> notes_;
};

}  // namespace glasshook::hook
