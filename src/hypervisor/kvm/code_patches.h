// Breakpoint instructions in the guest's code: put in, watched over, and taken out again.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
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

/// Where code is: the kernel's by its virtual address, a program's by its physical one, since it
/// runs at another address in each process. No value is both.
struct CodePlace {
  std::uint64_t value = 0;

  CodePlace() = default;
  explicit CodePlace(Gva of_kernel) : value(of_kernel.value) {}
  explicit CodePlace(Gpa of_program) : value(of_program.value) {}
  [[nodiscard]] bool is_kernel() const { return Gva{value}.is_kernel(); }
  [[nodiscard]] Gva address() const { return Gva{value}; }   ///< of the kernel's
  [[nodiscard]] Gpa physical() const { return Gpa{value}; }  ///< of a program's
  [[nodiscard]] std::uint64_t page_offset() const { return value & kPageMask; }

  auto operator<=>(const CodePlace&) const = default;
  friend CodePlace operator+(CodePlace place, std::uint64_t bytes) {
    place.value += bytes;
    return place;
  }
};

/// One byte of code that is, or will be, a breakpoint instruction.
struct Patch {
  static constexpr std::size_t kSurroundings = 32;

  CodePlace place;
  Gpa gpa;
  std::byte* host = nullptr;             ///< where the byte is in this process
  std::atomic<Instruction> instruction;  ///< what is done in its stead
  std::atomic<bool> in{false};
  // Of CodePatches, under its lock.
  std::byte original{};
  std::size_t slot = 0;                         ///< while in: where the monitor is told
  bool lost = false;                            ///< something else lies there now
  std::chrono::steady_clock::time_point again;  ///< when it may be in
  /// Code behind the instruction, or before it at the end of a program's page: what is written over
  /// is the same function only with these.
  std::array<std::byte, kSurroundings> surroundings{};
  CodePlace surroundings_at;
};

/// All of them. A single byte is written, and atomically, so a processor runs the old instruction
/// or the breakpoint; what it does at a breakpoint that is gone by then is its handler's matter
/// (see KvmProbe). Safe from all threads.
class CodePatches {
 public:
  static constexpr std::chrono::milliseconds kUncovered{100}, kWritten{1};

  /// How guest memory is seen.
  struct Memory {
    /// Copies code; false when any byte is missing. A program's ends with its page.
    std::function<bool(CodePlace, std::span<std::byte>)> read;
    /// Where that byte is now; null host when it is not in RAM.
    std::function<std::pair<Gpa, std::byte*>(CodePlace)> locate;
  };

  explicit CodePatches(Memory memory) : memory_(std::move(memory)) {}

  /// Where the monitor is told what the guest's code is without us.
  void tell(probe::SharedRegion region);
  /// A patch for the instruction at that place, which is not put in yet; the one there is, when
  /// there is one. Fails when the instruction is not one of the few.
  [[nodiscard]] Result<std::shared_ptr<Patch>> make(CodePlace place);
  /// The instruction at that place, patches apart.
  [[nodiscard]] Instruction instruction_at(CodePlace place);
  /// Whether the page at `page` holds, at the offset where the patch is on its own, the same code
  /// with a breakpoint instruction: a program that changes its code gets a copy of the page, made
  /// with the patches in it.
  [[nodiscard]] static bool is_copied_to(std::span<const std::byte, kPageSize> page,
                                         const Patch& patch);

  /// What write-protects a page before a patch on it is put in; empty: nothing does. Called under
  /// the lock. Where it cannot, tend() sees what was written.
  void guard_with(std::function<void(std::byte* page)> guard);
  /// Somebody is about to write to that page: its patches are out for kWritten. How many were in.
  std::size_t uncover(std::byte* page);

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
  /// Takes those in programs out for kUncovered from now on. How many were in.
  std::size_t uncover_programs();
  /// One that the processor has to run itself is out until the next tend().
  void lift(Patch& patch);

 private:
  [[nodiscard]] bool read(CodePlace place, std::span<std::byte> out) const;
  /// What there is of an instruction: code may end.
  [[nodiscard]] std::span<std::byte> read_instruction(
      CodePlace place, std::array<std::byte, kMaxInstructionBytes>& code) const;
  [[nodiscard]] bool is_same_place(const Patch& patch) const;
  void put_in(Patch& patch);
  void take_out(Patch& patch);
  void tell(const Patch& patch, bool in);

  Memory memory_;
  std::function<void(std::byte*)> guard_;
  mutable std::mutex mutex_;
  std::optional<probe::SharedRegion> region_;
  std::set<std::shared_ptr<Patch>> wanted_;
  std::map<CodePlace, std::weak_ptr<Patch>> known_;
  std::chrono::steady_clock::time_point programs_again_;             ///< when theirs may be in
  std::vector<bool> slots_ = std::vector<bool>(probe::kMaxPatches);  ///< taken
};

}  // namespace glasshook::hypervisor::kvm
