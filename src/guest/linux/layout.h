// Where the members that introspection needs lie in this kernel's structures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest/linux/types.h"

namespace glasshook::linux_guest {

/// Byte offset of a member; absent when this kernel has no such member. Reading an absent member
/// fails like reading unmapped memory does, so versions differ only where they have to.
class Offset {
 public:
  constexpr Offset() = default;
  constexpr explicit Offset(std::uint32_t bytes) : bytes_(bytes), present_(true) {}

  [[nodiscard]] constexpr bool present() const { return present_; }
  [[nodiscard]] constexpr std::uint32_t bytes() const { return bytes_; }
  constexpr Offset operator+(Offset inner) const {
    return present_ && inner.present_ ? Offset{bytes_ + inner.bytes_} : Offset{};
  }

 private:
  std::uint32_t bytes_ = 0;
  bool present_ = false;
};

/// All offsets, resolved once. Groups and members are named after the kernel's; what came or went
/// between 5.10 and 6.12 says so.
struct Layout {
  struct {
    Offset tasks, thread_node, pid, tgid, comm, flags, exit_state, mm, group_leader, real_parent,
        start_boottime, real_cred, fs, files, nsproxy, signal, thread_pid, cgroups, stack, gs_base,
        pid_links;
  } task;
  struct {
    Offset thread_head;
  } signal;
  struct {
    Offset level, numbers;
    std::uint32_t upid_size = 0;
  } pid;
  struct {
    Offset uid, gid, euid, egid;
  } cred;
  struct {
    Offset pgd, exe_file, arg_start, arg_end, start_brk, brk, start_stack, map_count;
    Offset mmap, mm_rb;  ///< before 6.1
    Offset mm_mt;        ///< from 6.1 on: root of the maple tree
  } mm;
  struct {
    Offset start, end, flags, pgoff, file, private_data, ops;
    Offset next, rb;   ///< before 6.1
    Offset anon_name;  ///< from 5.17 on
    std::uint32_t size = 0;
  } vma;
  struct {
    Offset pivot, slot;
    std::uint32_t slots = 0, size = 0;
  } range64, arange64;
  struct {
    Offset left, right;
  } rb;
  struct {
    Offset root, pwd;
  } fs;
  struct {
    Offset mnt, dentry;
  } path;
  struct {
    Offset mnt_ns;
  } nsproxy;
  struct {
    Offset root;
    Offset list;    ///< before 6.8
    Offset mounts;  ///< from 6.8 on: root of a red-black tree
  } mnt_ns;
  struct {
    Offset mnt, parent, mountpoint, ns, list, node;
  } mount;
  struct {
    Offset root, sb;
  } vfsmount;
  struct {
    Offset parent, name, name_length, inode, op, hash_pprev, sb;
  } dentry;
  struct {
    Offset d_dname;
  } dentry_operations;
  struct {
    Offset ino, sb, mode, private_data, mapping;
  } inode;
  struct {
    Offset type, dev, root;
  } super_block;
  struct {
    Offset name;
  } file_system_type;
  struct {
    Offset path, inode, flags, mode, private_data, mapping;
    Offset backing_user_path;  ///< from 6.5 on: the path a file of a stacked file system shows
  } file;
  struct {
    Offset fdt;
  } files;
  struct {
    Offset max_fds, fd;
  } fdtable;
  struct {
    Offset type, sk;
  } socket;
  struct {
    Offset family, state, local4, remote4, local6, remote6, local_port, remote_port, protocol;
  } sock;
  struct {
    Offset addr;
  } unix_sock;
  struct {
    Offset length, name;
  } unix_address;
  struct {
    Offset dfl_cgrp, subsys;
    std::uint32_t subsystems = 0;
  } css_set;
  struct {
    Offset cgroup;
  } css;
  struct {
    Offset kn;
  } cgroup;
  struct {
    Offset parent, name;
  } kernfs_node;
  struct {
    Offset ops;
  } ns_common;
  struct {
    Offset name;
  } ns_operations;
  struct {
    Offset list, name, state, refcnt, kallsyms;
    Offset core_base, core_size, core_code_size;  ///< before 6.4
    Offset mem, mem_base, mem_size;               ///< from 6.4 on: an array, MOD_TEXT first
    std::uint32_t mem_count = 0, mem_entry = 0, name_size = 0;
  } module;
  struct {
    Offset symtab, count, strtab, typetab;
  } mod_kallsyms;
  struct {
    Offset root;          ///< of the first of the two trees, in mod_tree_root
    Offset node, module;  ///< in mod_tree_node
  } mod_tree;
  struct {
    Offset table;  ///< head of the xarray of process ids, in pid_namespace
    Offset tasks;  ///< in pid: lists of tasks by kind of id
    Offset slots;  ///< in xa_node
  } pid_table;
  struct {
    Offset mapping, index, compound_head;
    std::uint32_t size = 0;
  } page;
  struct {
    Offset name;
  } special_mapping, anon_vma_name;

  /// Members that every supported kernel has and this one lacks, as "struct.member".
  std::vector<std::string> missing;

  [[nodiscard]] static Layout of(const KernelTypes& types);
};

}  // namespace glasshook::linux_guest
