// What vCPU threads look at: addresses, and what happens there.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "hypervisor/kvm/code_patches.h"
#include "hypervisor/probe/watched_page.h"

namespace glasshook::hypervisor::kvm {

/// A place of code where something happens.
struct Site {
  std::uint64_t address = 0;  ///< of the instruction that exits
  const probe::WatchedPage* page = nullptr;
  std::uint16_t offset = 0;      ///< on the page: where the function begins
  std::uint64_t entry = 0;       ///< address of that
  bool enters = false;           ///< a function
  bool returns = false;          ///< perhaps from one
  bool special = false;          ///< a program there looks_at_special_registers()
  std::shared_ptr<Patch> patch;  ///< null with hardware breakpoints
};

/// Immutable once published; a vCPU may look at it until it has armed a later one.
class Plan {
 public:
  Plan() = default;
  /// `instructions`: places are breakpoint instructions, not hardware breakpoints.
  Plan(std::vector<Site> sites, bool instructions);

  [[nodiscard]] bool empty() const { return sites_.empty(); }
  [[nodiscard]] bool instructions() const { return instructions_ && !empty(); }
  /// For debug registers; ascending, each once.
  [[nodiscard]] const std::vector<std::uint64_t>& addresses() const { return addresses_; }
  /// All that is to happen there: nothing, one thing, rarely more.
  [[nodiscard]] std::span<const Site> at(std::uint64_t address) const;
  [[nodiscard]] std::set<std::shared_ptr<Patch>> patches() const;

 private:
  std::vector<Site> sites_;  ///< by address
  std::vector<std::uint64_t> addresses_;
  bool instructions_ = false;
};

/// Where the breakpoint instruction of a function goes that begins at `entry`: past what marks it
/// for the processor (direct calls skip that, and indirect ones need it), and, where the next
/// instruction can be stood for, past the place where the kernel patches a call of its tracer.
[[nodiscard]] Gva entry_place(CodePatches& patches, Gva entry);

}  // namespace glasshook::hypervisor::kvm
