// Processor state inside a plugin callback: straight from QEMU's CPU structure where that was
// proven right, else through the plugin API (about 50 times slower).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "capture/machine.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/call_table.h"
#include "hypervisor/qemu/field_finder.h"
#include "hypervisor/qemu/plugin_api.h"

namespace glasshook::hypervisor::qemu {

/// Generated code keeps the CPU structure's address in RBP (TCG_AREG0 on x86-64 hosts). Its layout
/// is QEMU's own business, so it is learnt: general registers must open the structure, and every
/// other field is searched by value and confirmed before it is used. One that shows nothing to be
/// found by (a GS base that is always 0) is asked for alone. What was learnt is checked again now
/// and then; one mismatch ends the fast way for good. One object a process.
class CpuAccess {
 public:
  /// Fills gpr, rip's page-exact start, tables and segment bases. `env` is RBP at the callback.
  /// Only to be called on a vCPU thread inside a callback that may read registers.
  void read(const std::uint64_t* env, bool user_mode, capture::CpuState& out);
  /// True as long as each read() helps to find places.
  [[nodiscard]] bool is_learning(bool user_mode) const {
    return state_[user_mode ? 1 : 0].load(std::memory_order_acquire) == kLearning;
  }
  /// What tells which process runs where: general registers, RIP, tables, the kernel's GS base.
  /// Without asking QEMU, which newer ones do not allow while they translate; so false as long as
  /// not all of that has been found. `env` is the CPU structure of the vCPU whose thread this is.
  [[nodiscard]] bool read_process(const std::uint64_t* env, bool user_mode,
                                  capture::CpuState& out) const;

  /// In which frame a vCPU is, without asking QEMU either; empty as long as that is not known.
  [[nodiscard]] std::optional<probe::FrameKey> frame(const std::uint64_t* env,
                                                     bool user_mode) const;

  /// The plugin API does not give LSTAR and the base of the IDT. They are searched by the values
  /// that they hold in an untouched guest, and read from where those were found; once found, the
  /// place holds for good.
  void expect(const KernelEntries& entries);

 private:
  enum State : int { kLearning, kFast, kSlow };
  enum Field { kCr3, kFsBase, kGsBase, kKernelGs, kFieldCount };
  struct Handles {
    std::array<qemu_plugin_register*, 17> gpr{};  ///< 16 general registers and RIP
    std::array<qemu_plugin_register*, kFieldCount> fields{};
    bool complete = false;
  };

  void read_slow(bool user_mode, capture::CpuState& out);
  void read_fast(const std::uint64_t* env, bool user_mode, capture::CpuState& out) const;
  void learn(const std::uint64_t* env, bool user_mode);
  /// The fields not found yet: true when none is left.
  bool look_for_fields(const std::uint64_t* env, bool user_mode);
  [[nodiscard]] std::uint64_t field(const std::uint64_t* env, Field which) const;
  void learn_entries(const std::uint64_t* env);
  void check(const std::uint64_t* env, bool user_mode);
  [[nodiscard]] bool opens_with_registers(const std::uint64_t* env) const;
  bool find_handles();
  static std::uint64_t read_register(qemu_plugin_register* handle);
  [[nodiscard]] static bool is_seen(Field field, bool user_mode) {
    // In kernel mode (outside its first instructions) the GS base is the kernel's own.
    return field != kKernelGs || user_mode;
  }

  std::array<std::atomic<int>, 2> state_{kLearning, kLearning};  ///< kernel, user mode
  /// In 8-byte words from env; 0: not found.
  std::array<std::atomic<std::uint32_t>, kFieldCount> index_{};
  enum Entry { kLstar, kIdtBase, kEntryCount };
  std::array<std::atomic<std::uint32_t>, kEntryCount> entry_index_{};  ///< 0: not found
  std::atomic<bool> learning_entries_{false};
  // Learning, under the mutex.
  std::mutex mutex_;
  Handles handles_;
  std::array<FieldFinder, kFieldCount> finders_;
  std::array<FieldFinder, kEntryCount> entry_finders_;
  std::array<std::uint64_t, kEntryCount> expected_{};
  std::array<int, 2> samples_{};  ///< kernel, user mode
  int entry_samples_ = 0;
};

}  // namespace glasshook::hypervisor::qemu
