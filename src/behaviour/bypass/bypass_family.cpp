#include "behaviour/bypass/bypass_family.h"

#include <set>

#include "behaviour/bypass/import_event.h"
#include "behaviour/per_image.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

/// x86-64 numbers of execve and execveat. Once they have begun, the memory of the caller is gone.
constexpr std::uint64_t kSysExecve = 59, kSysExecveat = 322;
constexpr std::uint64_t kNoSyscall = ~std::uint64_t{0};

std::string_view origin_name(CodeOrigin origin) {
  switch (origin) {
    case CodeOrigin::other_module:
      return "other_module";
    case CodeOrigin::main_executable:
      return "main_executable";
    case CodeOrigin::anonymous:
      return "anonymous_memory";
    default:
      return "";  // where system calls are expected to come from
  }
}

/// Looks at what the other families hook anyway; hooks nothing but the start of an exec.
class BypassFamily final : public Family {
 public:
  [[nodiscard]] std::string_view name() const override { return "bypass"; }
  [[nodiscard]] std::string_view description() const override {
    return "system calls made without the C library; imports that lead elsewhere";
  }

  [[nodiscard]] std::vector<hook::HookSpec> hooks() const override {
    return {at_entry({"security_bprm_creds_for_exec"}, {}, {})};
  }

  void on_call(const Call& call, Context& context) override { look(call, context); }

  void on_any_call(const Call& call, Context& context) override {
    const std::uint64_t syscall = call.context(hook::kContextSyscall);
    if (syscall != kSysExecve && syscall != kSysExecveat) look(call, context);
  }

  [[nodiscard]] bool wants_import_checks() const override { return true; }
  void on_import_replaced(const std::shared_ptr<const Process>& process,
                          const ReplacedImport& replaced,
                          std::chrono::system_clock::time_point time, Context& context) override {
    context.emit(import_event(process, replaced, time));
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context&) override {
    if (process) told_.forget(*process);
  }

 private:
  using Told = std::set<std::pair<std::uint64_t, CodeOrigin>>;
  /// System calls told for one program.
  static constexpr std::size_t kMaxTold = 1024;

  /// A static program makes every call itself, so the first tells all. Code from elsewhere is told
  /// for each system call it makes.
  void look(const Call& call, Context& context) {
    const std::uint64_t syscall = call.context(hook::kContextSyscall);
    const std::uint64_t address = call.context(hook::kContextUserIp);
    if (syscall == kNoSyscall || address == 0 || !call.process()) return;
    const CodePlace place = context.code_origin(call);
    const std::string_view origin = origin_name(place.origin);
    if (origin.empty()) return;
    Told& told = told_.of(call.process());
    const bool itself = place.origin == CodeOrigin::main_executable;
    if (told.size() >= kMaxTold || !told.emplace(itself ? 0 : syscall, place.origin).second) return;

    Event event = make_event("api_bypassed");
    add_known(event, "glasshook.syscall.name", syscall_name(syscall));
    add_number(event, "glasshook.syscall.number", syscall);
    add(event, "glasshook.bypass.origin", std::string{origin});
    add_known(event, "glasshook.bypass.module", place.module);
    add(event, "glasshook.address", hex(address));
    context.emit(call, std::move(event));
  }

  PerImage<Told> told_;
};

}  // namespace

std::unique_ptr<Family> make_bypass_family() { return std::make_unique<BypassFamily>(); }

}  // namespace glasshook::behaviour
