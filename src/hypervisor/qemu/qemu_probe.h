// The probe inside QEMU: places hooks while code is translated, runs them while it executes.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "capture/rate_limiter.h"
#include "capture/set_table.h"
#include "hypervisor/probe/control_server.h"
#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/qemu/code_pages.h"
#include "hypervisor/qemu/cpu_access.h"
#include "hypervisor/qemu/host_ram.h"
#include "hypervisor/qemu/plugin_api.h"
#include "hypervisor/qemu/translation_gate.h"

namespace glasshook::hypervisor::qemu {

struct ProbeOptions {
  std::uint32_t vcpus = 1;
  std::uint64_t ring_bytes = 0;  ///< of each vCPU's ring, its header included
};

/// One instrumented instruction; the user data of its callbacks. Interned; freed when no translated
/// code is left.
struct Site {
  const probe::WatchedPage* page = nullptr;  ///< known page, else
  probe::WatchedPage::Entries hooks;         ///< of a known page: those that begin here
  PageContent* content = nullptr;            ///< page whose answer may still be missing
  Gpa gpa;                                   ///< of the page, for questions
  std::uint16_t offset = 0;                  ///< in its page
  std::uint16_t block_offset = 0;            ///< where the translation block begins in its page
  bool second_page = false;                  ///< the block began on the page before
  bool user = false;
  bool is_return = false;
  bool can_restart = false;  ///< a fault here is told from a new run by what runs next
  PrivilegedInstruction instruction = PrivilegedInstruction::count_;  ///< none, or hooked as such
  std::uint8_t source = 0;  ///< general register that write_cr0 reads

  auto key() const {
    return std::tuple(page, content, gpa.value, offset, block_offset, second_page, user, is_return,
                      can_restart, instruction, source);
  }
};

/// Control thread and vCPU threads meet here. Made once at plugin installation and never destroyed.
class QemuProbe final : public probe::ControlTarget {
 public:
  QemuProbe(qemu_plugin_id_t id, const ProbeOptions& options, probe::SharedRegion region,
            int region_fd);

  // From QEMU.
  void register_callbacks();
  void translate(qemu_plugin_tb* block);
  void on_setjmp(const SetjmpCall& call);
  /// Whether translate() has to see the block at `address`, whose code the host has at `code`.
  [[nodiscard]] bool wants(Gva address, const std::byte* code);
  void on_heartbeat(unsigned vcpu);
  void on_resume();
  /// On a vCPU thread, at a moment when it can.
  void take_requests(bool in_translation = false);
  /// Code runs on a thread whose vCPU's state nobody knew yet.
  void on_arrival(unsigned vcpu, const std::uint64_t* env);
  void on_entry(unsigned vcpu, const Site& site, const std::uint64_t* env);
  void on_return(unsigned vcpu, const Site& site, const std::uint64_t* env);
  void on_first_run(unsigned vcpu, const Site& site, const std::uint64_t* env);
  void on_maybe_site(unsigned vcpu, const Site& site, const std::uint64_t* env);
  void on_instruction(unsigned vcpu, const Site& site, const std::uint64_t* env);
  void on_reset_done();

  // ControlTarget, on the control thread.
  Result<Welcome> attach(Tier tier) override;
  void detach() override;
  Result<> set_kernel_space(AddressSpace space) override;
  Result<> set_return_thunks(std::vector<Gva> thunks) override;
  Result<> set_kernel_entries(const KernelEntries& entries) override;
  Result<> set_context_program(capture::Program program) override;
  Result<> load(HookPrograms hook) override;
  Result<> unload(HookId id) override;
  Result<> place(Gpa page, const PageSites& sites) override;
  Result<> place_at(PrivilegedInstruction instruction, HookId hook) override;
  Result<> watch_user_pages(bool on) override;
  Result<> commit() override;
  Result<> set_add(std::uint32_t set, std::uint64_t key) override;
  Result<> set_remove(std::uint32_t set, std::uint64_t key) override;
  Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) override;

 private:
  struct Block;
  /// The vCPU that a callback was last for on this thread.
  struct RunningVcpu {
    unsigned index = 0;
    const std::uint64_t* env = nullptr;
  };
  static thread_local RunningVcpu running_vcpu_;
  /// With one thread for all vCPUs there is no telling for which it translates.
  [[nodiscard]] bool knows_who_runs() const { return options_.vcpus == 1 || resumes_; }

  void pass_gate(const Block& block);
  void instrument_kernel(const Block& block);
  void instrument_user(const Block& block);
  [[nodiscard]] PageContent& user_page(Gpa page, const std::byte* bytes, Gva mapped);
  void instrument_known(const Block& block, std::size_t index, const probe::WatchedPage& page);
  void instrument_unknown(const Block& block, std::size_t index, PageContent& content,
                          bool first_on_page);
  void instrument_privileged(const Block& block, std::size_t index);
  /// Asks about the page that this instruction is the first on, if it is due: what is known before
  /// a block is translated costs nothing when it runs.
  void ask_before_run(const Block& block, std::size_t index, PageContent& content);
  [[nodiscard]] std::optional<Site> unknown_site(const Block& block, std::size_t index,
                                                 PageContent& content) const;
  [[nodiscard]] bool is_return(const qemu_plugin_insn* instruction, bool user) const;
  const Site* intern(const Site& site);

  /// Holds until the vCPU's next callback.
  [[nodiscard]] const capture::CpuState& cpu_state(unsigned vcpu, const Site& site,
                                                   const std::uint64_t* env);
  /// The rest of a state that `cpu_` has read.
  void complete(capture::CpuState& cpu, unsigned vcpu, const Site& site) const;
  void enter(unsigned vcpu, const Site& site, probe::WatchedPage::Entries hooks,
             const capture::CpuState& cpu);
  /// True when a vCPU began an instruction with that stack pointer at a hooked entry and has not
  /// got beyond it.
  bool take_interrupted(std::uint64_t stack);
  /// Whether the site's page, of which not all is known, is to be asked about now.
  [[nodiscard]] bool is_due(const Site& site) const;
  void ask_and_report(unsigned vcpu, const Site& site, const capture::CpuState& cpu);
  void ask(unsigned vcpu, const Site& site, const capture::CpuState& cpu);
  /// `hash`: of the content that was asked about.
  bool take_answer(unsigned vcpu, const Site& site, std::uint64_t hash);
  void report_placement(const Site& site, const capture::CpuState& cpu);
  void request_flush();
  void begin_translating();
  void collect();
  [[nodiscard]] bool can_stop_translating() const;
  [[nodiscard]] bool should_stop_translating() const;

  qemu_plugin_id_t id_;
  ProbeOptions options_;
  probe::SharedRegion region_;
  int region_fd_;
  std::optional<HostRam> host_ram_;
  GuestRam ram_;

  std::mutex replaced_mutex_;                             ///< sets_, thunk_lists_
  std::vector<std::unique_ptr<capture::SetTable>> sets_;  ///< the last is in use
  capture::RateLimiterTable limiters_;
  capture::Environment environment_;
  probe::HookTable hooks_;
  probe::HitRunner runner_;
  CodePages pages_;
  CpuAccess cpu_;
  struct alignas(64) CpuStateOfHit {
    capture::CpuState cpu;
  };
  std::vector<CpuStateOfHit> cpu_states_;  ///< by vCPU: only what changes is written at a hit
  TranslationGate gate_;

  std::atomic<bool> attached_{false};
  std::atomic<bool> was_attached_{false};  ///< at some time
  std::atomic<bool> watch_user_{false};
  std::atomic<bool> watch_kernel_{false};
  std::atomic<bool> translating_{false};  ///< QEMU shows us the code it translates
  std::atomic<bool> translated_{false};   ///< it did so since the last flush
  std::atomic<bool> resumes_{false};      ///< QEMU tells when a vCPU wakes
  std::atomic<std::uint32_t> flush_wanted_{0}, flush_running_{0}, flushes_asked_{0};
  bool flush_from_translation_ = false;  ///< who asked for the flush that runs
  std::uint32_t flushing_ = 0;           ///< flushes asked for before the one that runs
  std::atomic<const std::vector<Gva>*> thunks_{nullptr};
  std::vector<std::unique_ptr<std::vector<Gva>>> thunk_lists_;  ///< the last is in use

  qemu_plugin_u64 attention_;  ///< not 0: a vCPU shall call on_vcpu soon
  qemu_plugin_u64 armed_;      ///< not 0: this vCPU is on a page whose answer has sites
  /// Not 0: this vCPU runs the first instruction of a hooked function with that stack pointer (+
  /// 1).
  qemu_plugin_u64 entering_;

  std::mutex sites_mutex_;
  std::map<decltype(Site{}.key()), std::unique_ptr<Site>> sites_;
};

/// QEMU's callbacks carry no pointer of ours; set once at installation.
extern QemuProbe* g_probe;

}  // namespace glasshook::hypervisor::qemu
