#include "monitor/import_guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "guest/windows/import_check.h"
#include "monitor/windows_view.h"

namespace glasshook::monitor {
namespace {

using behaviour::Platform;
using behaviour::ReplacedImport;

std::string name_of(const windows::ExportName& import) {
  return import.name.empty() ? fmt::format("{}!#{}", import.module, import.ordinal)
                             : fmt::format("{}!{}", import.module, import.name);
}

std::string target_of(const windows::ReplacedImport& replaced) {
  return replaced.target_module.empty()
             ? fmt::format("{:#x}", replaced.target.value)
             : fmt::format("{}+{:#x}", replaced.target_module, replaced.target_offset);
}

std::vector<ReplacedImport> windows_imports(const linux_guest::LinuxKernel& kernel,
                                            const linux_guest::ProcessInfo& process,
                                            const windows::Peb& peb) {
  std::vector<ReplacedImport> replaced;
  for (const windows::ReplacedImport& import : windows_replaced_imports(kernel, process, peb))
    replaced.push_back({.importer = import.importer,
                        .function = name_of(import.import),
                        .slot = import.slot.value,
                        .address = import.target.value,
                        .target = target_of(import)});
  return replaced;
}

}  // namespace

void ImportGuard::acts(const ProcessPtr& process) {
  if (!process || process == last_) return;
  last_ = process;
  if (known_.size() >= kMaxProcesses && !known_.contains(process->entity_id)) return;
  Known& known = known_[process->entity_id];
  if (known.process != process) known = {};  // another image
  known.process = process;
  known.acted = true;
}

std::vector<ImportGuard::Found> ImportGuard::look() {
  last_ = nullptr;
  std::vector<Known*> due;
  for (auto& [id, known] : known_)
    // What looked wrong is looked at again, whether or not the process acts.
    if (known.acted || !known.wrong.empty()) due.push_back(&known);
  std::ranges::stable_sort(due, {}, &Known::looked);
  if (due.size() > kAtOnce) due.resize(kAtOnce);
  ++looks_;
  std::vector<Found> found;
  for (Known* known : due) {
    known->looked = looks_;
    known->acted = false;
    look_at(*known, found);
  }
  return found;
}

void ImportGuard::look_at(Known& known, std::vector<Found>& found) {
  const auto process = linux_guest::find_process(*kernel_, known.process->pid);
  if (!process || process->start_time != known.process->start_time) return;
  const auto windows = windows_process(*kernel_, *process);
  const Platform platform = windows ? Platform::windows : Platform::linux;
  if (!platforms_.contains(platform)) return;
  std::set<Slot> wrong;
  for (ReplacedImport& import :
       windows ? windows_imports(*kernel_, *process, windows->peb) : elf_.replaced_in(*process)) {
    const Slot slot{import.slot, import.address};
    wrong.insert(slot);
    if (!known.wrong.contains(slot) || known.told.size() >= kMost ||
        !known.told.insert(slot).second)
      continue;
    found.push_back({.process = known.process, .platform = platform, .import = std::move(import)});
  }
  // Those that were told need no further look.
  std::erase_if(wrong, [&](const Slot& slot) { return known.told.contains(slot); });
  known.wrong = std::move(wrong);
}

}  // namespace glasshook::monitor
