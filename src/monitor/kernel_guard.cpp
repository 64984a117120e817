#include "monitor/kernel_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "guest/linux/pid_table.h"

namespace glasshook::monitor {
namespace {

using linux_guest::ModuleInfo;

/// Code compared at each look besides the pages of hooked functions: 1 MiB.
constexpr std::size_t kPages = 256;
/// Lists are read while the guest changes them: what looks wrong has to look so three times.
constexpr std::uint64_t kAgreement = 3;
constexpr std::size_t kMaxActors = 65536, kMaxModules = 4096;

}  // namespace

KernelGuard::KernelGuard(const linux_guest::LinuxKernel& kernel,
                         const hypervisor::KernelEntries& entries, bool hears_of_patches,
                         ProcessOf process_of)
    : kernel_(&kernel),
      entries_(entries),
      process_of_(std::move(process_of)),
      tables_(linux_guest::dispatch_tables(kernel)) {
  if (hears_of_patches) code_.emplace(kernel);
}

void KernelGuard::acts(const Actor& actor) {
  const Key key{.pid = actor.key.pid, .start_time = actor.key.start_time};
  // The idle tasks have no id.
  if (key == last_actor_ || key.pid == 0 || actor.task == 0) return;
  last_actor_ = key;
  if (acted_.size() < kMaxActors) acted_.emplace(key, Gva{actor.task});
}

std::vector<behaviour::KernelTampering> KernelGuard::look(std::span<const Gva> hooked) {
  Found found;
  ++look_;
  compare_tables(found);
  compare_code(hooked, kPages, found);
  compare_processes(found);
  compare_modules(found);
  return found;
}

std::vector<behaviour::KernelTampering> KernelGuard::look_for_the_last_time() {
  Found found;
  compare_tables(found);
  compare_code({}, linux_guest::KernelCode::kMaxBytes / kPageSize, found);
  return found;
}

std::vector<behaviour::KernelTampering> KernelGuard::entered(Gva lstar, Gva idt,
                                                             std::uint64_t cpu) {
  Found found;
  const auto check = [&](std::string_view name, Gva before, Gva now) {
    if (now.is_null() || now == before || told_entries_.size() >= kMost ||
        !told_entries_.emplace(name, now).second)
      return;
    found.emplace_back(behaviour::EntryChange{
        .name = name, .cpu = cpu, .before = place(before), .after = place(now)});
  };
  check("LSTAR", entries_.system_call, lstar);
  check("IDTR", entries_.interrupt_table, idt);
  return found;
}

std::string KernelGuard::place(Gva address) const {
  const auto symbol = kernel_->symbols().at(address);
  if (symbol && symbol->address == address) return symbol->name;
  if (const auto loaded = linux_guest::modules(*kernel_))
    for (const ModuleInfo& module : loaded->items)
      if (address.value - module.base.value < module.code_size)
        return fmt::format("{}+{:#x}", module.name, address.value - module.base.value);
  const auto& core = kernel_->core_symbols();
  if (symbol && !core.empty() && address < core.back().address)
    return fmt::format("{}+{:#x}", symbol->name, address.value - symbol->address.value);
  return fmt::format("{:#x}", address.value);
}

void KernelGuard::compare_tables(Found& found) {
  auto now = linux_guest::dispatch_tables(*kernel_);
  const auto name = [&](Gva target) {
    const auto symbol = kernel_->symbols().at(target);
    return symbol && symbol->address == target ? symbol->name : fmt::format("{:#x}", target.value);
  };
  for (const auto& change : linux_guest::changes_between(tables_, now, kMost))
    found.emplace_back(behaviour::TableChange{.table = change.table,
                                              .index = change.index,
                                              .address = change.address.value,
                                              .before = name(change.before),
                                              .after = name(change.after)});
  tables_ = std::move(now);
}

void KernelGuard::compare_code(std::span<const Gva> hooked, std::size_t pages, Found& found) {
  if (!code_) return;
  code_->follow_modules();
  for (auto& change : code_->compare(hooked, pages, kMost))
    found.emplace_back(
        behaviour::KernelCodeChange{.address = change.address.value,
                                    .bytes = change.bytes,
                                    .functions = std::move(change.functions),
                                    .target = change.target ? place(*change.target) : ""});
}

bool KernelGuard::is_settled(std::map<std::uint32_t, std::uint64_t>& looks,
                             std::uint32_t pid) const {
  const std::uint64_t first = looks.emplace(pid, look_).first->second;
  return look_ - first + 1 >= kAgreement;
}

void KernelGuard::tell_process(std::uint32_t pid, Gva task, std::vector<std::string> missing,
                               Found& found) {
  if (found.size() >= kMost || told_processes_.size() >= kMaxActors ||
      !told_processes_.insert(pid).second)
    return;
  found.emplace_back(behaviour::HiddenProcess{
      .pid = pid, .process = process_of_(pid, task), .missing_from = std::move(missing)});
}

void KernelGuard::compare_processes(Found& found) {
  const auto listed = linux_guest::listed_processes(*kernel_);
  if (listed.incomplete) {
    acted_.clear();
    return;
  }
  find_runners(listed.tasks, found);
  const auto numbered = linux_guest::numbered_processes(*kernel_);
  if (numbered.incomplete) return;
  std::erase_if(unlisted_, [&](const auto& item) {
    return listed.tasks.contains(item.first) || !numbered.tasks.contains(item.first);
  });
  std::erase_if(unnumbered_, [&](const auto& item) {
    return numbered.tasks.contains(item.first) || !listed.tasks.contains(item.first);
  });
  for (const auto& [pid, task] : numbered.tasks)
    if (pid != 0 && !listed.tasks.contains(pid) && is_settled(unlisted_, pid))
      tell_process(pid, task, {"task_list"}, found);
  for (const auto& [pid, task] : listed.tasks)
    if (pid != 0 && !numbered.tasks.contains(pid) && is_settled(unnumbered_, pid))
      tell_process(pid, task, {"pid_table"}, found);
}

void KernelGuard::find_runners(const std::map<std::uint32_t, Gva>& listed, Found& found) {
  // One that acted before a look at which it was in no list, and acts after all from before that
  // look has been heard of, was alive at it.
  for (const auto& [key, task] : std::exchange(acted_, {})) {
    if (listed.contains(key.pid)) continue;
    Suspect& suspect =
        suspects_.try_emplace(key, Suspect{.first = look_, .task = task}).first->second;
    suspect.last = look_;
    if (look_ - suspect.first + 1 < kAgreement) continue;
    const auto numbered = linux_guest::numbered_processes(*kernel_);
    std::vector<std::string> missing{"task_list"};
    if (!numbered.incomplete && !numbered.tasks.contains(key.pid))
      missing.emplace_back("pid_table");
    tell_process(key.pid, task, std::move(missing), found);
  }
  last_actor_ = {};
  std::erase_if(suspects_, [&](const auto& item) {
    constexpr std::uint64_t kPatience = 60;
    return listed.contains(item.first.pid) || item.second.last + kPatience < look_;
  });
}

void KernelGuard::note_module(Gva module) {
  if (modules_.size() >= kMaxModules && !modules_.contains(module)) return;
  if (const auto info = linux_guest::module_at(*kernel_, module); info && !info->name.empty())
    modules_[module] = info->name;
}

void KernelGuard::compare_modules(Found& found) {
  const auto loaded = linux_guest::modules(*kernel_);
  if (!loaded || loaded->incomplete) return;
  std::set<Gva> listed;
  for (const ModuleInfo& module : loaded->items) {
    listed.insert(module.address);
    lost_modules_.erase(module.address);
    if (modules_.size() < kMaxModules) modules_[module.address] = module.name;
  }
  for (const ModuleInfo& module : linux_guest::modules_by_address(*kernel_).items)
    if (!listed.contains(module.address)) note_module(module.address);
  for (auto it = modules_.begin(); it != modules_.end();) {
    const auto& [address, name] = *it;
    if (listed.contains(address)) {
      ++it;
      continue;
    }
    const auto info = linux_guest::module_at(*kernel_, address);
    if (!info || !info->live || info->name != name || info->base.is_null()) {  // it was unloaded
      lost_modules_.erase(address);
      it = modules_.erase(it);
      continue;
    }
    const std::uint64_t first = lost_modules_.emplace(address, look_).first->second;
    if (look_ - first + 1 >= kAgreement && found.size() < kMost &&
        told_modules_.insert(address).second)
      found.emplace_back(behaviour::HiddenModule{
          .name = info->name, .address = info->base.value, .bytes = info->size});
    ++it;
  }
}

}  // namespace glasshook::monitor
