// Runs capture programs at hits and puts what they captured on the ring.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "capture/machine.h"
#include "capture/ring.h"
#include "hypervisor/probe/call_table.h"
#include "hypervisor/probe/hook_table.h"
#include "hypervisor/probe/shared_region.h"

namespace glasshook::hypervisor::probe {

/// The host's time-stamp counter, the clock of all records.
[[nodiscard]] inline std::uint64_t ticks() noexcept {
  __builtin_ia32_lfence();  // not read before what comes first in the program
  return __builtin_ia32_rdtsc();
}
/// Ticks in a second, measured against CLOCK_MONOTONIC over a few milliseconds.
[[nodiscard]] std::uint64_t measure_ticks_per_second();

/// Everything that happens at a hit, for every backend. Each vCPU is run by one thread at a time
/// and has its own ring, buffer and counters, so hits of different vCPUs do not meet.
class HitRunner {
 public:
  /// `environment` is borrowed and may gain its kernel space later.
  HitRunner(const SharedRegion& region, const capture::Environment& environment);

  /// A hooked function is entered. `interrupted`: perhaps it is the same entry once more, because
  /// its first instruction faulted. True when that was sent.
  bool enter(HookSlot& hook, const capture::CpuState& cpu, bool interrupted) noexcept;
  /// Whether an armed call would end with this frame.
  [[nodiscard]] bool awaits(const FrameKey& frame) noexcept {
    return is_on(session_.load(std::memory_order_acquire)) && calls_.has(frame);
  }
  /// A `ret` of hooked code runs: ends the armed calls of this frame. Only where it awaits() some.
  void leave(const capture::CpuState& cpu) noexcept;

  void set_context_program(const capture::Program& program);
  /// Captures who runs into `out`; the bytes written (0 without a context program).
  std::uint32_t capture_context(const capture::CpuState& cpu, std::span<std::byte> out) noexcept;
  /// Sends a code_page record: context fields and `words` (see CodePageWord).
  void report_code_page(const capture::CpuState& cpu, const std::uint64_t (&words)[4]) noexcept;

  /// Lets go of what unloaded hooks left behind. To be called while no vCPU runs code of the probe.
  void collect(HookTable& hooks) noexcept;

  [[nodiscard]] ProbeCell& counters(std::uint32_t vcpu) noexcept {
    return region_.counters(vcpu).probe;
  }
  /// A new monitor begins to count. To be called while off.
  void forget_counts() noexcept;
  /// While off, hits cost a flag test and do nothing. A hit that began before is not sent after.
  void set_enabled(bool on) noexcept {
    if (is_on(session_) != on) ++session_;
  }

 private:
  /// Sessions of monitors and the times between them are numbered in turn.
  [[nodiscard]] static bool is_on(std::uint32_t session) noexcept { return (session & 1) != 0; }

  struct Vcpu {
    std::uint32_t session = 0;  ///< in which what it sends began
    std::optional<capture::RingProducer> ring;
    std::vector<std::byte> buffer = std::vector<std::byte>(capture::kMaxRecordBytes);
    capture::Workspace work{buffer};
    std::uint64_t calls = 0;
    std::uint64_t no_wait_until = 0;  ///< ticks; the monitor was found not to read
    HookCell* hooks = nullptr;
    ProbeCell* probe = nullptr;
    BlockCell* blocks = nullptr;
  };

  /// False when there is no room, or the session is over.
  [[gnu::always_inline]] bool push(Vcpu& vcpu, std::uint32_t size) noexcept;
  /// A monitor that falls behind slows the guest down before anything is lost; one that does not
  /// read at all costs two seconds in twelve.
  void wait_for_room(Vcpu& vcpu, std::uint32_t size) noexcept;
  std::uint32_t run_context(Vcpu& vcpu, const capture::CpuState& cpu) noexcept;
  void run_return(PendingCall& call, const capture::CpuState& cpu) noexcept;
  /// Where user code in this frame returns to; 0 when that is unreadable.
  [[nodiscard]] std::uint64_t return_address(const capture::CpuState& cpu) noexcept;
  /// Says that a call will not return.
  void report_given_up(Vcpu& vcpu, const PendingCall& call) noexcept;
  [[gnu::always_inline]] capture::RunResult run_and_push(Vcpu& vcpu, HookCell* cell,
                                                         const capture::Executable& program,
                                                         const capture::CpuState& cpu,
                                                         capture::SavedSlots& saved,
                                                         capture::RecordHeader& header) noexcept;

  SharedRegion region_;
  const capture::Environment& environment_;
  std::atomic<std::uint32_t> session_{0};
  std::atomic<const capture::Executable*> context_{nullptr};
  std::mutex contexts_mutex_;
  std::vector<std::unique_ptr<capture::Executable>> contexts_;  ///< the last is in use
  CallTable calls_;
  std::vector<Vcpu> vcpus_;
};

}  // namespace glasshook::hypervisor::probe
