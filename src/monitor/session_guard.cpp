// How a session watches over the guest's kernel.
#include <algorithm>

#include "monitor/session_impl.h"

namespace glasshook::monitor {
namespace {

/// How often the kernel is looked at, at most.
constexpr std::chrono::seconds kInterval{1};
/// A poll that hands over fewer records has handed over all there were.
constexpr std::size_t kCaughtUp = 8192;

/// The kernel's own word where it lets processors enter (arch/x86/kernel/idt.c, cpu/common.c).
hypervisor::KernelEntries entries_of(const linux_guest::LinuxKernel& kernel) {
  constexpr std::uint64_t kDescriptorAddress = 2;  // behind the limit, see lidt
  hypervisor::KernelEntries entries;
  entries.system_call = kernel.symbol("entry_SYSCALL_64").value_or(Gva{});
  if (const auto descriptor = kernel.symbol("idt_descr"))
    entries.interrupt_table =
        Gva{kernel.read<std::uint64_t>(*descriptor + kDescriptorAddress).value_or(0)};
  return entries;
}

}  // namespace

bool Session::Impl::guards_kernel() const {
  return std::ranges::any_of(families_, [](const auto& f) { return f->wants_kernel_checks(); });
}

void Session::Impl::add_entries() {
  entries_ = entries_of(*kernel_);
  if (entries_.system_call.is_null() && entries_.interrupt_table.is_null()) return;
  if (auto added = hooks_->add_entries(entries_); !added)
    hooks_->note_missing("LSTAR, IDTR: " + added.error().message);
}

void Session::Impl::on_entries(const capture::RecordView& record) {
  const capture::FieldView* words = record.find(hook::kFirstCapture);
  if (words == nullptr || !guard_) return;
  tell(guard_->entered(Gva{words->word(kEntriesLstar)}, Gva{words->word(kEntriesIdt)},
                       words->word(kEntriesCpu)));
}

void Session::Impl::guard_kernel() {
  std::set<behaviour::Platform> platforms;
  for (const auto& family : families_)
    if (family->wants_import_checks()) platforms.insert(family->platform());
  if (!platforms.empty()) imports_.emplace(*kernel_, std::move(platforms));
  if (!guards_kernel()) return;
  const auto patching = kernel_->symbols().find("__text_poke");
  const auto functions = hooks_->functions();
  const bool hears_of_patches =
      patching && std::ranges::find(functions, patching->address) != functions.end();
  guard_.emplace(*kernel_, entries_, hears_of_patches, [this](std::uint32_t pid, Gva task) {
    if (auto known = processes_->by_pid(pid)) return known;
    auto read = view_->process(task.value);
    return read && read->pid == pid ? processes_->add(std::move(*read)) : nullptr;
  });
}

void Session::Impl::check_guest(std::size_t handled) {
  // By the guest's records and the ends of polls, so that a replay looks at the same moments.
  if (handled == 0 || handled >= kCaughtUp || last_record_ - guarded_ < kInterval) return;
  guarded_ = last_record_;
  if (guard_) tell(guard_->look(hooks_->functions()));
  if (!imports_) return;
  for (const ImportGuard::Found& found : imports_->look())
    for (auto& family : families_)
      if (family->wants_import_checks() && family->platform() == found.platform)
        family->on_import_replaced(found.process, found.import, last_record_, *this);
}

void Session::Impl::tell(const std::vector<behaviour::KernelTampering>& found) {
  for (const auto& tampering : found)
    for (auto& family : families_) family->on_kernel_tampered(tampering, last_record_, *this);
}

void Session::Impl::kernel_code_patched(std::uint64_t address, std::uint64_t length) {
  if (guard_) guard_->code_patched(Gva{address}, length);
}

void Session::Impl::kernel_entry_set(std::uint64_t lstar, std::uint64_t cpu) {
  if (guard_) tell(guard_->entered(Gva{lstar}, {}, cpu));
}

void Session::Impl::kernel_module_loaded(std::uint64_t module) {
  if (guard_) guard_->module_loaded(Gva{module});
}

}  // namespace glasshook::monitor
