// Breakpoint instructions in the guest's code: put in, watched over, and taken out again.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hypervisor/kvm/instruction.h"
#include "hypervisor/probe/shared_region.h"

namespace glasshook::hypervisor::kvm {

/// One byte of code that is, or will be, a breakpoint instruction.
struct Patch {
  static constexpr std::size_t kSurroundings = 32;

  Gva address;
  Gpa gpa;
  std::byte* host = nullptr;             ///< where the byte is in this process
  std::atomic<Instruction> instruction;  ///< what is done in its stead
  std::atomic<bool> in{false};
  // Of CodePatches, under its lock.
  std::byte original{};
  std::size_t slot = 0;  ///< while in: where the monitor is told
  bool lost = false;     ///< something else lies there now
  /// Code behind the instruction: what is written over is the same function only with these.
  std::array<std::byte, kSurroundings> surroundings{};
};

/// All of them. A single byte is written, and atomically, so a processor runs the old instruction
/// or the breakpoint; what it does at a breakpoint that is gone by then is its handler's matter
/// (see KvmProbe). Safe from all threads.
class CodePatches {
 public:
  /// How guest memory is seen.
  struct Memory {
    /// Copies kernel code; false when any byte is missing.
    std::function<bool(Gva, std::span<std::byte>)> read;
    /// Where the byte at an address is now; null host when it is not in RAM.
    std::function<std::pair<Gpa, std::byte*>(Gva)> locate;
  };

  explicit CodePatches(Memory memory) : memory_(std::move(memory)) {}

  /// Where the monitor is told what the guest's code is without us.
  void tell(probe::SharedRegion region);
  /// A patch for the instruction at that address, which is not put in yet; the one there is, when
  /// there is one. Fails when the instruction is not one of the few.
  [[nodiscard]] Result<std::shared_ptr<Patch>> make(Gva address);
  /// The instruction at that address, patches apart.
  [[nodiscard]] Instruction instruction_at(Gva address);

  /// What is not among these is taken out at once.
  void keep(const std::set<std::shared_ptr<Patch>>& wanted);
  /// What shall be in from now on; the rest is taken out.
  void want(std::set<std::shared_ptr<Patch>> wanted);
  /// Puts in what is wanted and not in, when `may` says so (asked under the lock), and looks
  /// whether the guest has written over any: what the kernel's own patching put there is patched
  /// again, anything else is let be. How many had been written over.
  std::size_t tend(const std::function<bool()>& may);
  /// Takes all out; they are wanted still. How many were in.
  std::size_t lift();
  /// One that the processor has to run itself is out until the next tend().
  void lift(Patch& patch);

 private:
  [[nodiscard]] bool read(Gva address, std::span<std::byte> out) const;
  [[nodiscard]] bool is_same_place(const Patch& patch) const;
  void put_in(Patch& patch);
  void take_out(Patch& patch);
  void tell(const Patch& patch, bool in);

  Memory memory_;
  mutable std::mutex mutex_;
  std::optional<probe::SharedRegion> region_;
  std::set<std::shared_ptr<Patch>> wanted_;
  std::map<Gva, std::weak_ptr<Patch>> known_;
  std::vector<bool> slots_ = std::vector<bool>(probe::kMaxPatches);  ///< taken
};

}  // namespace glasshook::hypervisor::kvm
