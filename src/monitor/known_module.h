// What is known of one file that code runs from, and the hooks in it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/catalogue.h"
#include "hook/module_plan.h"
#include "hook/selector.h"
#include "hypervisor/hypervisor.h"
#include "monitor/growing_file.h"

namespace glasshook::monitor {

/// A module's hooks are compiled and loaded when its first page is asked about, so they are in
/// place before its first call. While bytes of the module are missing the plan is made again as
/// they come; a function keeps the hook it has. Used from one thread.
class KnownModule {
 public:
  /// What the user wants, and who makes the hooks; borrowed for a call.
  struct Wanted {
    const hook::Selection& selection;
    const api::ApiCatalogue& catalogue;
    const hook::HookMaker& make_hook;
  };

  explicit KnownModule(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }

  /// Something else is wanted from now on: plans anew at the next question. The hooks that are not
  /// wanted any more are forgotten; they are appended to `dropped`.
  void replan(const hook::Selection& selection, const api::ApiCatalogue& catalogue,
              std::vector<hypervisor::HookId>& dropped);

  /// What to watch on a page, as far as it is known now. `file` reads the module's file.
  [[nodiscard]] hypervisor::PageSites sites(std::uint64_t file_page,
                                            const std::shared_ptr<GrowingFile>& file,
                                            const Wanted& wanted);
  /// The same for all pages of the file that have something to watch, by number; null: none is
  /// known to have. Borrowed until the next question.
  [[nodiscard]] const std::map<std::uint64_t, hypervisor::PageSites>* all_sites(
      const std::shared_ptr<GrowingFile>& file, const Wanted& wanted);
  /// False while bytes are missing that may hide functions the user wants.
  [[nodiscard]] bool is_complete() const {
    return missing_.empty() || (plan_ && plan_->is_complete());
  }

 private:
  struct MadeHook {
    hook::ModuleFunction function;
    hypervisor::HookId id;
  };

  [[nodiscard]] bool is_wanted(const hook::ModuleFunction& function,
                               const hook::Selection& selection,
                               const api::ApiCatalogue& catalogue) const;
  /// Plans, or plans again when what was missing has come.
  void bring_up_to_date(const std::shared_ptr<GrowingFile>& file, const Wanted& wanted);
  void make_plan(const std::shared_ptr<GrowingFile>& file, const Wanted& wanted);

  std::string path_;
  std::optional<hook::ModulePlan> plan_;  ///< none while the headers are missing
  std::set<std::uint64_t> missing_;       ///< file pages the plan had to do without
  bool looked_at_ = false;
  std::string soname_;
  std::vector<MadeHook> hooks_;  ///< in order of address
};

}  // namespace glasshook::monitor
