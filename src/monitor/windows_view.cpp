#include "monitor/windows_view.h"

namespace glasshook::monitor {

using linux_guest::LinuxKernel;
using linux_guest::ProcessInfo;

namespace {

/// The user half of a process.
class UserMemory final : public windows::ProcessMemory {
 public:
  UserMemory(const LinuxKernel& kernel, const ProcessInfo& process)
      : memory_(kernel.memory(), process.space) {}

  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) const override {
    const Gva last{address + out.size()};
    return !Gva{address}.is_kernel() && !last.is_kernel() && memory_.read(Gva{address}, out);
  }

 private:
  VirtualMemory memory_;
};

}  // namespace

std::optional<WindowsProcess> windows_process(const LinuxKernel& kernel,
                                              const ProcessInfo& process) {
  if (process.mm.is_null()) return std::nullopt;
  const UserMemory memory(kernel, process);
  const auto teb = windows::read_teb(memory, linux_guest::user_gs_base(kernel, process.task));
  if (!teb) return std::nullopt;
  const auto peb = windows::read_peb(memory, teb->peb);
  if (!peb) return std::nullopt;
  auto parameters = windows::read_parameters(memory, peb->parameters);
  return WindowsProcess{
      .teb = *teb,
      .peb = *peb,
      .parameters = parameters ? std::move(*parameters) : windows::ProcessParameters{}};
}

windows::LoadedModules windows_modules(const LinuxKernel& kernel, const ProcessInfo& process,
                                       const windows::Peb& peb) {
  return windows::read_modules(UserMemory(kernel, process), peb.loader_data);
}

std::vector<windows::ReplacedImport> windows_replaced_imports(const LinuxKernel& kernel,
                                                              const ProcessInfo& process,
                                                              const windows::Peb& peb) {
  const UserMemory memory(kernel, process);
  const windows::LoadedModules modules = windows::read_modules(memory, peb.loader_data);
  if (modules.incomplete) return {};
  return windows::replaced_imports(memory, modules.items);
}

}  // namespace glasshook::monitor
