#include "hook/path_walk.h"

#include "hook/context.h"

namespace glasshook::hook {
namespace {

using capture::Builder;
using capture::Label;
using capture::Op;
using capture::Reg;
using capture::Space;

/// NAME_MAX (include/uapi/linux/limits.h).
constexpr std::uint32_t kMaxName = 255;

constexpr Reg kDentry{0}, kMount{1}, kRootDentry{2}, kMountRoot{3}, kRootMount{4}, kParent{5},
    kName{6}, kStatus{7}, kSteps{8}, kFlags{9};
static_assert(kMountRoot.number == kRootDentry.number + 1, "append_names() stops at either");
constexpr Reg kLeaf = kMount;  ///< of a walk that crosses no mounts

/// The pieces both walks share. Every jump to `done` has set kStatus.
class Walk {
 public:
  Walk(Builder& builder, const GuestLayout& layout)
      : builder_(builder),
        layout_(layout),
        done_(builder.new_label()),
        loop_(builder.new_label()),
        faulted_(builder.new_label()) {}

  [[nodiscard]] Label faulted() const { return faulted_; }

  void load(Reg into, Reg base, std::int32_t offset) {
    builder_.load_memory(into, base, offset, 8, Space::kernel);
  }

  void end(std::uint8_t status) { builder_.move(kStatus, std::uint64_t{status}).jump(done_); }

  void again() { builder_.jump_back(loop_); }

  /// Sets flags for the leaf: deleted when it hangs in no hash chain but has a parent.
  void start() {
    load(kParent, kDentry, layout_.dentry.parent);
    load(kName, kDentry, layout_.dentry.hash_pprev);
    builder_.jump_fault(faulted_).move(kSteps, std::uint64_t{kPathSteps});
    const Label attached = builder_.new_label();
    builder_.jump_if(Op::jump_eq, kParent, kDentry, attached)
        .jump_if(Op::jump_ne, kName, std::uint64_t{0}, attached)
        .move(kFlags, std::uint64_t{kPathDeleted})
        .bind(attached)
        .bind(loop_);
  }

  /// Ends the walk as truncated after the last step.
  void check_steps() {
    const Label more = builder_.new_label();
    builder_.jump_if(Op::jump_ne, kSteps, std::uint64_t{0}, more);
    end(kPathTruncated);
    builder_.bind(more);
  }
  void count_step() { builder_.alu(Op::sub, kSteps, std::uint64_t{1}); }

  void load_parent_and_name() {
    load(kParent, kDentry, layout_.dentry.parent);
    load(kName, kDentry, layout_.dentry.name);
    builder_.jump_fault(faulted_);
  }

  /// Up to the root of the mount, or of the task; the dentry becomes 0 where there is neither.
  void append_names() {
    builder_.append_chain(kDentry, kRootDentry, kSteps, layout_.dentry.parent, layout_.dentry.name,
                          kMaxName);
  }

  void append_name() { builder_.append_string(kName, kMaxName, Space::kernel); }

  void finish() {
    builder_.bind(faulted_)
        .move(kStatus, std::uint64_t{kPathFaulted})
        .bind(done_)
        .alu(Op::bit_or, kStatus, kFlags)
        .end_list(kStatus);
  }

 private:
  Builder& builder_;
  const GuestLayout& layout_;
  Label done_, loop_, faulted_;
};

/// The task's root, as dentry and struct mount. A task on its way out has none: then no dentry
/// compares equal.
void load_task_root(Builder& builder, Walk& walk, const GuestLayout& layout) {
  const Label known = builder.new_label();
  walk.load(kRootMount, kTaskRegister, layout.task.fs);
  walk.load(kRootDentry, kRootMount, layout.root.dentry);
  walk.load(kRootMount, kRootMount, layout.root.mount);
  builder.alu(Op::sub, kRootMount, static_cast<std::uint64_t>(layout.mount.vfsmount))
      .jump_fault(known)
      .bind(known);
}

/// At the root of a mount: goes on at its mount point, or ends at the top of the mount tree.
void cross_mount(Builder& builder, Walk& walk, const GuestLayout& layout) {
  const Label mounted = builder.new_label();
  walk.load(kParent, kMount, layout.mount.parent);
  walk.load(kDentry, kMount, layout.mount.mountpoint);
  builder.jump_fault(walk.faulted()).jump_if(Op::jump_ne, kParent, kMount, mounted);
  walk.end(kPathUnreachable);
  builder.bind(mounted).move(kMount, kParent);
  walk.load(kMountRoot, kMount, layout.mount.vfsmount + layout.mount.root);
  builder.jump_fault(walk.faulted());
  walk.again();
}

}  // namespace

// The steps of prepend_path() in fs/d_path.c.
void emit_path(Builder& builder, const GuestLayout& layout, std::uint16_t field) {
  Walk walk(builder, layout);
  const Label not_root = builder.new_label();
  const Label component = builder.new_label();
  const Label attached = builder.new_label();

  builder.begin_list(field).move(kFlags, std::uint64_t{0});
  load_task_root(builder, walk, layout);
  walk.load(kMount, kDentry, layout.path.mount);
  walk.load(kDentry, kDentry, layout.path.dentry);
  builder.alu(Op::sub, kMount, static_cast<std::uint64_t>(layout.mount.vfsmount));
  walk.load(kMountRoot, kMount, layout.mount.vfsmount + layout.mount.root);
  walk.start();

  builder.jump_if(Op::jump_ne, kDentry, kRootDentry, not_root)
      .jump_if(Op::jump_ne, kMount, kRootMount, not_root);
  walk.end(kPathComplete);
  builder.bind(not_root);
  walk.check_steps();
  builder.jump_if(Op::jump_ne, kDentry, kMountRoot, component);
  walk.count_step();
  cross_mount(builder, walk, layout);

  builder.bind(component);
  walk.append_names();
  builder.jump_fault(walk.faulted()).jump_if(Op::jump_ne, kDentry, std::uint64_t{0}, attached);
  walk.end(kPathUnreachable | kPathUnattached);
  builder.bind(attached);
  walk.again();
  walk.finish();
}

void emit_dentry(Builder& builder, const GuestLayout& layout, std::uint16_t field) {
  Walk walk(builder, layout);
  const Label attached = builder.new_label();
  const Label alone = builder.new_label();

  builder.begin_list(field).move(kFlags, std::uint64_t{0}).move(kLeaf, kDentry);
  walk.start();
  walk.check_steps();
  walk.count_step();
  walk.load_parent_and_name();
  builder.jump_if(Op::jump_ne, kParent, kDentry, attached)
      .jump_if(Op::jump_eq, kDentry, kLeaf, alone);
  walk.end(kPathComplete);
  builder.bind(alone);
  walk.append_name();
  walk.end(kPathComplete | kPathUnattached);
  builder.bind(attached);
  walk.append_name();
  builder.move(kDentry, kParent);
  walk.again();
  walk.finish();
}

void emit_dentry_words(Builder& builder, const GuestLayout& layout, std::uint16_t field) {
  constexpr Reg kSuperBlock{2}, kLeafWord{3}, kInode{4}, kNamespace{5}, kTaskMount{6}, kTaskRoot{7};
  const Label negative = builder.new_label();
  const Label unreadable = builder.new_label();
  const Label rootless = builder.new_label();
  builder.load_memory(kSuperBlock, kLeaf, layout.dentry.super_block, 8, Space::kernel)
      .load_memory(kInode, kLeaf, layout.dentry.inode, 8, Space::kernel)
      .move(kLeafWord, kLeaf)
      .jump_if(Op::jump_eq, kInode, std::uint64_t{0}, negative)
      .load_memory(kInode, kInode, layout.inode_number, 8, Space::kernel)
      .bind(negative)
      .jump_fault(unreadable)
      // A task on its way out has neither: zeros.
      .load_memory(kNamespace, kTaskRegister, layout.task.nsproxy, 8, Space::kernel)
      .load_memory(kTaskRoot, kTaskRegister, layout.task.fs, 8, Space::kernel)
      .load_memory(kNamespace, kNamespace, layout.mount_namespace, 8, Space::kernel)
      .load_memory(kTaskMount, kTaskRoot, layout.root.mount, 8, Space::kernel)
      .load_memory(kTaskRoot, kTaskRoot, layout.root.dentry, 8, Space::kernel)
      .jump_fault(rootless)
      .bind(rootless)
      .emit_words(field, kSuperBlock, kDentryWords)
      .bind(unreadable);
}

}  // namespace glasshook::hook
