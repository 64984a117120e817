// Processor state inside a plugin callback: straight from QEMU's CPU structure where that was
// proven right, else through the plugin API (about 50 times slower).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "capture/machine.h"
#include "hypervisor/qemu/plugin_api.h"

namespace glasshook::hypervisor::qemu {

/// Generated code keeps the CPU structure's address in RBP (TCG_AREG0 on x86-64 hosts). Its layout
/// is QEMU's own business, so it is learnt: general registers must open the structure, and every
/// other field is searched by value and confirmed before it is used. One object a process.
class CpuAccess {
 public:
  /// Fills gpr, rip's page-exact start, tables and segment bases. `env` is RBP at the callback.
  /// Only to be called on a vCPU thread inside a callback that may read registers.
  void read(const std::uint64_t* env, bool user_mode, capture::CpuState& out);

  /// The program counter QEMU last wrote back: an address within the current block.
  [[nodiscard]] bool fast() const { return state_.load(std::memory_order_relaxed) == kFast; }

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
  void learn(const std::uint64_t* env);
  void learn_field(Field field, const std::uint64_t* env);
  bool find_handles();
  static std::uint64_t read_register(qemu_plugin_register* handle);

  std::atomic<int> state_{kLearning};
  std::array<std::uint32_t, kFieldCount> index_{};  ///< in 8-byte words from env
  // Learning, under the mutex.
  std::mutex mutex_;
  Handles handles_;
  std::array<std::vector<std::uint32_t>, kFieldCount> candidates_;
  std::array<std::uint64_t, kFieldCount> last_value_{};
  std::array<int, kFieldCount> confirmations_{};
  int samples_ = 0;
};

}  // namespace glasshook::hypervisor::qemu
