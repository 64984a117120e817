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
    {"process_created", "process", "start", "created process", change},
    {"process_terminated", "process", "end", "ended", change},
    {"process_opened", "process", "access", "opened process", change},
    {"process_memory_allocated", "process", "change", "allocated memory in", notable},
    {"process_memory_protected", "process", "change", "made executable in", notable},
    {"process_section_mapped", "process", "change", "mapped section into", notable},
    {"process_section_unmapped", "process", "change", "unmapped section of", notable},
    {"process_thread_created", "process", "change", "created thread in", notable},
    {"process_apc_queued", "process", "change", "queued APC to", notable},
    {"process_context_set", "process", "change", "set context of", notable},
    {"process_suspended", "process", "change", "suspended", change},
    {"process_resumed", "process", "change", "resumed", change},
    {"process_handle_duplicated", "process", "change", "duplicated handle", change},
    {"process_injected", "process", "change", "injected code into", notable},
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
    {"file_attribute_changed", "file", "change", "set attribute of", change},
    {"file_times_changed", "file", "change", "changed times of", change},
    {"file_copied", "file", "creation", "copied", change},
    {"directory_listed", "file", "access", "listed", routine},
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
    {"name_resolved", "network", "protocol", "looked up", change},
    {"http_requested", "network", "protocol", "requested", change},
    {"service_created", "configuration", "creation", "created service", notable},
    {"service_started", "process", "start", "started service", change},
    {"service_stopped", "process", "end", "stopped service", change},
    {"service_deleted", "configuration", "deletion", "deleted service", change},
    {"object_created", "process", "info", "made object", change},
    {"object_opened", "process", "info", "opened object", routine},
    {"keyboard_watched", "process", "info", "listened to keys by", notable},
    {"clipboard_read", "process", "access", "read clipboard", notable},
    {"clipboard_written", "process", "change", "wrote clipboard", change},
    {"crypto_key_made", "process", "info", "made key by", change},
    {"time_used", "process", "info", "waited and looked", routine},
    {"kernel_module_loaded", "driver", "start", "loaded module", notable},
    {"bpf_program_loaded", "driver", "start", "loaded BPF", notable},
    {"registry_key_opened", "registry", "access", "opened key", routine},
    {"registry_key_created", "registry", "creation", "created key", change},
    {"registry_key_deleted", "registry", "deletion", "deleted key", change},
    {"registry_key_renamed", "registry", "change", "renamed key", change},
    {"registry_value_queried", "registry", "access", "read value", routine},
    {"registry_value_set", "registry", "change", "set value", change},
    {"registry_value_deleted", "registry", "deletion", "deleted value", change},
    {"kernel_table_changed", "driver", "change", "redirected kernel", notable},
    {"kernel_entry_changed", "driver", "change", "moved kernel entry", notable},
    {"kernel_code_modified", "driver", "change", "changed kernel code", notable},
    {"kernel_module_hidden", "driver", "change", "hidden module", notable},
    {"process_hidden", "process", "change", "hidden process", notable},
    {"library_loaded", "library", "start", "loaded library", routine},
    {"code_executed_unbacked", "process", "change", "ran unbacked code", notable},
    {"code_modified", "process", "change", "ran changed code", notable},
    {"import_replaced", "process", "change", "replaced import", notable},
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
