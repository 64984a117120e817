// Finds which events of a vCPU QEMU tells plugins about.
#pragma once

#include <cstdint>
#include <vector>

namespace glasshook::hypervisor::qemu {

/// QEMU keeps them for each vCPU as bits behind a pointer in the CPU structure (CPUState's
/// plugin_state->event_mask; bits: include/qemu/plugin-event.h). Where that pointer lies is learnt
/// by what it must point to. A second such pointer may lie before the structure, where the heap
/// left it in a freed piece: the nearest counts, if all lead to the same word.
class EventMask {
 public:
  static constexpr std::uint64_t kTranslation = 1 << 2, kIdle = 1 << 3, kResume = 1 << 4;
  /// While the probe sees blocks, and no other plugin asks for more.
  static constexpr std::uint64_t kShowing = kTranslation | kIdle | kResume;
  static constexpr std::uint64_t kHiding = kIdle | kResume;
  /// CPUState begins 0x2bc0 bytes before the registers in QEMU 10.
  static constexpr std::size_t kWordsBefore = 0x3000 / 8;
  static constexpr int kWanted = 64;
  /// Looking through a whole structure takes a millisecond.
  static constexpr int kMostSearches = 16;

  /// `env`: the registers, which follow CPUState, at a moment when the mask is kShowing. Reads
  /// only what is mapped.
  void observe(const std::uint64_t* env);
  [[nodiscard]] bool found() const { return agree_ && observations_ >= kWanted; }
  /// The mask of the vCPU with these registers; once found.
  [[nodiscard]] std::uint64_t& of(const std::uint64_t* env) const {
    return *reinterpret_cast<std::uint64_t*>(*(env - candidates_.front()));
  }

 private:
  std::vector<std::size_t> candidates_;  ///< words before `env`, the nearest first
  bool agree_ = false;                   ///< candidates lead to one word
  int observations_ = 0, searches_ = 0;
};

}  // namespace glasshook::hypervisor::qemu
