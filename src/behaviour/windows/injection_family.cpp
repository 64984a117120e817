#include "behaviour/windows/injection_family.h"

#include <map>
#include <unordered_set>

#include "behaviour/totals.h"
#include "behaviour/windows/injection_story.h"
#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

using Step = InjectionStory::Step;

// winnt.h, winbase.h
constexpr std::uint64_t kExecutable = 0xf0;  // PAGE_EXECUTE ... PAGE_EXECUTE_WRITECOPY
constexpr std::uint64_t kCreateSuspended = 4;
constexpr std::uint64_t kCurrentProcess = ~std::uint64_t{0};
constexpr std::size_t kContextRcx = 128, kContextRip = 248;  // CONTEXT of x64

class InjectionFamily final : public WindowsTableFamily<InjectionFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-injection"; }
  [[nodiscard]] std::string_view description() const override {
    return "memory, threads and handles of other processes that Windows programs change";
  }

  static std::vector<Rule> rules() {
    using F = InjectionFamily;
    return {{"kernel32!CreateProcessInternalW", &F::on_created},
            {"ntdll!NtOpenProcess", &F::on_opened},
            {"ntdll!NtOpenThread", &F::on_thread_opened},
            {"ntdll!NtAllocateVirtualMemory", &F::on_allocated},
            {"ntdll!NtAllocateVirtualMemoryEx", &F::on_allocated},
            {"ntdll!NtWriteVirtualMemory", &F::on_written},
            {"ntdll!NtProtectVirtualMemory", &F::on_protected},
            {"ntdll!NtMapViewOfSection", &F::on_mapped},
            {"ntdll!NtMapViewOfSectionEx", &F::on_mapped},
            {"ntdll!NtUnmapViewOfSection", &F::on_unmapped},
            {"ntdll!NtUnmapViewOfSectionEx", &F::on_unmapped},
            {"ntdll!NtCreateThreadEx", &F::on_thread_created},
            {"ntdll!NtCreateThread", &F::on_thread_created},
            {"ntdll!NtQueueApcThread", &F::on_apc},
            {"ntdll!NtSetContextThread", &F::on_context},
            {"ntdll!NtSuspendThread", &F::on_suspended},
            {"ntdll!NtSuspendProcess", &F::on_suspended},
            {"ntdll!NtResumeThread", &F::on_resumed},
            {"ntdll!NtResumeProcess", &F::on_resumed},
            {"ntdll!NtDuplicateObject", &F::on_duplicated}};
  }

  void on_end(Context& context) override {
    for (auto& [key, pair] : pairs_) tell_further(pair, context);
    pairs_.clear();
  }

 private:
  struct PairKey {
    std::string actor;         ///< entity id
    std::uint32_t target = 0;  ///< Win32 process id

    auto operator<=>(const PairKey&) const = default;
  };
  /// One process and another that it does something to.
  struct Pair {
    std::shared_ptr<const Process> actor;
    Target target;
    InjectionStory story;
    bool write_told = false;
    std::uint64_t lowest = ~std::uint64_t{0};  ///< of the writes not told one by one
    Totals further;
    std::uint64_t context_start = 0;  ///< where the registers that were set lead to
  };
  /// All are told and forgotten when there are more.
  static constexpr std::size_t kMostPairs = 4096;
  static constexpr std::size_t kMostNewThreads = 4096;

  void returned(const UserCall& call, Context& context) override {
    owners_.see(call);
    WindowsTableFamily::returned(call, context);
  }

  void process_ended(const Process& process, Context& context) override {
    for (auto it = pairs_.lower_bound({process.entity_id, 0});
         it != pairs_.end() && it->first.actor == process.entity_id;) {
      tell_further(it->second, context);
      it = pairs_.erase(it);
    }
  }

  Pair& pair_of(const UserCall& call, const Target& target, Context& context) {
    if (pairs_.size() >= kMostPairs) on_end(context);
    Pair& pair = pairs_[{call.process->entity_id, target.win32_id}];
    pair.actor = call.process;
    if (!target.image.empty() || pair.target.win32_id == 0) {
      const std::string image = target.image.empty() ? pair.target.image : target.image;
      pair.target = target;
      pair.target.image = image;
    }
    return pair;
  }

  Event about(std::string_view action, const Pair& pair) {
    Event event = make_event(action);
    add_target(event, objects(), pair.target);
    return event;
  }

  void on_created(const UserCall& call, Context& context) {
    const Target target = note_created_process(call, objects());
    if (target.win32_id == 0 || (call.raw("dwCreationFlags") & kCreateSuspended) == 0) return;
    // An id can be used again.
    pairs_.erase({call.process->entity_id, target.win32_id});
    pair_of(call, target, context).story.add(Step::created_suspended);
  }

  void on_opened(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.number("ProcessHandle"));
    if (target && target->win32_id != 0) pair_of(call, *target, context).story.add(Step::opened);
  }

  /// OpenThread names the thread alone.
  void on_thread_opened(const UserCall& call, Context&) {
    const ObjectPtr thread = objects().find(call, call.number("ThreadHandle"));
    if (thread != nullptr && thread->process_id == 0)
      thread->process_id = owners_.find(thread->thread_id);
  }

  void on_allocated(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    const std::uint64_t address = call.number("BaseAddress");
    pair.story.add(Step::allocated);
    pair.story.add_memory(address, call.number("RegionSize"));
    Event event = about("process_memory_allocated", pair);
    add(event, "glasshook.address", hex(address));
    add_number(event, "glasshook.bytes", call.number("RegionSize"));
    add(event, "glasshook.protection",
        named(call, call.argument("Protect") != nullptr ? "Protect" : "PageProtection"));
    context.emit(call, std::move(event));
  }

  void on_written(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    const std::uint64_t address = call.raw("BaseAddress");
    const std::uint64_t bytes = call.has_number("NumberOfBytesWritten")
                                    ? call.number("NumberOfBytesWritten")
                                    : call.raw("NumberOfBytesToWrite");
    if (bytes == 0) return;
    pair.story.add(Step::written);
    pair.story.add_memory(address, bytes);
    pair.story.add_content(call.data("Buffer"));
    pair.story.add_written(address, bytes);
    if (pair.write_told) {
      pair.lowest = std::min(pair.lowest, address);
      pair.further.count(bytes, call.ended);
      return;
    }
    pair.write_told = true;
    Event event = about("process_memory_written", pair);
    add(event, "glasshook.method", "NtWriteVirtualMemory");
    add(event, "glasshook.address", hex(address));
    add_number(event, "glasshook.bytes", bytes);
    context.emit(call, std::move(event));
  }

  void tell_further(Pair& pair, Context& context) {
    if (pair.further.empty()) return;
    Event event = make_event("process_memory_written");
    event.process = pair.actor;
    event.time = now();
    add_target(event, objects(), pair.target);
    add(event, "glasshook.method", "NtWriteVirtualMemory");
    add(event, "glasshook.address", hex(pair.lowest));
    add_totals(event, pair.further);
    context.emit(std::move(event));
    pair.further = {};
  }

  void on_protected(const UserCall& call, Context& context) {
    if ((call.raw("NewProtection") & kExecutable) == 0) return;
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    pair.story.add(Step::made_executable);
    Event event = about("process_memory_protected", pair);
    add(event, "glasshook.address", hex(call.number("BaseAddress")));
    add_number(event, "glasshook.bytes", call.number("RegionSize"));
    add(event, "glasshook.protection", named(call, "NewProtection"));
    context.emit(call, std::move(event));
  }

  void on_mapped(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    const std::uint64_t address = call.number("BaseAddress"), bytes = call.number("ViewSize");
    pair.story.add(Step::section_mapped);
    pair.story.add_memory(address, bytes);
    pair.story.add_written(address, bytes);
    Event event = about("process_section_mapped", pair);
    add(event, "glasshook.address", hex(address));
    add_number(event, "glasshook.bytes", bytes);
    add(event, "glasshook.protection",
        named(call, call.argument("Win32Protect") != nullptr ? "Win32Protect" : "PageProtection"));
    context.emit(call, std::move(event));
  }

  void on_unmapped(const UserCall& call, Context& context) {
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    pair.story.add(Step::image_unmapped);
    Event event = about("process_section_unmapped", pair);
    add(event, "glasshook.address", hex(call.raw("BaseAddress")));
    context.emit(call, std::move(event));
  }

  void on_thread_created(const UserCall& call, Context& context) {
    const ObjectPtr thread = objects().find(call, call.number("ThreadHandle"));
    const auto target = other_process(call, objects(), call.raw("ProcessHandle"));
    if (thread != nullptr) thread->process_id = target ? target->win32_id : call.win32_process_id;
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    // CreateRemoteThread makes it suspended and resumes it: that is no step of its own.
    if (thread != nullptr && new_threads_.size() < kMostNewThreads) new_threads_.insert(thread->id);
    pair.story.add(Step::thread_created);
    const std::uint64_t start = call.raw("StartRoutine");
    Event event = about("process_thread_created", pair);
    if (start != 0) add(event, "glasshook.address", hex(start));
    context.emit(call, std::move(event));
    tell_started(call, pair, InjectionStart::remote_thread, start, context);
  }

  void on_apc(const UserCall& call, Context& context) {
    const auto target = other_thread(call, objects(), owners_, call.raw("ThreadHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    pair.story.add(Step::apc_queued);
    // QueueUserAPC passes a routine of its own and the program's function as an argument.
    std::uint64_t start = call.raw("ApcRoutine");
    for (const char* argument : {"ApcArgument1", "ApcArgument2", "ApcArgument3"})
      if (!pair.story.has_memory_at(start) && pair.story.has_memory_at(call.raw(argument)))
        start = call.raw(argument);
    Event event = about("process_apc_queued", pair);
    add(event, "glasshook.address", hex(start));
    context.emit(call, std::move(event));
    tell_started(call, pair, InjectionStart::apc, start, context);
  }

  void on_context(const UserCall& call, Context& context) {
    const auto target = other_thread(call, objects(), owners_, call.raw("ThreadHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    pair.story.add(Step::context_set);
    // A thread that has not run yet begins in ntdll, which calls what rcx points to.
    const std::uint64_t rip = call.number("ThreadContext", kContextRip);
    const std::uint64_t rcx = call.number("ThreadContext", kContextRcx);
    const bool by_ntdll = !pair.story.has_memory_at(rip) && pair.story.has_memory_at(rcx);
    pair.context_start = by_ntdll ? rcx : rip;
    Event event = about("process_context_set", pair);
    if (pair.context_start != 0) add(event, "glasshook.address", hex(pair.context_start));
    context.emit(call, std::move(event));
  }

  void on_suspended(const UserCall& call, Context& context) {
    change_running(call, false, context);
  }
  void on_resumed(const UserCall& call, Context& context) { change_running(call, true, context); }

  void change_running(const UserCall& call, bool resumed, Context& context) {
    const bool whole = call.argument("ProcessHandle") != nullptr;
    if (!whole) {
      const ObjectPtr thread = objects().find(call, call.raw("ThreadHandle"));
      if (thread != nullptr && resumed && new_threads_.erase(thread->id) > 0) return;
    }
    const auto target = whole ? other_process(call, objects(), call.raw("ProcessHandle"))
                              : other_thread(call, objects(), owners_, call.raw("ThreadHandle"));
    if (!target) return;
    Pair& pair = pair_of(call, *target, context);
    pair.story.add(resumed ? Step::thread_resumed : Step::thread_suspended);
    Event event = about(resumed ? "process_resumed" : "process_suspended", pair);
    add(event, "glasshook.method", std::string{call.name()});
    context.emit(call, std::move(event));
    if (!resumed) return;
    if (pair.story.has(Step::context_set))
      tell_started(call, pair, InjectionStart::thread_context, pair.context_start, context);
    else if (pair.story.has(Step::created_suspended))
      tell_started(call, pair, InjectionStart::resumed, 0, context);
  }

  /// The whole story, when what was put into the target begins to run.
  void tell_started(const UserCall& call, Pair& pair, InjectionStart how, std::uint64_t start,
                    Context& context) {
    if (!pair.story.take_fresh()) return;
    Event event = about("process_injected", pair);
    add(event, "threat.technique.id", std::vector{std::string{pair.story.technique(how, start)}});
    add(event, "glasshook.injection.method", std::string{pair.story.method(how, start)});
    add(event, "glasshook.injection.steps", pair.story.step_names());
    add_known(event, "glasshook.injection.library", pair.story.library());
    if (start != 0) add(event, "glasshook.injection.start", hex(start));
    add(event, "glasshook.address", hex(pair.story.first_address()));
    add_number(event, "glasshook.bytes", pair.story.bytes());
    context.emit(call, std::move(event));
  }

  void on_duplicated(const UserCall& call, Context& context) {
    const std::uint64_t copy = call.number("TargetHandle");
    const auto from = other_process(call, objects(), call.raw("SourceProcessHandle"));
    const auto to = other_process(call, objects(), call.raw("TargetProcessHandle"));
    if (!from && !to) {
      // A real handle to oneself.
      if (call.raw("SourceHandle") != kCurrentProcess) return;
      const ObjectPtr self = objects().find_or_unknown(call, copy);
      self->kind = ObjectKind::process;
      self->process_id = call.win32_process_id;
      self->unresolved = false;
      return;
    }
    const Pair& pair = pair_of(call, to ? *to : *from, context);
    Event event = about("process_handle_duplicated", pair);
    add(event, "glasshook.duplicate.direction", to ? "into" : "out_of");
    const ObjectPtr object = objects().find(call, to ? call.raw("SourceHandle") : copy);
    if (object != nullptr) {
      add_known(event, "glasshook.duplicate.type", std::string{name_of(object->kind)});
      add_known(event, "glasshook.duplicate.name", object->name);
    }
    context.emit(call, std::move(event));
  }

  std::map<PairKey, Pair> pairs_;
  ThreadOwners owners_;
  std::unordered_set<std::uint64_t> new_threads_;  ///< objects: made here, not resumed yet
};

}  // namespace

std::unique_ptr<Family> make_injection_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<InjectionFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
