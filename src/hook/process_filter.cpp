#include "hook/process_filter.h"

#include "hook/context.h"

namespace glasshook::hook {
namespace {

using capture::Builder;
using capture::Label;
using capture::Op;
using capture::PatternKind;
using capture::Reg;
using capture::Space;

/// Jumps to `none` when the string at `address` matches none of the globs; uses r1.
void emit_match_any(Builder& builder, Reg address, const std::vector<std::string>& globs,
                    bool file_name_only, Label none) {
  constexpr Reg kMatched{1};
  const Label matched = builder.new_label();
  for (const std::string& glob : globs) {
    const std::size_t slash = file_name_only ? glob.rfind('/') : std::string::npos;
    const auto pattern = builder.pattern(
        PatternKind::glob, slash == std::string::npos ? glob : glob.substr(slash + 1));
    builder.match_string(kMatched, address, pattern, Space::kernel)
        .jump_if(Op::jump_ne, kMatched, std::uint64_t{0}, matched);
  }
  builder.jump(none).bind(matched);
}

}  // namespace

void emit_process_filter(Builder& builder, const ProcessFilter& filter, const GuestLayout& layout,
                         Label out_of_scope) {
  if (filter.is_empty()) return;
  constexpr Reg kAddress{0}, kProcess{8}, kFound{9};
  const Label in_scope = builder.new_label();
  builder.move(kProcess, kPidRegister).alu(Op::shift_right, kProcess, std::uint64_t{32});
  if (filter.tree)
    builder.set_has(kFound, kProcess, filter.tree_set)
        .jump_if(Op::jump_ne, kFound, std::uint64_t{0}, in_scope);
  if (filter.selects_nothing()) {
    builder.jump(out_of_scope).bind(in_scope);
    return;
  }
  if (!filter.pids.empty())
    builder.set_has(kFound, kProcess, filter.pid_set)
        .jump_if(Op::jump_eq, kFound, std::uint64_t{0}, out_of_scope);
  if (!filter.comms.empty()) {
    builder.load_memory(kAddress, kTaskRegister, layout.task.group_leader, 8, Space::kernel)
        .alu(Op::add, kAddress, static_cast<std::uint64_t>(layout.task.comm));
    emit_match_any(builder, kAddress, filter.comms, false, out_of_scope);
  }
  if (!filter.exes.empty()) {
    // A kernel thread has no mm: then the last pointer is unreadable and nothing matches.
    builder.load_memory(kAddress, kTaskRegister, layout.task.mm, 8, Space::kernel)
        .load_memory(kAddress, kAddress, layout.exe_file, 8, Space::kernel)
        .load_memory(kAddress, kAddress, layout.file_path + layout.path.dentry, 8, Space::kernel)
        .load_memory(kAddress, kAddress, layout.dentry.name, 8, Space::kernel);
    emit_match_any(builder, kAddress, filter.exes, true, out_of_scope);
  }
  if (filter.tree) builder.set_add(kProcess, filter.tree_set);
  builder.bind(in_scope);
}

std::vector<HookSpec> tree_hooks() {
  // The new task does not run before wake_up_new_task, so that none of its calls is missed.
  HookSpec fork;
  fork.functions = {"wake_up_new_task"};
  fork.choke_point = true;
  fork.follow_into = "((struct task_struct *)arg0)->tgid";
  // The thread group leader is released last, and after it the id may be used again. (On exec by
  // another thread the old leader has taken that thread's id: pid and tgid differ.)
  HookSpec release;
  release.functions = {"release_task"};
  release.in_scope_only = false;
  release.entry.when = {"((struct task_struct *)arg0)->pid == ((struct task_struct *)arg0)->tgid"};
  release.forget = "((struct task_struct *)arg0)->tgid";
  return {fork, release};
}

}  // namespace glasshook::hook
