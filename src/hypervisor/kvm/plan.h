// What vCPU threads look at: addresses, and what happens there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "hypervisor/kvm/code_patches.h"
#include "hypervisor/kvm/special_registers.h"
#include "hypervisor/probe/watched_page.h"

namespace glasshook::hypervisor::kvm {

/// A place of code where something happens.
struct Site {
  CodePlace place;  ///< of the instruction that exits
  const probe::WatchedPage* page = nullptr;
  std::span<const probe::WatchedPage::Entry> hooks;  ///< of the page: those of the function
  std::uint64_t entry = 0;       ///< address of that; 0 in programs, where it is where the exit is
  bool returns = false;          ///< perhaps from one
  Needs needs = Needs::general;  ///< of all programs there
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
  /// Of the kernel's code, for debug registers; ascending, each once.
  [[nodiscard]] const std::vector<std::uint64_t>& addresses() const { return addresses_; }
  /// All that is to happen there: nothing, one thing, rarely more.
  [[nodiscard]] std::span<const Site> at(CodePlace place) const {
    const auto begin = std::ranges::lower_bound(sites_, place, {}, &Site::place);
    auto end = begin;
    while (end != sites_.end() && end->place == place) ++end;
    return {begin, end};
  }
  /// What is to happen on a page of a program that is a copy of one with sites, at that offset.
  [[nodiscard]] std::span<const Site> at_copy(std::span<const std::byte, kPageSize> page,
                                              std::uint64_t offset) const;
  [[nodiscard]] std::set<std::shared_ptr<Patch>> patches() const;

 private:
  std::vector<Site> sites_;  ///< by place
  std::vector<std::uint64_t> addresses_;
  bool instructions_ = false;
};

/// Where the breakpoint instruction of a function of the kernel goes that begins at `entry`: past
/// what marks it for the processor (direct calls skip that, and indirect ones need it), and, where
/// the next instruction can be stood for, past the place where the kernel patches a call of its
/// tracer.
[[nodiscard]] CodePlace entry_place(CodePatches& patches, Gva entry);

}  // namespace glasshook::hypervisor::kvm
