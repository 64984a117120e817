// BTF of a small made-up kernel: the structures the hook compiler knows, at odd offsets.
#pragma once

#include <stdexcept>

#include "guest/btf_builder.h"
#include "guest/linux/types.h"

namespace glasshook::hook::test {

inline linux_guest::KernelTypes fake_types() {
  using Builder = linux_guest::BtfBuilder;
  constexpr std::uint32_t kSigned = BTF_INT_SIGNED;
  const auto byte = [](std::uint32_t offset) { return offset * 8; };
  Builder b;
  const auto int_type = b.integer("int", 4, kSigned);
  const auto uint_type = b.integer("unsigned int", 4);
  const auto long_type = b.integer("long int", 8, kSigned);
  const auto ulong_type = b.integer("long unsigned int", 8);
  const auto char_type = b.integer("char", 1, kSigned);
  const auto short_type = b.integer("short int", 2, kSigned);
  const auto char_pointer = b.pointer(char_type);
  const auto void_pointer = b.pointer(0);
  const auto pid_type = b.alias(BTF_KIND_TYPEDEF, "pid_t", int_type);
  b.alias(BTF_KIND_TYPEDEF, "umode_t", b.alias(BTF_KIND_TYPEDEF, "u16", b.integer("u16", 2)));
  b.enumeration("iter_type", {{"ITER_UBUF", 5}, {"ITER_IOVEC", 1}});

  const auto qstr =
      b.structure("qstr", 16, {{"hash", ulong_type, 0}, {"name", char_pointer, byte(8)}});
  const auto hash_node = b.structure("hlist_bl_node", 16,
                                     {{"next", void_pointer, 0}, {"pprev", void_pointer, byte(8)}});
  const auto super = b.structure("super_block", 64, {{"s_dev", uint_type, byte(16)}});
  const auto super_pointer = b.pointer(super);
  const auto kuid = b.structure("kuid_t", 4, {{"val", uint_type, 0}});
  const auto inode = b.structure("inode", 128,
                                 {{"i_mode", short_type, 0},
                                  {"i_uid", kuid, byte(4)},
                                  {"i_ino", ulong_type, byte(64)},
                                  {"i_size", long_type, byte(72)}});
  const auto inode_pointer = b.pointer(inode);
  // A struct that points to itself has the id after the pointer to it.
  const auto dentry_pointer = b.pointer(inode_pointer + 2);
  const auto dentry = b.structure("dentry", 192,
                                  {{"d_hash", hash_node, byte(8)},
                                   {"d_parent", dentry_pointer, byte(24)},
                                   {"d_name", qstr, byte(32)},
                                   {"d_inode", inode_pointer, byte(48)},
                                   {"d_sb", super_pointer, byte(104)}});
  (void)dentry;
  const auto vfsmount = b.structure("vfsmount", 32, {{"mnt_root", dentry_pointer, byte(8)}});
  const auto vfsmount_pointer = b.pointer(vfsmount);
  const auto mount_pointer = b.pointer(vfsmount_pointer + 2);
  b.structure("mount", 128,
              {{"mnt_parent", mount_pointer, byte(16)},
               {"mnt_mountpoint", dentry_pointer, byte(24)},
               {"mnt", vfsmount, byte(32)}});
  const auto path =
      b.structure("path", 16, {{"mnt", vfsmount_pointer, 0}, {"dentry", dentry_pointer, byte(8)}});
  const auto path_pointer = b.pointer(path);
  const auto fs = b.structure("fs_struct", 64, {{"root", path, byte(24)}});
  // struct file { union { bit fields; }; struct path f_path; ... }
  const auto flags = b.structure({}, 8,
                                 {{"f_low", uint_type, (3u << 24) | 0},
                                  {"f_signed", int_type, (5u << 24) | 3},
                                  {"f_wide", uint_type, (20u << 24) | 12}},
                                 true);
  const auto numbers = b.array(uint_type, 4);
  const auto file = b.structure("file", 160,
                                {{"f_path", path, byte(16)},
                                 {"f_inode", inode_pointer, byte(32)},
                                 {{}, flags, byte(64)},
                                 {"f_numbers", numbers, byte(72)},
                                 {"f_pos", long_type, byte(96)},
                                 {"f_owner", inode_pointer, byte(104)}});
  const auto file_pointer = b.pointer(file);
  const auto filename_pointer = b.pointer(b.structure("filename", 32, {{"name", char_pointer, 0}}));
  const auto mm = b.structure("mm_struct", 256, {{"exe_file", file_pointer, byte(200)}});
  const auto comm = b.array(char_type, 16);
  const auto mm_pointer = b.pointer(mm);
  const auto fs_pointer = b.pointer(fs);
  const auto nsproxy_pointer =
      b.pointer(b.structure("nsproxy", 64, {{"mnt_ns", void_pointer, byte(24)}}));
  const auto task_pointer = b.pointer(nsproxy_pointer + 2);
  b.structure("task_struct", 1024,
              {{"flags", uint_type, byte(44)},
               {"stack", void_pointer, byte(32)},
               {"mm", mm_pointer, byte(400)},
               {"pid", pid_type, byte(500)},
               {"tgid", pid_type, byte(504)},
               {"real_parent", task_pointer, byte(512)},
               {"group_leader", task_pointer, byte(560)},
               {"start_boottime", ulong_type, byte(600)},
               {"comm", comm, byte(704)},
               {"fs", fs_pointer, byte(728)},
               {"signal", void_pointer, byte(744)},
               {"nsproxy", nsproxy_pointer, byte(752)}});
  b.structure("pt_regs", 168,
              {{"orig_ax", ulong_type, byte(120)},
               {"ip", ulong_type, byte(128)},
               {"sp", ulong_type, byte(152)}});

  b.function("vfs_open", b.prototype(int_type, {{"path", path_pointer}, {"file", file_pointer}}));
  b.function("vfs_read", b.prototype(long_type, {{"file", file_pointer},
                                                 {"buf", char_pointer},
                                                 {"count", ulong_type},
                                                 {"mode", short_type},
                                                 {"owner", kuid}}));
  b.function("vfs_unlink",
             b.prototype(int_type, {{"dir", inode_pointer}, {"dentry", dentry_pointer}}));
  b.function("do_filp_open",
             b.prototype(file_pointer, {{"dfd", int_type}, {"pathname", filename_pointer}}));
  b.function("wake_up_new_task", b.prototype(0, {{"p", task_pointer}}));
  b.function("release_task", b.prototype(0, {{"p", task_pointer}}));
  auto types = linux_guest::KernelTypes::parse(b.blob());
  if (!types) throw std::runtime_error(types.error().message);
  return std::move(*types);
}

}  // namespace glasshook::hook::test
