// A fake guest with the structures Linux keeps its processes in, to be filled by hand.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fake_guest.h"

namespace glasshook::linux_guest {

/// Which of the kernel's changing structures the fake has.
struct FakeVersion {
  bool maple_tree = true;     ///< 6.1: memory areas
  bool mount_tree = true;     ///< 6.8: mounts of a namespace
  bool module_memory = true;  ///< 6.4
};

/// Writes objects by member name: `put(task, "task_struct", "pid", 7u)`.
class FakeKernel : public FakeGuest {
 public:
  explicit FakeKernel(FakeVersion version = {}) : version_(version) {
    define_types();
    init_task = variable("init_task", size("task_struct"));
    modules = variable("modules", 16);
    list_init(modules);
    list_init(init_task + offset("task_struct", "tasks"));
    put(init_task, "task_struct", "group_leader", init_task);
  }

  using FakeGuest::put;
  template <class T>
  void put(Gva object, std::string_view type, std::string_view member, T value) {
    FakeGuest::put(object + offset(type, member), value);
  }
  void put(Gva object, std::string_view type, std::string_view member, Gva value) {
    FakeGuest::put(object + offset(type, member), value.value);
  }
  /// By "struct.member"; dots of a longer path belong to the member.
  [[nodiscard]] std::uint32_t offset(std::string_view type, std::string_view member) const {
    return offsets_.at(std::string{type} + "." + std::string{member});
  }
  [[nodiscard]] std::uint32_t size(std::string_view type) const {
    return sizes_.at(std::string{type});
  }
  Gva make(std::string_view type) { return allocate(size(type)); }

  void list_init(Gva head) {
    FakeGuest::put(head, head.value);
    FakeGuest::put(head + 8, head.value);
  }
  /// Appends to a circular list.
  void list_add(Gva head, Gva node) {
    std::uint64_t last = 0;
    (void)read(physical(head + 8), std::as_writable_bytes(std::span{&last, 1}));
    FakeGuest::put(Gva{last}, node.value);
    FakeGuest::put(node, head.value);
    FakeGuest::put(node + 8, last);
    FakeGuest::put(head + 8, node.value);
  }

  /// A single-threaded process in the list of tasks, child of init_task.
  Gva add_process(std::uint32_t pid, std::string_view comm) {
    const Gva task = make("task_struct"), signal = make("signal_struct"), cred = make("cred");
    put(task, "task_struct", "pid", pid);
    put(task, "task_struct", "tgid", pid);
    put(task, "task_struct", "group_leader", task);
    put(task, "task_struct", "real_parent", init_task);
    put(task, "task_struct", "real_cred", cred);
    put(task, "task_struct", "signal", signal);
    put(task, "task_struct", "start_boottime", std::uint64_t{pid} * 1000);
    put_text(task + offset("task_struct", "comm"), comm);
    list_init(signal + offset("signal_struct", "thread_head"));
    list_add(signal + offset("signal_struct", "thread_head"),
             task + offset("task_struct", "thread_node"));
    list_add(init_task + offset("task_struct", "tasks"), task + offset("task_struct", "tasks"));
    return task;
  }
  /// Gives a task an mm with page tables of its own.
  Gva add_mm(Gva task) {
    const Gva mm = make("mm_struct"), pgd = allocate(4096, 4096);
    put(mm, "mm_struct", "pgd", pgd);
    put(task, "task_struct", "mm", mm);
    return mm;
  }
  /// A directory entry below `parent`; its own parent when that is null.
  Gva add_dentry(Gva parent, std::string_view name, Gva super_block = {}) {
    const Gva dentry = make("dentry");
    put(dentry, "dentry", "d_parent", parent.is_null() ? dentry : parent);
    put(dentry, "dentry", "d_name.name", allocate_text(name));
    put(dentry, "dentry", "d_name.len", static_cast<std::uint32_t>(name.size()));
    put(dentry, "dentry", "d_sb", super_block);
    put(dentry, "dentry", "d_hash.pprev", dentry);
    return dentry;
  }
  /// A struct mount of `root`; at the top when `parent` is null. Returns its vfsmount.
  Gva add_mount(Gva root, Gva parent = {}, Gva mountpoint = {}, Gva super_block = {}) {
    const Gva mount = make("mount"), mnt = mount + offset("mount", "mnt");
    put(mnt, "vfsmount", "mnt_root", root);
    put(mnt, "vfsmount", "mnt_sb", super_block);
    const Gva above = parent.is_null() ? mount : parent - offset("mount", "mnt");
    put(mount, "mount", "mnt_parent", above);
    put(mount, "mount", "mnt_mountpoint", mountpoint.is_null() ? root : mountpoint);
    return mnt;
  }
  Gva add_file(Gva mnt, Gva dentry) {
    const Gva file = make("file");
    put(file, "file", "f_path.mnt", mnt);
    put(file, "file", "f_path.dentry", dentry);
    return file;
  }

  Gva init_task, modules;

 private:
  struct Member {
    std::string name, type = "long";
    std::uint32_t count = 0;
  };

  /// Defines a struct whose members follow each other; remembers offsets, also of members of
  /// embedded structs.
  void define(std::string_view name, std::initializer_list<Member> members) {
    std::vector<std::uint32_t> words;
    std::uint32_t at = 0;
    for (const Member& m : members) {
      std::uint32_t type = types_.at(m.type), bytes = sizes_.at(m.type);
      for (const auto& [path, inner] : std::map{offsets_})
        if (path.starts_with(m.type + "."))
          offsets_[fmt::format("{}.{}.{}", name, m.name, path.substr(m.type.size() + 1))] =
              at + inner;
      if (m.count != 0) type = btf.array(type, m.count), bytes *= m.count;
      offsets_[fmt::format("{}.{}", name, m.name)] = at;
      words.insert(words.end(), {btf.text(m.name), type, at * 8});
      at += (bytes + 7) & ~7u;
    }
    types_[std::string{name}] = btf.record(BTF_KIND_STRUCT, name, members.size(), false, at, words);
    sizes_[std::string{name}] = at;
  }
  using FakeGuest::define;
  void basic(std::string_view name, std::uint32_t bytes) {
    types_[std::string{name}] = btf.integer(name, bytes);
    sizes_[std::string{name}] = bytes;
  }

  void define_types();
  void define_task_types();
  void define_memory_types();
  void define_file_types();

  FakeVersion version_;
  std::map<std::string, std::uint32_t> types_, sizes_, offsets_;
};

inline void FakeKernel::define_types() {
  basic("int", 4);
  basic("long", 8);
  basic("short", 2);
  basic("char", 1);
  define("list_head", {{"next"}, {"prev"}});
  define("rb_node", {{"__rb_parent_color"}, {"rb_right"}, {"rb_left"}});
  define("rb_root", {{"rb_node"}});
  define("path", {{"mnt"}, {"dentry"}});
  define_task_types();
  define_memory_types();
  define_file_types();
  define("latch_tree_root", {{"seq", "int"}, {"tree", "rb_root", 2}});
  define("mod_tree_root", {{"root", "latch_tree_root"}});
  define("latch_tree_node", {{"node", "rb_node", 2}});
  define("mod_tree_node", {{"mod"}, {"node", "latch_tree_node"}});
  define("mod_kallsyms", {{"symtab"}, {"num_symtab", "int"}, {"strtab"}, {"typetab"}});
  define("module_memory", {{"base"}, {"size", "int"}});
  define("module_layout", {{"base"}, {"size", "int"}});
  const Member place = version_.module_memory ? Member{"mem", "module_memory", 7}
                                              : Member{"core_layout", "module_layout"};
  define("module", {{"state", "int"},
                    {"list", "list_head"},
                    {"name", "char", 56},
                    place,
                    {"refcnt", "int"},
                    {"kallsyms"}});
}

inline void FakeKernel::define_task_types() {
  define("task_struct", {{"tasks", "list_head"},
                         {"thread_node", "list_head"},
                         {"pid", "int"},
                         {"tgid", "int"},
                         {"comm", "char", 16},
                         {"flags", "int"},
                         {"exit_state", "int"},
                         {"mm"},
                         {"group_leader"},
                         {"real_parent"},
                         {"start_boottime"},
                         {"real_cred"},
                         {"fs"},
                         {"files"},
                         {"nsproxy"},
                         {"signal"},
                         {"thread_pid"},
                         {"cgroups"},
                         {"stack"},
                         {"pid_links", "list_head", 4}});
  define("signal_struct", {{"thread_head", "list_head"}});
  define("upid", {{"nr", "int"}, {"ns"}});
  define("pid", {{"level", "int"}, {"tasks", "long", 4}, {"numbers", "upid", 0}});
  define("xarray", {{"xa_head"}});
  define("idr", {{"idr_rt", "xarray"}});
  define("pid_namespace", {{"idr", "idr"}});
  define("xa_node", {{"shift", "int"}, {"slots", "long", 64}});
  define("cred", {{"uid", "int"}, {"gid", "int"}, {"euid", "int"}, {"egid", "int"}});
  define("css_set", {{"dfl_cgrp"}, {"subsys", "long", 3}});
  define("cgroup_subsys_state", {{"cgroup"}});
  define("cgroup", {{"kn"}});
  define("kernfs_node", {{"parent"}, {"name"}});
  define("pt_regs", {{"regs", "long", 21}});
  define("thread_union", {{"stack", "long", 2048}});
}

inline void FakeKernel::define_memory_types() {
  define("maple_tree", {{"ma_root"}});
  if (version_.maple_tree)
    define("mm_struct", {{"mm_mt", "maple_tree"},
                         {"pgd"},
                         {"exe_file"},
                         {"arg_start"},
                         {"arg_end"},
                         {"start_brk"},
                         {"brk"},
                         {"start_stack"}});
  else
    define("mm_struct", {{"mmap"},
                         {"mm_rb", "rb_root"},
                         {"pgd"},
                         {"exe_file"},
                         {"arg_start"},
                         {"arg_end"},
                         {"start_brk"},
                         {"brk"},
                         {"start_stack"}});
  define("vm_area_struct", {{"vm_start"},
                            {"vm_end"},
                            {"vm_next"},
                            {"vm_rb", "rb_node"},
                            {"vm_flags"},
                            {"vm_pgoff"},
                            {"vm_file"},
                            {"vm_private_data"},
                            {"vm_ops"},
                            {"anon_name"}});
  define("maple_range_64", {{"parent"}, {"pivot", "long", 15}, {"slot", "long", 16}});
  define("maple_arange_64", {{"parent"}, {"pivot", "long", 9}, {"slot", "long", 10}});
  define("page", {{"flags"}, {"compound_head"}, {"mapping"}, {"index"}});
  define("vm_special_mapping", {{"name"}});
  define("anon_vma_name", {{"name", "char", 0}});
}

inline void FakeKernel::define_file_types() {
  define("fs_struct", {{"root", "path"}, {"pwd", "path"}});
  define("nsproxy", {{"mnt_ns"}});
  if (version_.mount_tree)
    define("mnt_namespace", {{"root"}, {"mounts", "rb_root"}});
  else
    define("mnt_namespace", {{"root"}, {"list", "list_head"}});
  define("vfsmount", {{"mnt_root"}, {"mnt_sb"}});
  define("mount", {{"mnt_parent"},
                   {"mnt_mountpoint"},
                   {"mnt", "vfsmount"},
                   {"mnt_ns"},
                   {"mnt_list", "list_head"},
                   {"mnt_node", "rb_node"}});
  define("qstr", {{"hash", "int"}, {"len", "int"}, {"name"}});
  define("hlist_bl_node", {{"next"}, {"pprev"}});
  define("dentry", {{"d_hash", "hlist_bl_node"},
                    {"d_parent"},
                    {"d_name", "qstr"},
                    {"d_inode"},
                    {"d_op"},
                    {"d_sb"}});
  define("dentry_operations", {{"d_dname"}});
  define("inode",
         {{"i_ino"}, {"i_sb"}, {"i_mode", "short"}, {"i_private"}, {"i_mapping"}, {"i_size"}});
  define("address_space", {{"host"}, {"i_pages", "xarray"}});
  btf.enumeration("pageflags", {{"PG_uptodate", 2}, {"PG_dirty", 4}, {"PG_writeback", 15}});
  define("backing_dev_info", {{"capabilities", "int"}});
  define("super_block", {{"s_type"}, {"s_dev", "int"}, {"s_root"}, {"s_bdi"}});
  define("file_system_type", {{"name"}});
  define("file", {{"f_path", "path"},
                  {"f_inode"},
                  {"f_flags", "int"},
                  {"f_mode", "int"},
                  {"private_data"},
                  {"f_mapping"}});
  define("backing_file", {{"file", "file"}, {"user_path", "path"}});
  define("files_struct", {{"fdt"}});
  define("fdtable", {{"max_fds", "int"}, {"fd"}});
  define("socket", {{"type", "short"}, {"sk"}});
  define("sock_common", {{"skc_family", "short"},
                         {"skc_state", "char"},
                         {"skc_daddr", "int"},
                         {"skc_rcv_saddr", "int"},
                         {"skc_dport", "short"},
                         {"skc_num", "short"},
                         {"skc_v6_daddr", "long", 2},
                         {"skc_v6_rcv_saddr", "long", 2}});
  define("sock", {{"__sk_common", "sock_common"}, {"sk_protocol", "short"}});
  define("unix_sock", {{"sk", "sock"}, {"addr"}});
  define("unix_address", {{"refcnt", "int"}, {"len", "int"}, {"name", "char", 0}});
  define("ns_common", {{"ops"}});
  define("proc_ns_operations", {{"name"}});
}

}  // namespace glasshook::linux_guest
