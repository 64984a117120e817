// All hooks of a session: compiled, loaded, placed, and found again by their number.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "api/signature.h"
#include "api/vocabulary.h"
#include "base/result.h"
#include "behaviour/family.h"
#include "guest/linux/kernel.h"
#include "hook/compiler.h"
#include "hook/kernel_plan.h"
#include "hook/selector.h"
#include "hypervisor/hypervisor.h"
#include "monitor/code_hooks.h"

namespace glasshook::monitor {

/// A hook that a behaviour family asked for.
struct FamilyHook {
  behaviour::Family* family = nullptr;
  std::size_t spec_index = 0;
  hook::HookSpec spec;
};

/// A hook on a function by its signature. Signatures outlive the session.
struct ApiHook {
  const api::Signature* signature = nullptr;    ///< how its records are captured
  const api::Vocabulary* vocabulary = nullptr;  ///< what the signature's names mean
  bool awaits_return = false;
  const api::Signature* shown = nullptr;   ///< what the user named; null: nothing
  const api::Signature* wanted = nullptr;  ///< what behaviour families named; null: nothing
};

/// A hook that only keeps the process tree in the probe.
struct TreeHook {};

/// A hook that tells where processors enter the kernel, when that is not where they should.
struct EntriesHook {};
/// The words of its only field (kFirstCapture).
enum EntriesWord { kEntriesLstar, kEntriesIdt, kEntriesCpu, kEntriesWords };

/// A hook that keeps a ModuleFinder informed.
struct CodeHookOf {
  CodeHookKind kind;
};

/// What a hook's records mean.
struct HookMeaning {
  std::string name;  ///< "kernel!vfs_rename", as shown in tables
  std::variant<TreeHook, EntriesHook, CodeHookOf, FamilyHook, ApiHook> meaning;
};

/// Compiles and places kernel hooks, and keeps what every HookId stands for. find(), next_id(),
/// add_user_api() and set_audience() are safe from any thread; the rest is used from one.
class HookSet {
 public:
  /// Everything is borrowed.
  HookSet(hypervisor::Hypervisor& hypervisor, const linux_guest::LinuxKernel& kernel,
          const hook::Target& target)
      : hypervisor_(&hypervisor),
        kernel_(&kernel),
        target_(&target),
        capabilities_(hypervisor.capabilities()),
        plan_(kernel.symbols(), kernel.virtual_memory()) {}

  /// Hooks of a family; those the kernel lacks are noted in missing().
  void add_family(behaviour::Family& family);
  /// Hooks that follow a process tree inside the probe.
  Result<> add_tree();
  /// A hook that each processor runs into many times a second, and that tells when its registers
  /// do not say `entries`.
  Result<> add_entries(const hypervisor::KernelEntries& entries);
  /// What a ModuleFinder needs.
  Result<> add_code_hooks();
  /// A kernel function by signature.
  Result<> add_kernel_api(const api::Signature& signature, const api::Vocabulary& vocabulary,
                          const linux_guest::Symbol& function,
                          const hypervisor::HookPrograms& programs);
  /// Takes the hooks that add_kernel_api() put on these functions out of the plan; their ids. They
  /// remain loaded and placed until place() is called.
  std::vector<hypervisor::HookId> remove_kernel_apis(const std::set<Gva>& functions);
  /// A user-mode API: loaded only; its sites come with the answers to page questions.
  Result<> add_user_api(const api::Signature& signature, const api::Vocabulary& vocabulary,
                        hook::Audience audience, const hypervisor::HookPrograms& programs);
  /// The calls that such a hook sees are for this audience, and known to it as calls of
  /// `signature`; `besides`: what was said before holds too.
  void set_audience(hypervisor::HookId id, const api::Signature& signature, hook::Audience audience,
                    bool besides);
  /// Where the hooked functions of the kernel begin.
  [[nodiscard]] std::vector<Gva> functions() const;
  /// Places all kernel sites, page by page, and clears the pages that have none any more. Functions
  /// that cannot be hooked are noted in missing(); it fails if a user named one.
  Result<> place();
  /// Places the sites of a page of a program's file, which lies there now. Functions that cannot be
  /// hooked are noted in missing().
  Result<> place_program_page(Gpa page, const hypervisor::PageSites& sites);

  [[nodiscard]] hypervisor::HookId next_id() { return {next_id_++}; }
  /// Null when there is no such hook.
  [[nodiscard]] std::shared_ptr<const HookMeaning> find(std::uint32_t id) const;
  void note_missing(std::string what) { missing_.push_back(std::move(what)); }
  /// What could not be hooked: "kernel!name: why".
  [[nodiscard]] std::vector<std::string> missing() const;

 private:
  void remember(hypervisor::HookId id, HookMeaning meaning);
  Result<> add_instruction(const hook::HookSpec& spec, HookMeaning meaning);
  Result<> add_spec(const hook::HookSpec& spec, HookMeaning meaning);
  /// Whether the hypervisor can do that, and has room for it.
  [[nodiscard]] bool is_possible(const hook::HookSpec& spec) const;

  hypervisor::Hypervisor* hypervisor_;
  const linux_guest::LinuxKernel* kernel_;
  const hook::Target* target_;
  hypervisor::Capabilities capabilities_;
  std::size_t left_out_ = 0;  ///< hooks that are not possible
  std::atomic<std::uint32_t> next_id_{1};
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::shared_ptr<const HookMeaning>> meanings_;
  /// A hook of the plan.
  struct Planned {
    linux_guest::Symbol function;
    hypervisor::HookId id;
    bool returns = false;
    bool is_api = false;
  };
  Result<> plan(const Planned& hook);
  /// A hook that no family and no user asked for.
  Result<> add_own(const linux_guest::Symbol& function, capture::Program program,
                   HookMeaning meaning, bool uncovers);
  /// One by one: which of the page's functions can be hooked. `named`: fails if a user named one
  /// that cannot.
  Result<> place_possible(Gpa page, hypervisor::PageSites sites, bool named);

  hook::KernelPlan plan_;
  std::vector<Planned> planned_;
  std::set<Gpa> placed_;              ///< pages
  std::vector<std::string> missing_;  ///< without what the plan notes
};

}  // namespace glasshook::monitor
