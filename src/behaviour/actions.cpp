#include "behaviour/actions.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace glasshook::behaviour {
namespace {

using enum Weight;

constexpr auto kActions = std::to_array<ActionInfo>({
    {"process_started", "process", "start", "forked", routine},
    {"process_executed", "process", "start", "executed", change},
    {"process_executed_from_memory", "process", "start", "executed memory", notable},
    {"process_exited", "process", "end", "exited", routine},
    {"process_traced", "process", "access", "traced", notable},
    {"process_memory_written", "process", "change", "wrote memory of", notable},
    {"signal_sent", "process", "info", "signalled", change},
    {"credentials_changed", "process", "change", "changed credentials", notable},
    {"file_opened", "file", "access", "opened", routine},
    {"file_created", "file", "creation", "created", change},
    {"file_read", "file", "access", "read", routine},
    {"file_written", "file", "change", "wrote", change},
    {"file_renamed", "file", "change", "renamed", change},
    {"file_deleted", "file", "deletion", "deleted", change},
    {"file_linked", "file", "creation", "linked", change},
    {"file_symlinked", "file", "creation", "symlinked", change},
    {"file_truncated", "file", "change", "truncated", change},
    {"file_permissions_changed", "file", "change", "changed mode of", change},
    {"file_owner_changed", "file", "change", "changed owner of", change},
    {"file_attribute_changed", "file", "change", "changed xattr of", change},
    {"directory_created", "file", "creation", "made directory", change},
    {"directory_deleted", "file", "deletion", "removed directory", change},
    {"filesystem_mounted", "configuration", "creation", "mounted", notable},
    {"filesystem_unmounted", "configuration", "deletion", "unmounted", notable},
    {"memory_file_created", "file", "creation", "made memory file", notable},
    {"network_connected", "network", "connection", "connected to", change},
    {"network_listening", "network", "start", "listens on", change},
    {"network_accepted", "network", "connection", "accepted from", change},
    {"network_closed", "network", "end", "closed", routine},
    {"dns_queried", "network", "protocol", "asked DNS", change},
    {"kernel_module_loaded", "driver", "start", "loaded module", notable},
    {"bpf_program_loaded", "driver", "start", "loaded BPF", notable},
    {"kernel_table_changed", "driver", "change", "redirected kernel", notable},
    {"library_loaded", "library", "start", "loaded library", routine},
    {"code_executed_unbacked", "process", "change", "ran unbacked code", notable},
    {"code_modified", "process", "change", "ran changed code", notable},
    {"api_bypassed", "process", "info", "bypassed API", notable},
    {"api_called", "api", "access", "called", routine},
});

}  // namespace

std::span<const ActionInfo> actions() { return kActions; }

const ActionInfo* find_action(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const ActionInfo*> map;
    for (const ActionInfo& action : kActions) map.emplace(action.name, &action);
    return map;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

Event make_event(std::string_view action) {
  Event event;
  event.action = action;
  if (const ActionInfo* info = find_action(action)) {
    event.action = info->name;
    event.category = info->category;
  }
  return event;
}

}  // namespace glasshook::behaviour
