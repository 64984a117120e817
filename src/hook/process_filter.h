// Which processes the user wants to see, compiled into the programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "capture/builder.h"
#include "hook/guest_layout.h"
#include "hook/spec.h"

namespace glasshook::hook {

/// A process is selected when it matches every kind that is given (any entry of each). With
/// `tree`, a selected process is remembered, and so are its children from then on, whatever they
/// match. Nothing given: every process is in scope.
struct ProcessFilter {
  std::vector<std::uint32_t> pids;  ///< process ids; the monitor puts them into `pid_set`
  std::vector<std::string> comms;   ///< globs over the name (comm) of the process's main thread
  /// Globs over the executable; only the file name behind the last `/` is compared.
  std::vector<std::string> exes;
  /// Follow children. Without any of the above, only what is put into `tree_set` is in scope.
  bool tree = false;

  std::uint32_t pid_set = 0;   ///< number of the set with `pids`
  std::uint32_t tree_set = 1;  ///< number of the set with the tree's process ids

  [[nodiscard]] bool selects_nothing() const {
    return pids.empty() && comms.empty() && exes.empty();
  }
  [[nodiscard]] bool is_empty() const { return selects_nothing() && !tree; }
};

/// Jumps to `out_of_scope` unless the running process is in scope. Needs emit_identity() before;
/// uses r0, r1, r8, r9. Emits nothing when the filter is empty.
void emit_process_filter(capture::Builder& builder, const ProcessFilter& filter,
                         const GuestLayout& layout, capture::Label out_of_scope);

/// Hooks that keep `tree_set` true: children join when they are made, processes leave when the
/// kernel frees their id. Load them before anything else when the filter has `tree`.
[[nodiscard]] std::vector<HookSpec> tree_hooks();

}  // namespace glasshook::hook
