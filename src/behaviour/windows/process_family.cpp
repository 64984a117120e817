#include "behaviour/windows/process_family.h"

#include <map>
#include <set>

#include "behaviour/windows/nt_path.h"
#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::uint64_t kCurrentProcess = ~std::uint64_t{0};

/// What NtCreateUserProcess was asked for.
struct Image {
  std::string path, command_line, directory;
};

class ProcessFamily final : public WindowsTableFamily<ProcessFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-process"; }
  [[nodiscard]] std::string_view description() const override {
    return "processes that Windows programs create, open and end";
  }

  /// CreateProcess, CreateProcessAsUser and their like all come to CreateProcessInternalW, which
  /// alone knows the flags the program gave, and the ids.
  static std::vector<Rule> rules() {
    return {{"kernel32!CreateProcessInternalW", &ProcessFamily::on_created},
            {"ntdll!NtCreateUserProcess", &ProcessFamily::on_user_process},
            {"ntdll!NtOpenProcess", &ProcessFamily::on_opened},
            {"ntdll!NtTerminateProcess", &ProcessFamily::on_terminated}};
  }

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    std::vector<WantedApi> all = WindowsTableFamily::apis();
    for (WantedApi& api : all)
      api.at_entry |= api.selector.ends_with("!CreateProcessInternalW") ||
                      api.selector.ends_with("!NtTerminateProcess");
    return all;
  }

 private:
  using ThreadKey = std::pair<std::string, std::uint32_t>;  ///< entity id, thread
  /// Calls of CreateProcessInternalW under way.
  static constexpr std::size_t kMostCreations = 4096;
  /// Opens told of one process.
  static constexpr std::size_t kMostOpens = 1024;

  static ThreadKey thread_of(const UserCall& call) {
    return {call.process->entity_id, call.thread_id};
  }

  void entered(const UserCall& call, Context& context) override {
    if (!call.process) return;
    if (call.name() == "NtTerminateProcess") {
      if (call.raw("ProcessHandle") == kCurrentProcess) tell_ended(call, nullptr, context);
    } else if (call.name() == "CreateProcessInternalW" && creations_.size() < kMostCreations) {
      creations_.try_emplace(thread_of(call));
    }
  }

  void returned(const UserCall& call, Context& context) override {
    if (!call.succeeded() && call.process && call.name() == "CreateProcessInternalW")
      creations_.erase(thread_of(call));
    WindowsTableFamily::returned(call, context);
  }

  void process_ended(const Process& process, Context&) override {
    opened_.erase(process.entity_id);
    std::erase_if(creations_, [&](const auto& c) { return c.first.first == process.entity_id; });
  }

  void on_user_process(const UserCall& call, Context& context) {
    Image image;
    if (const auto* path = call.nested("ProcessParameters", "ImagePathName"))
      image.path = file_name(path->data).text;
    if (const auto* line = call.nested("ProcessParameters", "CommandLine"))
      image.command_line = line->data;
    if (const auto* directory = call.nested("ProcessParameters", "CurrentDirectory"))
      image.directory = directory->data;
    if (const auto found = creations_.find(thread_of(call)); found != creations_.end()) {
      found->second = std::move(image);
      return;
    }
    Event event = make_event("process_created");
    describe(event, image, {.image = {}, .handle = call.number("ProcessHandle")});
    if (call.raw("ThreadFlags") != 0)
      add(event, "glasshook.create.flags", named(call, "ThreadFlags"));
    context.emit(call, std::move(event));
  }

  void on_created(const UserCall& call, Context& context) {
    const auto node = creations_.extract(thread_of(call));
    Image image = node.empty() ? Image{} : node.mapped();
    if (image.command_line.empty()) image.command_line = call.data("lpCommandLine");
    if (image.path.empty()) image.path = call.data("lpApplicationName");
    Event event = make_event("process_created");
    describe(event, image, note_created_process(call, objects()));
    if (call.raw("dwCreationFlags") != 0)
      add(event, "glasshook.create.flags", named(call, "dwCreationFlags"));
    context.emit(call, std::move(event));
  }

  void describe(Event& event, const Image& image, Target target) {
    target.image = image.path;
    add_target(event, objects(), target);
    if (target.win32_id == 0) {
      add_known(event, "glasshook.target.name", file_part(image.path));
      add_known(event, "glasshook.target.executable", image.path);
    }
    add_known(event, "glasshook.target.command_line", image.command_line);
    add_known(event, "glasshook.target.working_directory", image.directory);
  }

  /// Told once for each process and access.
  void on_opened(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.number("ProcessHandle"));
    if (!target || target->win32_id == 0) return;
    auto& told = opened_[call.process->entity_id];
    const auto access = static_cast<std::uint32_t>(call.raw("DesiredAccess"));
    if (told.size() >= kMostOpens || !told.emplace(target->win32_id, access).second) return;
    Event event = make_event("process_opened");
    add_target(event, objects(), *target);
    add(event, "glasshook.access", named(call, "DesiredAccess"));
    context.emit(call, std::move(event));
  }

  void on_terminated(const UserCall& call, Context& context) {
    // A null handle means the other threads of the caller.
    if (call.raw("ProcessHandle") == 0) return;
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (target) tell_ended(call, &*target, context);
  }

  void tell_ended(const UserCall& call, const Target* target, Context& context) {
    Event event = make_event("process_terminated");
    event.time = call.began;
    if (target != nullptr) add_target(event, objects(), *target);
    add_number(event, "glasshook.exit_status", call.raw("ExitStatus") & 0xffffffff);
    context.emit(call, std::move(event));
  }

  std::map<ThreadKey, Image> creations_;
  std::map<std::string, std::set<std::pair<std::uint32_t, std::uint32_t>>> opened_;
};

}  // namespace

std::unique_ptr<Family> make_process_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<ProcessFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
