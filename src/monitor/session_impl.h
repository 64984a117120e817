// The inside of a Session.
#pragma once

#include <map>
#include <set>

#include "behaviour/family.h"
#include "hook/selector.h"
#include "monitor/api_events.h"
#include "monitor/api_tracer.h"
#include "monitor/family_apis.h"
#include "monitor/guest_view.h"
#include "monitor/hook_set.h"
#include "monitor/import_guard.h"
#include "monitor/kernel_guard.h"
#include "monitor/module_finder.h"
#include "monitor/module_oracle.h"
#include "monitor/paths.h"
#include "monitor/process_table.h"
#include "monitor/session.h"

namespace glasshook::monitor {

class Session::Impl final : public behaviour::Context {
 public:
  Impl(std::unique_ptr<hypervisor::Hypervisor> hypervisor, const api::GuestApis& apis,
       SessionOptions options, EventSink sink);
  ~Impl() override {
    hypervisor_->stop_asking();  // the oracle uses what goes away now, the hypervisor too
    hypervisor_.reset();         // before the rest, for which the guest need not wait
  }

  Result<> start();
  Result<std::size_t> pump(std::chrono::milliseconds timeout);
  Result<> follow(std::uint32_t pid);
  Result<> add_api(std::string_view api);
  Result<> remove_api(std::string_view api);
  Result<> finish();
  Result<output::Summary> summary();
  [[nodiscard]] const linux_guest::LinuxKernel& kernel() const { return *kernel_; }

  // behaviour::Context
  void emit(const behaviour::Call& call, behaviour::Event event) override;
  void emit(const behaviour::UserCall& call, behaviour::Event event) override;
  void emit(behaviour::Event event) override;
  [[nodiscard]] std::string path(const behaviour::Call& call, std::size_t capture) override;
  [[nodiscard]] std::string file_path(const behaviour::Call& call,
                                      std::uint64_t file_address) override;
  [[nodiscard]] std::optional<std::string> container_id(std::uint64_t control_groups) override;
  [[nodiscard]] ProcessPtr process_by_pid(std::uint32_t pid) override;
  [[nodiscard]] behaviour::CodePlace code_origin(const behaviour::Call& call) override;
  [[nodiscard]] std::optional<std::string> windows_module_at(const behaviour::UserCall& call,
                                                             std::uint64_t address) override;
  ProcessPtr process_forked(const behaviour::Call& call, std::uint64_t child_task,
                            behaviour::Process child) override;
  ProcessPtr process_executed(const behaviour::Call& call, behaviour::Process image) override;
  void process_moved(std::uint32_t pid, std::uint64_t start_time,
                     const std::string& container_id) override;
  void process_exited(const behaviour::Call& call) override;
  void kernel_code_patched(std::uint64_t address, std::uint64_t length) override;
  void kernel_module_loaded(std::uint64_t module) override;
  void kernel_entry_set(std::uint64_t lstar, std::uint64_t cpu) override;

 private:
  Result<linux_guest::LinuxKernel> open_kernel();
  Result<> find_kernel();
  Result<> prepare_target();
  Result<> choose_families();
  void add_family(std::unique_ptr<behaviour::Family> family);
  Result<> add_apis();
  Result<> add_kernel_function(const hook::SelectedKernelFunction& selected);
  Result<std::optional<std::uint32_t>> limiter_for(const hook::WatchOptions& options);
  Result<> watch_code_pages();
  /// Where the hypervisor does not see code of programs.
  Result<> do_without_code_pages();
  /// Where it does not see which code runs, but can hook it where it lies.
  Result<> find_code_pages();
  [[nodiscard]] Result<hook::Selection> resolve_api(std::string_view api) const;
  /// What the user and the families want in modules.
  [[nodiscard]] hook::Selection wanted() const {
    return hook::joined(family_apis_.selection(), selection_);
  }
  [[nodiscard]] Result<bool> is_on(const behaviour::Family& family) const;
  /// Makes the hooks what selection_ says; `changed` is what was added to it or taken from it.
  Result<> apply_selection(const hook::Selection& changed);
  /// Handles what is in the rings now, without waiting for a busy guest.
  Result<> drain();
  /// Stops hooks: handles what they captured, and tells the calls that are under way.
  Result<> retire(const std::vector<hypervisor::HookId>& hooks);
  [[nodiscard]] bool guards_kernel() const;
  void add_entries();
  /// Begins to watch over the kernel, when a family wants to know.
  void guard_kernel();
  /// Looks after it, and after imports, when it is time. `handled`: records of the last poll.
  void check_guest(std::size_t handled);
  void tell(const std::vector<behaviour::KernelTampering>& found);
  /// Also forgets all answers given before.
  Result<> ask_about_pages();

  void on_record(const capture::RecordView& record);
  void on_api_record(const ApiHook& hook, const capture::RecordView& record);
  void on_api_call(const TracedCall& traced);
  void on_family_record(const FamilyHook& hook, const capture::RecordView& record);
  void on_entries(const capture::RecordView& record);
  void on_code_page(const capture::RecordView& record);
  void on_code_record(CodeHookKind kind, const capture::RecordView& record);
  /// True for followed processes and their descendants, and for all while none is followed.
  [[nodiscard]] bool is_followed(const ProcessPtr& process) const;
  [[nodiscard]] Actor actor_of(const capture::RecordView& record) const;

  std::unique_ptr<hypervisor::Hypervisor> hypervisor_;
  api::GuestApis apis_;
  SessionOptions options_;
  EventSink sink_;

  std::optional<linux_guest::LinuxKernel> kernel_;
  std::optional<GuestView> view_;
  std::optional<PathResolver> paths_;
  std::optional<ProcessTable> processes_;
  std::optional<ApiTracer> tracer_;
  ApiEvents api_events_;
  std::unique_ptr<ModuleOracle> oracle_;
  std::optional<ModuleFinder> finder_;  ///< where the hypervisor does not ask
  hook::Target target_;
  std::optional<HookSet> hooks_;
  std::vector<std::unique_ptr<behaviour::Family>> families_;  ///< those switched on
  FamilyApis family_apis_;
  std::vector<std::unique_ptr<api::Signature>> kernel_signatures_;

  hook::Selection selection_;         ///< what the user named
  std::set<std::uint32_t> followed_;  ///< process ids
  std::atomic<std::uint32_t> next_limiter_{0};

  hypervisor::KernelEntries entries_;
  std::optional<ImportGuard> imports_;  ///< when a family wants to know
  std::optional<KernelGuard> guard_;    ///< when a family wants to know
  std::chrono::system_clock::time_point guarded_;

  std::chrono::system_clock::time_point first_record_, last_record_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t unresolved_ = 0;  ///< records nobody could make sense of
  std::uint64_t truncated_ = 0;
  output::Summary seen_;  ///< event counts
};

}  // namespace glasshook::monitor
