#include "hook/kernel_plan.h"

#include <map>

#include "guest/elf/function_extents.h"

namespace glasshook::hook {
namespace {

using elf::CodeView;
using elf::Extent;
using elf::JumpTarget;
using linux_guest::KernelSymbols;
using linux_guest::Symbol;

bool is_return_thunk(std::string_view name) { return name.ends_with("_return_thunk"); }

CodeView kernel_code(const KernelSymbols& symbols, const VirtualMemory& kernel) {
  return {.read = [&kernel](std::uint64_t address,
                            std::span<std::byte> out) { return kernel.read(Gva{address}, out); },
          .function_at = [&symbols](std::uint64_t address) -> std::optional<Extent> {
            const std::optional<Symbol> symbol = symbols.at(Gva{address});
            if (!symbol) return std::nullopt;
            return Extent{symbol->address.value, symbols.end_of(*symbol).value};
          },
          .classify =
              [&symbols](std::uint64_t address) {
                const std::optional<Symbol> symbol = symbols.at(Gva{address});
                if (!symbol) return JumpTarget::code;
                if (is_return_thunk(symbol->name)) return JumpTarget::return_thunk;
                return symbol->name.starts_with("__x86_indirect_") ? JumpTarget::indirect_thunk
                                                                   : JumpTarget::code;
              }};
}

}  // namespace

Result<> KernelPlan::add(const Symbol& function, hypervisor::HookId hook, bool returns) {
  const std::uint64_t address = function.address.value;
  if (!kernel_.translate(function.address))
    return fail(ErrorCode::guest_fault, "the code of {} ({:#x}) is not in memory", function.name,
                address);
  sites_.add_entry(address, hook);
  // GCC splits functions that often return early; callers in the same file do the first half
  // themselves and call the second.
  if (symbols_->find(function.name + ".part.0"))
    notes_.push_back(fmt::format("not every call of {} may be seen: the kernel's compiler split it",
                                 function.name));
  if (!returns) return {};
  const elf::ReturnExtents extents =
      elf::find_return_extents(kernel_code(*symbols_, kernel_), address);
  for (const Extent& range : extents.ranges) sites_.add_returns(range.begin, range.end);
  for (const std::uint64_t place : extents.places) sites_.add_return_place(place);
  if (extents.ranges.empty() || extents.incomplete || extents.unresolved_tail_calls > 0)
    notes_.push_back(fmt::format("not every return of {} may be seen: {}", function.name,
                                 extents.ranges.empty() ? "its code is unknown"
                                 : extents.incomplete   ? "its code is too large"
                                                        : "it ends in calls of other functions"));
  return {};
}

std::vector<KernelPage> KernelPlan::pages() {
  std::map<Gpa, hypervisor::PageSites> merged;
  for (const auto& [number, sites] : sites_.pages()) {
    const Gva address{number * kPageSize};
    const auto place = kernel_.translate(address);
    if (!place) {
      notes_.push_back(fmt::format("code at {:#x} is not in memory", address.value));
      continue;
    }
    hypervisor::PageSites& page = merged[place->gpa.page()];
    page.address = address;
    page.entries.insert(page.entries.end(), sites.entries.begin(), sites.entries.end());
    page.returns.insert(page.returns.end(), sites.returns.begin(), sites.returns.end());
    page.return_places.insert(page.return_places.end(), sites.return_places.begin(),
                              sites.return_places.end());
  }
  std::vector<KernelPage> pages;
  for (auto& [page, sites] : merged) pages.push_back({page, std::move(sites)});
  return pages;
}

Result<std::vector<KernelPage>> plan_kernel_hook(const KernelSymbols& symbols,
                                                 const VirtualMemory& kernel,
                                                 const Symbol& function, hypervisor::HookId hook,
                                                 bool returns) {
  KernelPlan plan(symbols, kernel);
  if (auto added = plan.add(function, hook, returns); !added) return std::unexpected(added.error());
  return plan.pages();
}

std::vector<Gva> kernel_return_thunks(const KernelSymbols& symbols) {
  std::vector<Gva> thunks;
  for (const Symbol& symbol : symbols.find_functions("*_return_thunk"))
    thunks.push_back(symbol.address);
  return thunks;
}

}  // namespace glasshook::hook
