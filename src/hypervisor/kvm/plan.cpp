#include "hypervisor/kvm/plan.h"

#include <algorithm>

namespace glasshook::hypervisor::kvm {

Plan::Plan(std::vector<Site> sites, bool instructions)
    : sites_(std::move(sites)), instructions_(instructions) {
  std::ranges::stable_sort(sites_, {}, &Site::place);
  for (const Site& site : sites_)
    if (site.place.is_kernel() && (addresses_.empty() || addresses_.back() != site.place.value))
      addresses_.push_back(site.place.value);
}

std::span<const Site> Plan::at_copy(std::span<const std::byte, kPageSize> page,
                                    std::uint64_t offset) const {
  for (const Site& site : sites_)
    if (site.patch && site.place.page_offset() == offset &&
        CodePatches::is_copied_to(page, *site.patch))
      return at(site.place);
  return {};
}

std::set<std::shared_ptr<Patch>> Plan::patches() const {
  std::set<std::shared_ptr<Patch>> all;
  for (const Site& site : sites_)
    if (site.patch) all.insert(site.patch);
  return all;
}

CodePlace entry_place(CodePatches& patches, Gva entry) {
  constexpr std::uint8_t kTracerCall = 5;
  CodePlace at(entry);
  Instruction first = patches.instruction_at(at);
  if (first.marks_target) {
    at = at + first.length;
    first = patches.instruction_at(at);
  }
  const bool traced = first.length == kTracerCall && (first.kind == Instruction::Kind::nop ||
                                                      first.kind == Instruction::Kind::call);
  if (!traced) return at;
  const CodePlace after = at + kTracerCall;
  switch (patches.instruction_at(after).kind) {
    case Instruction::Kind::none:
    case Instruction::Kind::nop:
    case Instruction::Kind::call:
    case Instruction::Kind::jump:
      return at;  // or the kernel patches that, too
    default:
      return after;
  }
}

}  // namespace glasshook::hypervisor::kvm
