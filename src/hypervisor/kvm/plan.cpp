#include "hypervisor/kvm/plan.h"

#include <algorithm>

namespace glasshook::hypervisor::kvm {

Plan::Plan(std::vector<Site> sites, bool instructions)
    : sites_(std::move(sites)), instructions_(instructions) {
  std::ranges::stable_sort(sites_, {}, &Site::address);
  for (const Site& site : sites_)
    if (addresses_.empty() || addresses_.back() != site.address) addresses_.push_back(site.address);
}

std::span<const Site> Plan::at(std::uint64_t address) const {
  const auto [begin, end] = std::ranges::equal_range(sites_, address, {}, &Site::address);
  return {begin, end};
}

std::set<std::shared_ptr<Patch>> Plan::patches() const {
  std::set<std::shared_ptr<Patch>> all;
  for (const Site& site : sites_)
    if (site.patch) all.insert(site.patch);
  return all;
}

Gva entry_place(CodePatches& patches, Gva entry) {
  constexpr std::uint8_t kTracerCall = 5;
  Gva at = entry;
  Instruction first = patches.instruction_at(at);
  if (first.marks_target) {
    at = at + first.length;
    first = patches.instruction_at(at);
  }
  const bool traced = first.length == kTracerCall && (first.kind == Instruction::Kind::nop ||
                                                      first.kind == Instruction::Kind::call);
  if (!traced) return at;
  const Gva after = at + kTracerCall;
  return patches.instruction_at(after).kind == Instruction::Kind::push ? after : at;
}

}  // namespace glasshook::hypervisor::kvm
