#include "behaviour/injection/injection_family.h"

#include <cstring>
#include <map>

#include "behaviour/support.h"
#include "behaviour/totals.h"

namespace glasshook::behaviour {
namespace {

/// include/uapi/linux/ptrace.h
constexpr std::uint64_t kPtraceSeize = 0x4206;

enum Attach { kAttachPid, kAttachName, kAttachRequest };
enum Poke { kPokePid, kPokeName, kPokeAddress, kPokeBytes };
enum Access { kAccessPid, kAccessName };
enum Writev { kWritevPid, kWritevAddress, kWritevBytes };
enum MemWrite { kMemPid, kMemPosition, kMemBytes };

/// The iovec is the program's own memory, so its first member comes as bytes.
std::uint64_t word_of(std::string_view bytes) {
  std::uint64_t value = 0;
  if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// A write into another process's memory.
struct Write {
  std::uint32_t pid = 0;
  std::string_view name;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::string_view method;  ///< static
};

/// What followed the first write of its kind: one writer, one target, one method.
struct FurtherWrites {
  std::shared_ptr<const Process> writer;
  std::string target_name;
  std::uint64_t lowest = ~std::uint64_t{0};
  Totals totals;
};

class InjectionFamily final : public TableFamily<InjectionFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "injection"; }
  [[nodiscard]] std::string_view description() const override {
    return "processes traced and memory of other processes written";
  }

  static std::vector<Rule> rules() {
    return {
        {at_exit(
             {"ptrace_attach"}, {}, {"ret == 0"},
             {word("pid", "task->tgid"), string("name", "task->comm"), word("request", "request")}),
         &InjectionFamily::on_attach},
        // PTRACE_POKETEXT, POKEDATA of both word sizes; bit 0 of gup_flags is FOLL_WRITE.
        {at_exit({"ptrace_access_vm"}, {"gup_flags & 1"}, {"ret > 0"},
                 {word("pid", "tsk->tgid"), string("name", "tsk->comm"), word("address", "addr"),
                  word("bytes", "ret")}),
         &InjectionFamily::on_poke},
        // Whom a process_vm_writev means: its own argument is a pid of the caller's namespace.
        // Bit 1 of mode is PTRACE_MODE_ATTACH.
        {at_entry({"mm_access"}, {"mode & 2"},
                  {word("pid", "task->tgid"), string("name", "task->comm")}),
         &InjectionFamily::on_access},
        {at_exit({"process_vm_rw"}, {"vm_write != 0"}, {"ret > 0"},
                 {word("pid", "pid"), bytes("address", "rvec", "8", 8), word("bytes", "ret")}),
         &InjectionFamily::on_writev},
        {at_exit({"mem_rw", "mem_write"}, {"(write ?? 1) != 0"}, {"ret > 0"},
                 {word("pid",
                       "container_of(file->f_inode, struct proc_inode, vfs_inode)->pid->"
                       "numbers[0].nr"),
                  word("position", "*ppos"), word("bytes", "ret")}),
         &InjectionFamily::on_mem_write},
    };
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override {
    if (!process) return;
    tell_further(context, [&](const WriteKey& key) {
      return key.writer == key_of(*process) || key.target == process->pid;
    });
  }

  void on_end(Context& context) override {
    tell_further(context, [](const WriteKey&) { return true; });
  }

 private:
  struct WriteKey {
    ProcessKey writer;
    std::uint32_t target = 0;
    std::string_view method;

    auto operator<=>(const WriteKey&) const = default;
  };
  /// Pairs remembered at once; all are told when there are more.
  static constexpr std::size_t kMaxPairs = 4096;
  static constexpr std::size_t kMaxAccesses = 1024;

  void on_attach(const Call& call, Context& context) {
    Event event = make_event("process_traced");
    add_target(event, context, static_cast<std::uint32_t>(call.word(kAttachPid)),
               call.text(kAttachName));
    add(event, "glasshook.method",
        call.word(kAttachRequest) == kPtraceSeize ? "PTRACE_SEIZE" : "PTRACE_ATTACH");
    context.emit(call, std::move(event));
  }

  void on_poke(const Call& call, Context& context) {
    wrote(call, context,
          {.pid = static_cast<std::uint32_t>(call.word(kPokePid)),
           .name = call.text(kPokeName),
           .address = call.word(kPokeAddress),
           .bytes = call.word(kPokeBytes),
           .method = "ptrace"});
  }

  void on_access(const Call& call, Context&) {
    if (accesses_.size() >= kMaxAccesses) accesses_.clear();
    accesses_[call.context(hook::kContextTask)] = {
        static_cast<std::uint32_t>(call.word(kAccessPid)), std::string{call.text(kAccessName)}};
  }

  void on_writev(const Call& call, Context& context) {
    const auto access = accesses_.extract(call.context(hook::kContextTask));
    const auto pid =
        access.empty() ? static_cast<std::uint32_t>(call.word(kWritevPid)) : access.mapped().first;
    if (pid == key_of(call).pid) return;
    wrote(call, context,
          {.pid = pid,
           .name = access.empty() ? std::string_view{} : access.mapped().second,
           .address = word_of(call.text(kWritevAddress)),
           .bytes = call.word(kWritevBytes),
           .method = "process_vm_writev"});
  }

  void on_mem_write(const Call& call, Context& context) {
    const std::uint64_t bytes = call.word(kMemBytes);
    wrote(call, context,
          {.pid = static_cast<std::uint32_t>(call.word(kMemPid)),
           .name = {},
           .address = call.word(kMemPosition) - bytes,  // the position moved on
           .bytes = bytes,
           .method = "/proc/PID/mem"});
  }

  /// The first write is told at once; those that follow are added up.
  void wrote(const Call& call, Context& context, const Write& write) {
    const WriteKey key{key_of(call), write.pid, write.method};
    if (further_.size() >= kMaxPairs) on_end(context);
    const auto [found, first] = further_.try_emplace(key);
    if (first) {
      context.emit(call, describe(context, write));
      return;
    }
    FurtherWrites& further = found->second;
    further.writer = call.process();
    further.target_name = write.name;
    further.lowest = std::min(further.lowest, write.address);
    further.totals.count(write.bytes, call.time());
  }

  static Event describe(Context& context, const Write& write) {
    Event event = make_event("process_memory_written");
    add_target(event, context, write.pid, write.name);
    add(event, "glasshook.method", std::string{write.method});
    add(event, "glasshook.address", hex(write.address));
    add_number(event, "glasshook.bytes", write.bytes);
    return event;
  }

  template <class Which>
  void tell_further(Context& context, Which which) {
    for (auto it = further_.begin(); it != further_.end();) {
      if (!which(it->first)) {
        ++it;
        continue;
      }
      const FurtherWrites& f = it->second;
      if (!f.totals.empty()) {
        Event event = make_event("process_memory_written");
        event.process = f.writer;
        event.time = now();
        add_target(event, context, it->first.target, f.target_name);
        add(event, "glasshook.method", std::string{it->first.method});
        add(event, "glasshook.address", hex(f.lowest));
        add_totals(event, f.totals);
        context.emit(std::move(event));
      }
      it = further_.erase(it);
    }
  }

  std::map<WriteKey, FurtherWrites> further_;
  /// By task: whose memory the thread was let into last.
  std::unordered_map<std::uint64_t, std::pair<std::uint32_t, std::string>> accesses_;
};

}  // namespace

std::unique_ptr<Family> make_injection_family() { return std::make_unique<InjectionFamily>(); }

}  // namespace glasshook::behaviour
