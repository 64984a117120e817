// Has QEMU show the probe only those blocks that it wants to see.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/result.h"
#include "hypervisor/qemu/event_mask.h"
#include "hypervisor/qemu/setjmp_calls.h"

namespace glasshook::hypervisor::qemu {

/// A block that QEMU shows has a store for each of its accesses to memory, hooked or not (QEMU 10,
/// plugin_gen_mem_callbacks_i64() in tcg/tcg-op-ldst.c): some per cent of what a guest can do. QEMU
/// decides that before it translates, by the vCPU's event mask, and it calls sigsetjmp() shortly
/// before. The gate stands in that call and sets the mask. Where calls and mask lie is learnt while
/// all blocks are shown; a QEMU that is built otherwise shows all of them for good, as without a
/// gate. One object a process; safe from all vCPU threads.
class TranslationGate {
 public:
  /// Whether the block at the guest's `address`, whose code the host has at `code`, is to be shown.
  using Wants = bool (*)(std::uint64_t address, const std::byte* code);

  /// Blocks by which all has to be learnt.
  static constexpr int kMostBlocks = 4096;

  explicit TranslationGate(Wants wants) : wants_(wants) {}

  /// Leads QEMU's calls of sigsetjmp() through g_probe. Not to be called when another plugin is
  /// loaded, which may want other blocks.
  [[nodiscard]] static Result<> install();

  /// QEMU calls sigsetjmp() on the thread of the vCPU with these registers. True when it will
  /// translate a block without showing it.
  bool on_setjmp(const SetjmpCall& call, const std::uint64_t* env);
  struct Block {
    std::uint64_t address = 0, code = 0;
    std::size_t instructions = 0;
    bool one_page = true;  ///< nothing but a lone instruction goes beyond its page
  };
  /// QEMU shows a block of that vCPU. True when it shows only what is wanted from now on: what was
  /// translated before should be translated anew.
  bool on_shown(const Block& block, const std::uint64_t* env);

 private:
  enum State : int { kLearning, kReady, kOff };
  /// One thread's part.
  struct Thread {
    SetjmpCalls calls;
    bool shown = true;       ///< the block that is translated, or was last
    bool unfinished = true;  ///< QEMU may have begun one that it shows
    std::uint64_t stack_begin = 0, stack_end = 0;

    Thread();
    [[nodiscard]] bool has_on_stack(const SetjmpCall& call) const;
  };
  [[nodiscard]] static Thread& thread();

  bool learn(Thread& thread, const Block& block, const std::uint64_t* env);
  bool decide(Thread& thread, const SetjmpCall& call, const std::uint64_t* env);
  void give_up();

  Wants wants_;
  std::atomic<int> state_{kLearning};
  TranslationCallFinder::Found call_;  ///< set before kReady, as mask_
  EventMask mask_;
  std::mutex mutex_;  ///< learning
  TranslationCallFinder finder_;
  int blocks_ = 0;
};

}  // namespace glasshook::hypervisor::qemu
