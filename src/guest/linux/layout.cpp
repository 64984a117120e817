#include "guest/linux/layout.h"

#include <fmt/format.h>

#include <string_view>

namespace glasshook::linux_guest {
namespace {

/// Looks members up and notes what is missing.
class Resolver {
 public:
  Resolver(const KernelTypes& types, std::vector<std::string>& missing)
      : types_(types), missing_(missing) {}

  /// A member every supported kernel has.
  [[nodiscard]] Offset need(std::string_view structure, std::string_view member) {
    const Offset found = may(structure, member);
    if (!found.present()) missing_.push_back(fmt::format("{}.{}", structure, member));
    return found;
  }
  /// A member some versions have.
  [[nodiscard]] Offset may(std::string_view structure, std::string_view member) const {
    const auto offset = types_.offset(structure, member);
    return offset ? Offset{*offset} : Offset{};
  }
  [[nodiscard]] std::uint32_t size(std::string_view structure) const {
    const auto type = types_.find_struct(structure);
    return type ? static_cast<std::uint32_t>(types_.size(*type)) : 0;
  }
  [[nodiscard]] std::uint32_t length(std::string_view structure, std::string_view member) const {
    const auto type = types_.find_struct(structure);
    const auto found = type ? types_.member(*type, member) : std::nullopt;
    return found ? types_.array_length(found->type) : 0;
  }

 private:
  const KernelTypes& types_;
  std::vector<std::string>& missing_;
};

void resolve_tasks(Layout& l, Resolver& r) {
  l.task = {.tasks = r.need("task_struct", "tasks"),
            .thread_node = r.need("task_struct", "thread_node"),
            .pid = r.need("task_struct", "pid"),
            .tgid = r.need("task_struct", "tgid"),
            .comm = r.need("task_struct", "comm"),
            .flags = r.need("task_struct", "flags"),
            .exit_state = r.need("task_struct", "exit_state"),
            .mm = r.need("task_struct", "mm"),
            .group_leader = r.need("task_struct", "group_leader"),
            .real_parent = r.need("task_struct", "real_parent"),
            .start_boottime = r.need("task_struct", "start_boottime"),
            .real_cred = r.need("task_struct", "real_cred"),
            .fs = r.need("task_struct", "fs"),
            .files = r.need("task_struct", "files"),
            .nsproxy = r.need("task_struct", "nsproxy"),
            .signal = r.need("task_struct", "signal"),
            .thread_pid = r.need("task_struct", "thread_pid"),
            .cgroups = r.may("task_struct", "cgroups"),
            .stack = r.need("task_struct", "stack"),
            .gs_base = r.may("task_struct", "thread.gsbase"),
            .pid_links = r.may("task_struct", "pid_links")};
  l.signal.thread_head = r.need("signal_struct", "thread_head");
  l.pid = {.level = r.need("pid", "level"),
           .numbers = r.need("pid", "numbers"),
           .upid_size = r.size("upid")};
  l.cred = {.uid = r.need("cred", "uid"),
            .gid = r.need("cred", "gid"),
            .euid = r.need("cred", "euid"),
            .egid = r.need("cred", "egid")};
  l.css_set = {.dfl_cgrp = r.may("css_set", "dfl_cgrp"),
               .subsys = r.may("css_set", "subsys"),
               .subsystems = r.length("css_set", "subsys")};
  l.css.cgroup = r.may("cgroup_subsys_state", "cgroup");
  l.cgroup.kn = r.may("cgroup", "kn");
  const Offset parent = r.may("kernfs_node", "parent");
  l.kernfs_node = {.parent = parent.present() ? parent : r.may("kernfs_node", "__parent"),
                   .name = r.may("kernfs_node", "name")};
}

void resolve_memory(Layout& l, Resolver& r) {
  l.mm = {.pgd = r.need("mm_struct", "pgd"),
          .exe_file = r.need("mm_struct", "exe_file"),
          .arg_start = r.need("mm_struct", "arg_start"),
          .arg_end = r.need("mm_struct", "arg_end"),
          .start_brk = r.need("mm_struct", "start_brk"),
          .brk = r.need("mm_struct", "brk"),
          .start_stack = r.need("mm_struct", "start_stack"),
          .map_count = r.may("mm_struct", "map_count"),
          .mmap = r.may("mm_struct", "mmap"),
          .mm_rb = r.may("mm_struct", "mm_rb.rb_node"),
          .mm_mt = r.may("mm_struct", "mm_mt.ma_root")};
  if (!l.mm.mm_mt.present()) l.mm.mmap = r.need("mm_struct", "mmap");
  l.vma = {.start = r.need("vm_area_struct", "vm_start"),
           .end = r.need("vm_area_struct", "vm_end"),
           .flags = r.need("vm_area_struct", "vm_flags"),
           .pgoff = r.need("vm_area_struct", "vm_pgoff"),
           .file = r.need("vm_area_struct", "vm_file"),
           .private_data = r.need("vm_area_struct", "vm_private_data"),
           .ops = r.need("vm_area_struct", "vm_ops"),
           .next = r.may("vm_area_struct", "vm_next"),
           .rb = r.may("vm_area_struct", "vm_rb"),
           .anon_name = r.may("vm_area_struct", "anon_name"),
           .size = r.size("vm_area_struct")};
  l.range64 = {.pivot = r.may("maple_range_64", "pivot"),
               .slot = r.may("maple_range_64", "slot"),
               .slots = r.length("maple_range_64", "slot"),
               .size = r.size("maple_range_64")};
  l.arange64 = {.pivot = r.may("maple_arange_64", "pivot"),
                .slot = r.may("maple_arange_64", "slot"),
                .slots = r.length("maple_arange_64", "slot"),
                .size = r.size("maple_arange_64")};
  l.rb = {.left = r.need("rb_node", "rb_left"), .right = r.need("rb_node", "rb_right")};
  l.page = {.mapping = r.need("page", "mapping"),
            .index = r.may("page", "index"),
            .compound_head = r.need("page", "compound_head"),
            .size = r.size("page")};
  if (!l.page.index.present()) l.page.index = r.may("page", "__folio_index");
  l.special_mapping.name = r.need("vm_special_mapping", "name");
  l.anon_vma_name.name = r.may("anon_vma_name", "name");
}

void resolve_file_systems(Layout& l, Resolver& r) {
  l.fs = {.root = r.need("fs_struct", "root"), .pwd = r.need("fs_struct", "pwd")};
  l.path = {.mnt = r.need("path", "mnt"), .dentry = r.need("path", "dentry")};
  l.nsproxy.mnt_ns = r.need("nsproxy", "mnt_ns");
  l.mnt_ns = {.root = r.need("mnt_namespace", "root"),
              .list = r.may("mnt_namespace", "list"),
              .mounts = r.may("mnt_namespace", "mounts.rb_node")};
  l.mount = {.mnt = r.need("mount", "mnt"),
             .parent = r.need("mount", "mnt_parent"),
             .mountpoint = r.need("mount", "mnt_mountpoint"),
             .ns = r.need("mount", "mnt_ns"),
             .list = r.may("mount", "mnt_list"),
             .node = r.may("mount", "mnt_node")};
  l.vfsmount = {.root = r.need("vfsmount", "mnt_root"), .sb = r.need("vfsmount", "mnt_sb")};
  l.dentry = {.parent = r.need("dentry", "d_parent"),
              .name = r.need("dentry", "d_name.name"),
              .name_length = r.need("dentry", "d_name.len"),
              .inode = r.need("dentry", "d_inode"),
              .op = r.need("dentry", "d_op"),
              .hash_pprev = r.need("dentry", "d_hash.pprev"),
              .sb = r.need("dentry", "d_sb")};
  l.dentry_operations.d_dname = r.need("dentry_operations", "d_dname");
  l.inode = {.ino = r.need("inode", "i_ino"),
             .sb = r.need("inode", "i_sb"),
             .mode = r.need("inode", "i_mode"),
             .private_data = r.need("inode", "i_private"),
             .mapping = r.need("inode", "i_mapping")};
  l.super_block = {.type = r.need("super_block", "s_type"),
                   .dev = r.need("super_block", "s_dev"),
                   .root = r.need("super_block", "s_root")};
  l.file_system_type.name = r.need("file_system_type", "name");
  l.ns_common.ops = r.may("ns_common", "ops");
  l.ns_operations.name = r.may("proc_ns_operations", "name");
}

void resolve_files(Layout& l, Resolver& r) {
  l.file = {.path = r.need("file", "f_path"),
            .inode = r.need("file", "f_inode"),
            .flags = r.need("file", "f_flags"),
            .mode = r.need("file", "f_mode"),
            .private_data = r.need("file", "private_data"),
            .mapping = r.need("file", "f_mapping"),
            .backing_user_path = r.may("backing_file", "user_path")};
  l.files.fdt = r.need("files_struct", "fdt");
  l.fdtable = {.max_fds = r.need("fdtable", "max_fds"), .fd = r.need("fdtable", "fd")};
  l.socket = {.type = r.need("socket", "type"), .sk = r.need("socket", "sk")};
  l.sock = {.family = r.need("sock", "__sk_common.skc_family"),
            .state = r.need("sock", "__sk_common.skc_state"),
            .local4 = r.need("sock", "__sk_common.skc_rcv_saddr"),
            .remote4 = r.need("sock", "__sk_common.skc_daddr"),
            .local6 = r.may("sock", "__sk_common.skc_v6_rcv_saddr"),
            .remote6 = r.may("sock", "__sk_common.skc_v6_daddr"),
            .local_port = r.need("sock", "__sk_common.skc_num"),
            .remote_port = r.need("sock", "__sk_common.skc_dport"),
            .protocol = r.need("sock", "sk_protocol")};
  l.unix_sock.addr = r.may("unix_sock", "addr");
  l.unix_address = {.length = r.may("unix_address", "len"), .name = r.may("unix_address", "name")};
}

void resolve_modules(Layout& l, Resolver& r) {
  l.module = {.list = r.may("module", "list"),
              .name = r.may("module", "name"),
              .state = r.may("module", "state"),
              .refcnt = r.may("module", "refcnt"),
              .kallsyms = r.may("module", "kallsyms"),
              .core_base = r.may("module", "core_layout.base"),
              .core_size = r.may("module", "core_layout.size"),
              .core_code_size = r.may("module", "core_layout.text_size"),
              .mem = r.may("module", "mem"),
              .mem_base = r.may("module_memory", "base"),
              .mem_size = r.may("module_memory", "size"),
              .mem_count = r.length("module", "mem"),
              .mem_entry = r.size("module_memory"),
              .name_size = r.length("module", "name")};
  l.mod_kallsyms = {.symtab = r.may("mod_kallsyms", "symtab"),
                    .count = r.may("mod_kallsyms", "num_symtab"),
                    .strtab = r.may("mod_kallsyms", "strtab"),
                    .typetab = r.may("mod_kallsyms", "typetab")};
  l.mod_tree = {.root = r.may("mod_tree_root", "root.tree") + r.may("rb_root", "rb_node"),
                .node = r.may("mod_tree_node", "node.node"),
                .module = r.may("mod_tree_node", "mod")};
  l.pid_table = {.table = r.may("pid_namespace", "idr.idr_rt.xa_head"),
                 .tasks = r.may("pid", "tasks"),
                 .slots = r.may("xa_node", "slots")};
}

}  // namespace

Layout Layout::of(const KernelTypes& types) {
  Layout layout;
  Resolver resolver{types, layout.missing};
  resolve_tasks(layout, resolver);
  resolve_memory(layout, resolver);
  resolve_file_systems(layout, resolver);
  resolve_files(layout, resolver);
  resolve_modules(layout, resolver);
  return layout;
}

}  // namespace glasshook::linux_guest
