#include "guest/linux/dispatch_tables.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace glasshook::linux_guest {
namespace {

/// More than there are system calls.
constexpr std::size_t kMaxCalls = 1024;
constexpr std::size_t kVectors = 256;

std::optional<DispatchTable> call_table(const LinuxKernel& kernel, std::string_view name) {
  const auto symbol = kernel.symbols().find(name);
  if (!symbol) return std::nullopt;
  const std::uint64_t size = kernel.symbols().end_of(*symbol).value - symbol->address.value;
  std::vector<std::uint64_t> entries(std::min<std::uint64_t>(size / 8, kMaxCalls));
  if (!kernel.virtual_memory().read(symbol->address, std::as_writable_bytes(std::span{entries})))
    return std::nullopt;
  DispatchTable table{.name = name, .address = symbol->address, .entry_size = 8, .targets = {}};
  for (const std::uint64_t entry : entries) table.targets.push_back(Gva{entry});
  return table;
}

/// Intel SDM vol. 3A, 6.14.1: a 64-bit gate.
struct Gate {
  std::uint16_t low;
  std::uint16_t selector, flags;
  std::uint16_t middle;
  std::uint32_t high, reserved;
};
static_assert(sizeof(Gate) == 16);

std::optional<DispatchTable> interrupt_table(const LinuxKernel& kernel) {
  constexpr std::string_view kName = "idt_table";
  const auto symbol = kernel.symbols().find(kName);
  std::array<Gate, kVectors> gates;
  if (!symbol ||
      !kernel.virtual_memory().read(symbol->address, std::as_writable_bytes(std::span{gates})))
    return std::nullopt;
  DispatchTable table{
      .name = kName, .address = symbol->address, .entry_size = sizeof(Gate), .targets = {}};
  for (const Gate& gate : gates)
    table.targets.push_back(
        Gva{std::uint64_t{gate.high} << 32 | std::uint64_t{gate.middle} << 16 | gate.low});
  return table;
}

}  // namespace

std::vector<DispatchTable> dispatch_tables(const LinuxKernel& kernel) {
  std::vector<DispatchTable> tables;
  for (const std::string_view name : {"sys_call_table", "ia32_sys_call_table"})
    if (auto table = call_table(kernel, name)) tables.push_back(std::move(*table));
  if (auto table = interrupt_table(kernel)) tables.push_back(std::move(*table));
  return tables;
}

std::vector<DispatchChange> changes_between(std::span<const DispatchTable> before,
                                            std::span<const DispatchTable> after,
                                            std::size_t limit) {
  std::vector<DispatchChange> changes;
  for (const DispatchTable& old : before) {
    const auto now = std::ranges::find(after, old.name, &DispatchTable::name);
    if (now == after.end()) continue;
    const std::size_t size = std::min(old.targets.size(), now->targets.size());
    for (std::size_t i = 0; i < size && changes.size() < limit; ++i)
      if (old.targets[i] != now->targets[i])
        changes.push_back({.table = old.name,
                           .index = i,
                           .address = old.address + i * old.entry_size,
                           .before = old.targets[i],
                           .after = now->targets[i]});
  }
  return changes;
}

}  // namespace glasshook::linux_guest
