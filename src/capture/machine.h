// Runs verified capture programs (see executable.h) inside a probe. It never allocates, locks
// or throws, and it ends after at most (back_jumps + 1) * code.size() instructions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/guest_address.h"
#include "capture/directory_cache.h"
#include "capture/program.h"
#include "capture/record.h"
#include "memory/guest_ram.h"

namespace glasshook::capture {

inline constexpr std::size_t kMaxMatchBytes = 4096;  ///< longest text a suffix or glob can match
/// Bytes that match_string may look at in one run; beyond it the run ends as `budget`.
inline constexpr std::size_t kMaxMatchWork = 65536;

class Executable;
class SetTable;
class RateLimiterTable;

/// Processor state at a hit. Filled by the backend; `gpr` in x86 encoding order.
struct CpuState {
  std::array<std::uint64_t, 16> gpr{};
  std::uint64_t rip = 0;
  AddressSpace space;  ///< current page tables
  std::uint64_t fs_base = 0;
  std::uint64_t gs_base = 0;
  std::uint64_t kernel_gs = 0;
  std::uint64_t lstar = 0;     ///< 0: not known
  std::uint64_t idt_base = 0;  ///< 0: not known
  std::uint64_t operand = 0;   ///< of a privileged instruction
  std::uint32_t vcpu = 0;
  bool user_mode = false;
};

/// What programs may touch besides the processor. Shared by all vCPUs; outlives every run.
struct Environment {
  const GuestRam* ram = nullptr;  ///< needed; segments begin on page boundaries
  AddressSpace kernel_space;
  SetTable* sets = nullptr;              ///< without it all sets are empty
  RateLimiterTable* limiters = nullptr;  ///< without it nothing is limited
};

/// What the runs of one vCPU work in, one after the other.
struct Workspace {
  std::span<std::byte> buffer;  ///< for a record; >= kMaxRecordBytes, 8-aligned
  DirectoryCache directories = {};
};

/// Values an entry program saved for the return of the same call.
using SavedSlots = std::array<std::uint64_t, kSavedSlotCount>;

enum class Outcome : std::uint8_t {
  sent,          ///< a record stands in the buffer
  stopped,       ///< filtered out
  rate_limited,  ///< stopped after a limiter said no
  budget,        ///< ran out of backward jumps or match work; what was captured so far stands in
                 ///< the buffer
};

struct RunResult {
  Outcome outcome = Outcome::stopped;
  bool return_armed = false;      ///< also when the entry itself was stopped
  std::uint32_t record_size = 0;  ///< bytes in the buffer when sent or budget
};

/// Runs `program`. The buffer of `work` receives header and fields; the caller has filled kind,
/// hook, vcpu, timestamp and call of `header` and sets the sequence when it commits (the timestamp
/// may be missing when the program does not use it, see Executable::uses_time). `saved` is read by
/// return programs and written by entry programs.
RunResult run(const Executable& program, const CpuState& cpu, const Environment& environment,
              SavedSlots& saved, const RecordHeader& header, Workspace& work) noexcept;

}  // namespace glasshook::capture
