#include "behaviour/windows/registry_family.h"

#include "behaviour/windows/autostart.h"
#include "behaviour/windows/nt_path.h"
#include "behaviour/windows/registry_data.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::uint32_t kCreated = 1;  // REG_CREATED_NEW_KEY, winnt.h
/// How registry editors and Sysmon show a value without a name.
constexpr std::string_view kDefaultValue = "(Default)";

std::string shown_value(const std::string& name) {
  return name.empty() ? std::string(kDefaultValue) : name;
}

/// registry.hive, .key, .path: of `HKLM\Software\x`, and of a value in it when that is named.
void add_registry_path(Event& event, const Object& key, const std::string* value) {
  const std::string& path = key.name;
  if (!key.unresolved && path.starts_with("HK")) {
    const std::size_t end = std::min(path.find('\\'), path.size());
    add(event, "registry.hive", path.substr(0, end));
    if (end < path.size()) add(event, "registry.key", path.substr(end + 1));
  }
  if (value == nullptr) return add_known(event, "registry.path", path);
  const std::string shown = shown_value(*value);
  add(event, "registry.path", path.empty() ? shown : join(path, shown));
  add(event, "registry.value", shown);
}

class RegistryFamily final : public WindowsTableFamily<RegistryFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  std::string_view name() const override { return "windows-registry"; }
  std::string_view description() const override {
    return "keys and values of the registry, and what is done to them";
  }

  static std::vector<Rule> rules() {
    return {{"ntdll!NtCreateKey", &RegistryFamily::on_create},
            {"ntdll!NtCreateKeyTransacted", &RegistryFamily::on_create},
            {"ntdll!NtOpenKey", &RegistryFamily::on_open},
            {"ntdll!NtOpenKeyEx", &RegistryFamily::on_open},
            {"ntdll!NtOpenKeyTransacted", &RegistryFamily::on_open},
            {"ntdll!NtOpenKeyTransactedEx", &RegistryFamily::on_open},
            {"ntdll!NtDeleteKey", &RegistryFamily::on_delete},
            {"ntdll!NtRenameKey", &RegistryFamily::on_rename},
            {"ntdll!NtSetValueKey", &RegistryFamily::on_set_value},
            {"ntdll!NtQueryValueKey", &RegistryFamily::on_query_value},
            {"ntdll!NtEnumerateValueKey", &RegistryFamily::on_enumerate_value},
            {"ntdll!NtDeleteValueKey", &RegistryFamily::on_delete_value}};
  }

 private:
  void on_create(const UserCall& call, Context& context) {
    const bool known = call.has_number("Disposition", 0, 4);
    const bool created = known && call.number("Disposition", 0, 4) == kCreated;
    tell_opened(call, created ? "registry_key_created" : "registry_key_opened", !known, context);
  }

  void on_open(const UserCall& call, Context& context) {
    tell_opened(call, "registry_key_opened", false, context);
  }

  void tell_opened(const UserCall& call, std::string_view action, bool maybe_created,
                   Context& context) {
    const std::uint64_t handle = call.number("KeyHandle");
    const ObjectPtr key = objects().find(call, handle);
    if (key == nullptr) return;
    Event event = event_of(action, *key, handle, nullptr);
    if (const api::ArgumentValue* access = call.argument("DesiredAccess"))
      add_known(event, "glasshook.open.access", access->text);
    // The program did not ask, so it was not told.
    add_flag(event, "glasshook.registry.maybe_created", maybe_created);
    context.emit(call, std::move(event));
  }

  void on_delete(const UserCall& call, Context& context) {
    tell(call, "registry_key_deleted", nullptr, context);
  }

  void on_rename(const UserCall& call, Context& context) {
    const std::uint64_t handle = call.raw("KeyHandle");
    const ObjectPtr key = objects().find_or_unknown(call, handle);
    Event event = event_of("registry_key_renamed", *key, handle, nullptr);
    if (const api::NestedValue* name = call.nested("NewName", "")) {
      const std::size_t end = key->name.rfind('\\');
      key->name = join(end == key->name.npos ? "" : key->name.substr(0, end), name->data);
      add(event, "glasshook.registry.target_path", key->name);
    }
    context.emit(call, std::move(event));
  }

  void on_set_value(const UserCall& call, Context& context) {
    const std::uint64_t handle = call.raw("KeyHandle");
    const ObjectPtr key = objects().find_or_unknown(call, handle);
    const std::string value = value_name(call);
    Event event = event_of("registry_value_set", *key, handle, &value);
    add_registry_data(event, static_cast<std::uint32_t>(call.raw("Type")), call.data("Data"),
                      call.raw("DataSize") & 0xffffffff);
    const std::string_view technique =
        key->unresolved ? std::string_view{}
                        : autostart_technique(join(key->name, shown_value(value)));
    if (!technique.empty()) add(event, "threat.technique.id", std::vector{std::string(technique)});
    context.emit(call, std::move(event));
  }

  void on_query_value(const UserCall& call, Context& context) {
    tell_queried(call, value_name(call), context);
  }

  void on_enumerate_value(const UserCall& call, Context& context) {
    const ValueInformation information = information_of(call);
    if (information.has_data) tell_queried(call, information.name, context);
  }

  void tell_queried(const UserCall& call, const std::string& value, Context& context) {
    const std::uint64_t handle = call.raw("KeyHandle");
    const ObjectPtr key = objects().find_or_unknown(call, handle);
    Event event = event_of("registry_value_queried", *key, handle, &value);
    const ValueInformation information = information_of(call);
    if (information.has_data)
      add_registry_data(event, information.type, information.data, information.size);
    context.emit(call, std::move(event));
  }

  void on_delete_value(const UserCall& call, Context& context) {
    const std::string value = value_name(call);
    tell(call, "registry_value_deleted", &value, context);
  }

  static ValueInformation information_of(const UserCall& call) {
    return read_value_information(static_cast<std::uint32_t>(call.raw("KeyValueInformationClass")),
                                  call.data("KeyValueInformation"));
  }

  static std::string value_name(const UserCall& call) {
    const api::NestedValue* name = call.nested("ValueName", "");
    return name == nullptr ? std::string{} : name->data;
  }

  static Event event_of(std::string_view action, const Object& key, std::uint64_t handle,
                        const std::string* value) {
    Event event = make_event(action);
    add_registry_path(event, key, value);
    add_flag(event, "glasshook.name_truncated", key.truncated);
    add_handle(event, key, handle);
    return event;
  }

  void tell(const UserCall& call, std::string_view action, const std::string* value,
            Context& context) {
    const std::uint64_t handle = call.raw("KeyHandle");
    const ObjectPtr key = objects().find_or_unknown(call, handle);
    context.emit(call, event_of(action, *key, handle, value));
  }
};

}  // namespace

std::unique_ptr<Family> make_registry_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<RegistryFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
