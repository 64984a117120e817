#include "behaviour/process/process_family.h"

#include "behaviour/process/capabilities.h"
#include "behaviour/process/environment.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

// include/linux/sched.h: PF_KTHREAD.
constexpr const char* kNoKernelThread = "(current->flags & 0x200000) == 0";

/// include/linux/sched/signal.h: SIGNAL_GROUP_EXIT.
constexpr std::uint64_t kGroupExit = 4;

// Captures of each hook, in order.
enum Fork {
  kChildTask,
  kChildPid,
  kChildStart,
  kChildMm,
  kOwnMm,
  kChildSpaces,
  kOwnSpaces,
  kChildNamespacePid,
  kChildGroups
};
enum Exec {
  kExecFilename,
  kExecInterpreter,
  kExecFile,
  kExecDirectory,
  kExecName,
  kExecUid,
  kExecEuid,
  kExecLinks,
  kExecGroups,
  kExecArguments,
  kExecEnvironment
};
enum Exit { kExitFlags, kExitGroupCode, kExitLeaderCode };
enum Credentials {
  kNewUid,
  kNewEuid,
  kNewGid,
  kNewEgid,
  kNewCaps,
  kNewUserSpace,
  kOldUid,
  kOldEuid,
  kOldGid,
  kOldEgid,
  kOldCaps,
  kOldUserSpace
};
enum Move { kMovedPid, kMovedStart, kMovedGroups };
enum Signal { kSignalNumber, kSignalPid, kSignalName };

/// A capability set as one word: 6.3 made `cap[2]` into `val`.
std::string capabilities(const std::string& credentials) {
  const std::string set = credentials + "->cap_effective";
  return set + ".val ?? ((unsigned long)" + set + ".cap[0] | (unsigned long)" + set +
         ".cap[1] << 32)";
}

/// "new and current differ in this".
std::string differs(const std::string& member) {
  return "(new->" + member + " - current->real_cred->" + member + ")";
}

hook::HookSpec fork_hook() {
  // A new thread group only: threads share their leader's tgid.
  return at_entry({"wake_up_new_task"}, {"p->pid == p->tgid", "(p->flags & 0x200000) == 0"},
                  {word("task", "p"), word("pid", "p->tgid"), word("start", "p->start_boottime"),
                   word("mm", "p->mm"), word("own_mm", "current->mm"),
                   word("namespaces", "p->nsproxy"), word("own_namespaces", "current->nsproxy"),
                   word("namespace_pid", "p->thread_pid->numbers[p->thread_pid->level].nr"),
                   word("control_groups", "p->cgroups")});
}

hook::HookSpec exec_hook() {
  // The last thing a successful exec does: the new memory holds the arguments, and the bprm still
  // knows the names.
  constexpr std::uint32_t kMaxName = 1024, kMaxArguments = 5120, kMaxEnvironment = 4096;
  return at_entry(
      {"finalize_exec"}, {},
      {string("filename", "bprm->filename", kMaxName),
       string("interpreter", "bprm->interp", kMaxName), path("executable", "current->mm->exe_file"),
       path("directory", "current->fs->pwd"), string("name", "current->comm"),
       word("uid", "current->cred->uid.val"), word("euid", "current->cred->euid.val"),
       word("links", "current->mm->exe_file->f_inode->i_nlink"),
       word("control_groups", "current->cgroups"),
       bytes("arguments", "current->mm->arg_start", "current->mm->arg_end - current->mm->arg_start",
             kMaxArguments),
       bytes("environment", "current->mm->env_start",
             "current->mm->env_end - current->mm->env_start", kMaxEnvironment)});
}

hook::HookSpec move_hook() {
  // Whoever runs containers puts a process into its group from outside, after it has started.
  // A start has no group before, an end none behind.
  hook::HookSpec spec =
      at_entry({"css_set_move_task"}, {"from_cset != 0", "to_cset != 0", "task->pid == task->tgid"},
               {word("pid", "task->tgid"), word("start", "task->start_boottime"),
                word("control_groups", "to_cset")});
  spec.in_scope_only = false;
  return optional(std::move(spec));
}

hook::HookSpec exit_hook() {
  // Both are told by do_exit() whether this was the last thread; looking at the thread count
  // instead would miss it when the last two threads leave at once.
  return at_entry({"taskstats_exit", "disassociate_ctty"},
                  {"group_dead ?? on_exit", kNoKernelThread},
                  {word("flags", "current->signal->flags"),
                   word("group_code", "current->signal->group_exit_code"),
                   word("leader_code", "current->group_leader->exit_code")});
}

hook::HookSpec credentials_hook() {
  // Every exec commits credentials, nearly always the same ones.
  const std::string changed = differs("uid.val") + " | " + differs("euid.val") + " | " +
                              differs("gid.val") + " | " + differs("egid.val") + " | " + "(" +
                              capabilities("new") + ") - (" + capabilities("current->real_cred") +
                              ") != 0";
  std::vector<hook::Capture> captures;
  for (const std::string from : {"new", "current->real_cred"}) {
    captures.push_back(word("uid", from + "->uid.val"));
    captures.push_back(word("euid", from + "->euid.val"));
    captures.push_back(word("gid", from + "->gid.val"));
    captures.push_back(word("egid", from + "->egid.val"));
    captures.push_back(word("capabilities", capabilities(from)));
    captures.push_back(word("user_namespace", from + "->user_ns"));
  }
  return at_entry({"commit_creds"}, {kNoKernelThread, changed}, std::move(captures));
}

hook::HookSpec signal_hook() {
  // `info` 1 is SEND_SIG_PRIV: the kernel's own signals. SIGCHLD to the parent does not come here.
  return at_entry({"do_send_sig_info"},
                  {"p->tgid != current->tgid", "(unsigned long)info != 1", kNoKernelThread},
                  {word("signal", "sig"), word("pid", "p->tgid"), string("name", "p->comm")});
}

/// A file of memfd_create, whose path is its bare name.
bool is_memory_file(std::string_view path) { return path.starts_with("/memfd:"); }

void add_signal(Event& event, std::uint64_t number) {
  add(event, "glasshook.signal.name", signal_name(number));
  add_number(event, "glasshook.signal.number", number);
}

class ProcessFamily final : public TableFamily<ProcessFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "process"; }
  [[nodiscard]] std::string_view description() const override {
    return "processes started, executed and exited, credentials, signals";
  }
  /// Nothing tells it by Windows' own names.
  [[nodiscard]] bool on_by_default(Platform) const override { return true; }

  static std::vector<Rule> rules() {
    return {{choke_point(fork_hook()), &ProcessFamily::on_fork},
            {choke_point(exec_hook()), &ProcessFamily::on_exec},
            {move_hook(), &ProcessFamily::on_move},
            {choke_point(exit_hook()), &ProcessFamily::on_exit},
            {credentials_hook(), &ProcessFamily::on_credentials},
            {signal_hook(), &ProcessFamily::on_signal}};
  }

 private:
  void on_fork(const Call& call, Context& context) {
    Event event = make_event("process_started");
    Process child = call.process() ? *call.process() : Process{};
    child.pid = static_cast<std::uint32_t>(call.word(kChildPid));
    child.namespace_pid = static_cast<std::uint32_t>(call.word(kChildNamespacePid));
    child.start_time = call.word(kChildStart);
    if (auto container = context.container_id(call.word(kChildGroups)))
      child.container_id = std::move(*container);
    event.process = context.process_forked(call, call.word(kChildTask), std::move(child));
    event.thread_id = static_cast<std::uint32_t>(call.word(kChildPid));
    const std::uint64_t mm = call.word(kChildMm);
    add_flag(event, "glasshook.clone.shares_memory", mm != 0 && mm == call.word(kOwnMm));
    add_flag(event, "glasshook.clone.new_namespaces",
             call.word(kChildSpaces) != call.word(kOwnSpaces));
    context.emit(call, std::move(event));
  }

  void on_exec(const Call& call, Context& context) {
    const std::string filename{call.text(kExecFilename)};
    const std::string interpreter{call.text(kExecInterpreter)};
    const ProcessKey key = key_of(call);
    Process image;
    image.pid = key.pid;
    image.start_time = key.start_time;
    image.name = call.text(kExecName);
    image.executable = rooted(context.path(call, kExecFile));
    if (image.executable.empty()) image.executable = filename;
    image.arguments = split_nul(call.text(kExecArguments));
    image.user_id = static_cast<std::uint32_t>(call.word(kExecUid));
    image.working_directory = context.path(call, kExecDirectory);
    if (auto container = context.container_id(call.word(kExecGroups)))
      image.container_id = std::move(*container);
    else if (call.process())
      image.container_id = call.process()->container_id;
    const std::string executable = image.executable;
    const std::shared_ptr<const Process> process = context.process_executed(call, std::move(image));

    const bool deleted = call.has_word(kExecLinks) && call.word(kExecLinks) == 0;
    Event event = make_event("process_executed");
    event.process = process;
    if (filename != executable) add_known(event, "glasshook.exec.filename", filename);
    if (interpreter != filename) add_known(event, "glasshook.exec.interpreter", interpreter);
    add_flag(event, "glasshook.exec.deleted", deleted);
    if (call.word(kExecEuid) != call.word(kExecUid))
      add(event, "user.effective.id", std::to_string(call.word(kExecEuid)));
    add_flag(event, "glasshook.exec.arguments_truncated", was_cut(call, kExecArguments));
    add_environment(event, call);
    context.emit(call, std::move(event));

    if (!deleted || !is_memory_file(executable)) return;
    Event from_memory = make_event("process_executed_from_memory");
    from_memory.process = process;
    add(from_memory, "file.path", executable);
    context.emit(call, std::move(from_memory));
  }

  static bool was_cut(const Call& call, std::size_t capture) {
    const capture::FieldView* field = call.field(capture);
    return field == nullptr || field->truncated() || field->faulted();
  }

  static void add_environment(Event& event, const Call& call) {
    const std::string_view block = call.text(kExecEnvironment);
    add(event, "glasshook.exec.environment_hash", environment_hash(block));
    add_flag(event, "glasshook.exec.environment_truncated", was_cut(call, kExecEnvironment));
    if (auto variables = loader_variables(block); !variables.empty())
      add(event, "process.env_vars", std::move(variables));
  }

  void on_move(const Call& call, Context& context) {
    if (const auto container = context.container_id(call.word(kMovedGroups)))
      context.process_moved(static_cast<std::uint32_t>(call.word(kMovedPid)),
                            call.word(kMovedStart), *container);
  }

  void on_exit(const Call& call, Context& context) {
    // The others first: what they still hold of this process happened before it was gone.
    context.process_exited(call);
    const bool group = (call.word(kExitFlags) & kGroupExit) != 0;
    const std::uint64_t code = call.word(group ? kExitGroupCode : kExitLeaderCode);
    Event event = make_event("process_exited");
    if (const std::uint64_t signal = code & 0x7f; signal != 0) {
      add_signal(event, signal);
      add_flag(event, "glasshook.core_dumped", (code & 0x80) != 0);
    } else {
      add_number(event, "process.exit_code", code >> 8 & 0xff);
    }
    context.emit(call, std::move(event));
  }

  void on_credentials(const Call& call, Context& context) {
    Event event = make_event("credentials_changed");
    const auto number = [&](std::string_view name, std::size_t capture) {
      add_number(event, name, call.word(capture));
    };
    number("glasshook.credentials.old.uid", kOldUid);
    number("glasshook.credentials.old.euid", kOldEuid);
    number("glasshook.credentials.old.gid", kOldGid);
    number("glasshook.credentials.old.egid", kOldEgid);
    number("glasshook.credentials.new.uid", kNewUid);
    number("glasshook.credentials.new.euid", kNewEuid);
    number("glasshook.credentials.new.gid", kNewGid);
    number("glasshook.credentials.new.egid", kNewEgid);
    add(event, "user.effective.id", std::to_string(call.word(kNewEuid)));
    const std::uint64_t gained = call.word(kNewCaps) & ~call.word(kOldCaps);
    const std::uint64_t lost = call.word(kOldCaps) & ~call.word(kNewCaps);
    if (gained != 0)
      add(event, "glasshook.credentials.gained_capabilities", capability_names(gained));
    if (lost != 0) add(event, "glasshook.credentials.lost_capabilities", capability_names(lost));
    add_flag(event, "glasshook.credentials.new_user_namespace",
             call.word(kNewUserSpace) != call.word(kOldUserSpace));
    add_known(event, "glasshook.syscall.name", syscall_name(call.context(hook::kContextSyscall)));
    context.emit(call, std::move(event));
  }

  void on_signal(const Call& call, Context& context) {
    const std::uint64_t number = call.word(kSignalNumber);
    if (number == 0) return;
    Event event = make_event("signal_sent");
    add_signal(event, number);
    add_target(event, context, static_cast<std::uint32_t>(call.word(kSignalPid)),
               call.text(kSignalName));
    context.emit(call, std::move(event));
  }
};

}  // namespace

std::unique_ptr<Family> make_process_family() { return std::make_unique<ProcessFamily>(); }

}  // namespace glasshook::behaviour
