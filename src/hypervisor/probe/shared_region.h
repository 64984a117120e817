// The memory that probe and monitor share: rings, counters and page questions. Both sides check
// what they read from it; neither trusts the other.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "capture/doorbell.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::hypervisor::probe {

inline constexpr std::uint64_t kRegionMagic = 0x31304b4f4f484c47;  // "GLHOOK01"
inline constexpr std::uint32_t kRegionVersion = 3;
inline constexpr std::uint32_t kMaxVcpus = 256;
inline constexpr std::uint32_t kMaxHooks = 8192;
inline constexpr std::uint32_t kMaxSitesPerPage = 1024;
inline constexpr std::uint32_t kMaxContextBytes = 1024;
/// Bytes of guest code that can be breakpoint instructions at once.
inline constexpr std::uint32_t kMaxPatches = 32768;
/// Clocks from 1 MHz to 100 GHz.
inline constexpr std::uint64_t kMinTicks = 1'000'000, kMaxTicks = 100'000'000'000;

/// A fresh memfd of that size, mapped, in `fd`; both for good. It keeps its size, which the monitor
/// insists on.
[[nodiscard]] Result<std::span<std::byte>> make_shared_memory(std::uint64_t size, int& fd);

/// Where everything lies; written once by the probe before the region is shared.
struct RegionHeader {
  std::uint64_t magic = kRegionMagic;
  std::uint32_t version = kRegionVersion;
  std::uint32_t vcpus = 0;
  std::uint64_t size = 0;              ///< of the whole region, bytes
  std::uint64_t ticks_per_second = 0;  ///< of record timestamps
  std::uint64_t ring_bytes = 0;        ///< of one ring, its own header included
  std::uint64_t rings_offset = 0;
  std::uint64_t counters_offset = 0;
  std::uint64_t questions_offset = 0;
  std::atomic<std::uint32_t> question_bell{0};  ///< futex; counts questions
  capture::Doorbell record_bell;                ///< wakes the sleeping monitor
  /// Commits asked for, and (a futex) those whose code was dropped since. Only told by the probe.
  std::atomic<std::uint32_t> commits_asked{0}, commits_done{0};
  std::atomic<std::uint32_t> patch_changes{0};  ///< of the patch words; changed after them
};

/// A byte of guest RAM that the probe has replaced by a breakpoint instruction (0xcc), and what was
/// there; zero says nothing. Written before that byte is, and cleared after it is put back.
inline constexpr std::uint64_t kPatchWordValid = 1ull << 63;
[[nodiscard]] constexpr std::uint64_t patch_word(Gpa gpa, std::byte original) {
  return kPatchWordValid | gpa.value << 8 | static_cast<std::uint64_t>(original);
}

/// Counters with one writer (the vCPU's thread) and relaxed readers.
struct HookCell {
  std::atomic<std::uint64_t> hits, sent, filtered, rate_limited, dropped, returned, unreturned,
      spare;
};
static_assert(sizeof(HookCell) == 64);

struct ProbeCell {
  std::atomic<std::uint64_t> records, dropped, budget, page_questions, page_timeouts, churned_pages,
      overwritten, lifted;
};
static_assert(sizeof(ProbeCell) == 64);

/// Blocks of code that QEMU translated while there was a probe (HookCell's rules).
struct BlockCell {
  std::atomic<std::uint64_t> shown, hidden;
  std::array<std::atomic<std::uint64_t>, 6> spare;
};
static_assert(sizeof(BlockCell) == 64);

struct VcpuCounters {
  ProbeCell probe;
  BlockCell blocks;
  std::array<HookCell, kMaxHooks> hooks;
};

enum class QuestionState : std::uint32_t { idle, asked, answered };

/// One vCPU's question and its answer.
struct QuestionSlot {
  std::atomic<std::uint32_t> state{0};  ///< QuestionState; futex
  std::uint32_t context_size = 0;
  std::uint64_t page = 0, address = 0, root = 0, hash = 0, timestamp = 0;
  std::uint32_t five_level = 0;
  std::uint32_t entry_count = 0;
  std::uint32_t range_count = 0;
  std::uint32_t report_placements = 0;
  std::uint32_t ask_again = 0;
  std::array<std::byte, kMaxContextBytes> context;
  std::array<EntrySite, kMaxSitesPerPage> entries;
  std::array<ReturnRange, kMaxSitesPerPage> ranges;
};

/// Typed view of a mapped region. Borrows the mapping.
class SharedRegion {
 public:
  SharedRegion() = default;
  explicit SharedRegion(std::span<std::byte> bytes) : bytes_(bytes) {}

  /// Bytes needed for that many vCPUs with rings of `ring_bytes`.
  [[nodiscard]] static std::uint64_t size_for(std::uint32_t vcpus, std::uint64_t ring_bytes);
  /// Bytes, a whole number of pages, of one ring that holds `data_bytes` (a power of two).
  [[nodiscard]] static std::uint64_t ring_bytes_for(std::uint64_t data_bytes);
  /// Writes the header (probe side); rings are initialised by their owner.
  static SharedRegion create(std::span<std::byte> bytes, std::uint32_t vcpus,
                             std::uint64_t ring_bytes, std::uint64_t ticks_per_second);
  /// Checks a region made by the other side.
  [[nodiscard]] static Result<SharedRegion> open(std::span<std::byte> bytes);

  [[nodiscard]] RegionHeader& header() const { return *at<RegionHeader>(0); }
  [[nodiscard]] std::uint32_t vcpus() const { return vcpus_; }
  [[nodiscard]] std::uint64_t ticks_per_second() const { return ticks_per_second_; }
  [[nodiscard]] std::span<std::byte> ring(std::uint32_t vcpu) const {
    return bytes_.subspan(rings_offset_ + vcpu * ring_bytes_, ring_bytes_);
  }
  [[nodiscard]] VcpuCounters& counters(std::uint32_t vcpu) const {
    return *at<VcpuCounters>(counters_offset_ + vcpu * sizeof(VcpuCounters));
  }
  [[nodiscard]] QuestionSlot& question(std::uint32_t vcpu) const {
    return *at<QuestionSlot>(questions_offset_ + vcpu * sizeof(QuestionSlot));
  }
  /// See patch_word(). Below kMaxPatches.
  [[nodiscard]] std::atomic<std::uint64_t>& patch(std::uint32_t n) const {
    return *at<std::atomic<std::uint64_t>>(patches_offset_ + n * sizeof(std::uint64_t));
  }

 private:
  template <class T>
  [[nodiscard]] T* at(std::uint64_t offset) const {
    return reinterpret_cast<T*>(bytes_.data() + offset);
  }

  std::span<std::byte> bytes_;
  // Private copies, so that the other side cannot change the layout later.
  std::uint32_t vcpus_ = 0;
  std::uint64_t ring_bytes_ = 0, rings_offset_ = 0, counters_offset_ = 0, questions_offset_ = 0,
                patches_offset_ = 0;
  std::uint64_t ticks_per_second_ = 0;
};

/// Waits while `word` is `expected`, at most `timeout_ns`; wakes may be spurious.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns);
void futex_wake(std::atomic<std::uint32_t>& word);

}  // namespace glasshook::hypervisor::probe
