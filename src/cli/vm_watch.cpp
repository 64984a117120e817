#include "cli/vm_watch.h"

#include <fmt/format.h>

#include "cli/catalogue.h"
#include "cli/diagnostics.h"
#include "cli/interrupts.h"
#include "cli/session_note.h"
#include "cli/vm_locator.h"
#include "cli/walls.h"
#include "cli/watch_loop.h"

namespace glasshook::cli {

Result<int> watch_vm(const std::string& vm, const WatchOptions& options, EventOutputs::Live live,
                     ColorMode color) {
  Interrupts interrupts;
  const auto timeout = timeout_of(options);
  if (!timeout) return std::unexpected(timeout.error());
  const auto tier = tier_of(options);
  if (!tier) return std::unexpected(tier.error());
  auto commands = commands_of(options);
  if (!commands) return std::unexpected(commands.error());
  const auto apis = load_apis(names_apis(options));
  if (!apis) return std::unexpected(apis.error());
  if (auto ok = check_apis(options, apis->view()); !ok) return std::unexpected(ok.error());
  const auto socket = locate_vm(vm);
  if (!socket) return std::unexpected(socket.error());
  auto outputs = EventOutputs::open(options, live, color, apis->view());
  if (!outputs) return std::unexpected(outputs.error());

  const auto begun = std::chrono::steady_clock::now();
  auto probe = attach_socket(*socket, *tier);
  if (!probe) return std::unexpected(probe.error());
  const std::string backend = words_of((*probe)->capabilities());
  monitor::SessionOptions wanted = session_options(options);
  if (wanted.host_id.empty()) wanted.host_id = host_id_of(*socket);
  const std::string host_id = wanted.host_id;
  auto hypervisor = recorded(std::move(*probe), options.record,
                             {.options = wanted, .windows_apis = apis->windows.has_value()});
  if (!hypervisor) return std::unexpected(hypervisor.error());
  if (auto ok = raise_walls(); !ok) return std::unexpected(ok.error());
  const auto session =
      monitor::Session::start(std::move(*hypervisor), apis->view(), std::move(wanted),
                              [&](const behaviour::Event& event) { outputs->write(event); });
  if (!session) return std::unexpected(session.error());
  if (!options.quiet)
    announce(**session, fmt::format("{}, {}", backend, socket->native()),
             std::chrono::steady_clock::now() - begun);
  interrupts.handle_in_order();

  outputs->begin(host_id);
  const auto end = watch({.session = **session,
                          .outputs = *outputs,
                          .interrupts = interrupts,
                          .timeout = *timeout,
                          .commands = *commands ? &**commands : nullptr},
                         [] { return false; });
  const auto concluded = conclude(**session, *outputs);
  if (!end) return std::unexpected(end.error());
  if (!concluded) return std::unexpected(concluded.error());
  if (*end == WatchEnd::vm_gone && !options.quiet) print_note("the VM has ended");
  return kSuccess;
}

}  // namespace glasshook::cli
