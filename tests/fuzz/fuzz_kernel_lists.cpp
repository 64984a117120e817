// Kernel structures a hostile guest has bent: words of a small kernel's heap are overwritten, many
// of them with pointers back into the heap, and everything is read.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "guest/fake_kernel.h"
#include "guest/linux/code_page.h"
#include "guest/linux/files.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/modules.h"
#include "guest/linux/path.h"
#include "guest/linux/pid_table.h"
#include "guest/linux/process.h"

using namespace glasshook;               // NOLINT
using namespace glasshook::linux_guest;  // NOLINT

namespace {

/// A process with memory areas, files, mounts and a module.
struct Scene {
  explicit Scene(FakeVersion version) : guest(version) {
    const Gva root = guest.add_dentry({}, "/", super_block), leaf = guest.add_dentry(root, "f");
    const Gva mnt = guest.add_mount(root, {}, {}, super_block), file = guest.add_file(mnt, leaf);
    add_memory(version, file);
    add_files(file);
    add_mounts(version, mnt, root);
    const Gva module = guest.make("module");
    guest.put(module, "module", "kallsyms", guest.make("mod_kallsyms"));
    guest.list_add(guest.modules, module + guest.offset("module", "list"));
    add_trees(module);
    guest.finish();
    pristine.assign(guest.heap().begin(), guest.heap().end());
    kernel = std::make_unique<LinuxKernel>(guest.kernel());
  }

  void add_memory(FakeVersion version, Gva file) {
    guest.put(vma, "vm_area_struct", "vm_start", std::uint64_t{0x10000});
    guest.put(vma, "vm_area_struct", "vm_end", std::uint64_t{0x20000});
    guest.put(vma, "vm_area_struct", "vm_file", file);
    if (!version.maple_tree) {
      guest.put(mm, "mm_struct", "mmap", vma);
      guest.put(mm, "mm_struct", "mm_rb.rb_node", vma + guest.offset("vm_area_struct", "vm_rb"));
      return;
    }
    const Gva node = guest.allocate(256, 256);
    guest.put(node + guest.offset("maple_range_64", "pivot"), std::uint64_t{0xffff});
    guest.put(node + guest.offset("maple_range_64", "pivot") + 8, std::uint64_t{0x1ffff});
    guest.put(node + guest.offset("maple_range_64", "slot") + 8, vma.value);
    guest.put(mm, "mm_struct", "mm_mt.ma_root", node.value | 1 << 3 | 6);
  }

  void add_files(Gva file) {
    const Gva files = guest.make("files_struct"), table = guest.make("fdtable"),
              array = guest.allocate(64), fs = guest.make("fs_struct");
    guest.put(array, file.value);
    guest.put(table, "fdtable", "max_fds", 8u);
    guest.put(table, "fdtable", "fd", array);
    guest.put(files, "files_struct", "fdt", table);
    guest.put(task, "task_struct", "files", files);
    guest.put(task, "task_struct", "fs", fs);
    guest.put(file, "file", "private_data", guest.make("socket"));
  }

  void add_mounts(FakeVersion version, Gva mnt, Gva root) {
    const Gva nsproxy = guest.make("nsproxy"), ns = guest.make("mnt_namespace");
    const Gva mount = mnt - guest.offset("mount", "mnt");
    guest.put(task, "task_struct", "nsproxy", nsproxy);
    guest.put(nsproxy, "nsproxy", "mnt_ns", ns);
    guest.put(super_block, "super_block", "s_root", root);
    if (version.mount_tree) {
      guest.put(ns, "mnt_namespace", "mounts.rb_node", mount + guest.offset("mount", "mnt_node"));
      return;
    }
    guest.list_init(ns + guest.offset("mnt_namespace", "list"));
    guest.list_add(ns + guest.offset("mnt_namespace", "list"),
                   mount + guest.offset("mount", "mnt_list"));
  }

  /// The table of process ids and the tree of modules.
  void add_trees(Gva module) {
    const Gva ids = guest.make("xa_node"), id = guest.make("pid"),
              node = guest.make("mod_tree_node");
    guest.put(guest.variable("init_pid_ns", guest.size("pid_namespace")), "pid_namespace",
              "idr.idr_rt.xa_head", ids.value | 2);
    guest.put(ids + guest.offset("xa_node", "slots") + 8, id.value);
    guest.put(id + guest.offset("pid", "tasks") + 8,
              (task + guest.offset("task_struct", "pid_links") + 16).value);
    guest.put(node, "mod_tree_node", "mod", module);
    guest.put(guest.variable("mod_tree", guest.size("mod_tree_root")) +
                  guest.offset("mod_tree_root", "root.tree"),
              (node + guest.offset("mod_tree_node", "node.node")).value);
  }

  FakeKernel guest;
  Gva super_block = guest.make("super_block");
  Gva task = guest.add_process(7, "sh"), mm = guest.add_mm(task),
      vma = guest.make("vm_area_struct");
  std::vector<std::byte> pristine;
  std::unique_ptr<LinuxKernel> kernel;
};

/// Overwrites words: each 8 bytes of input say where and with what.
void bend(Scene& scene, const std::uint8_t* data, std::size_t size) {
  const auto heap = scene.guest.heap();
  std::memcpy(heap.data(), scene.pristine.data(), scene.pristine.size());
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + i, 8);
    const std::uint64_t at = (word & 0xffff) * 8 % (heap.size() - 8);
    const std::uint64_t value = word >> 17;
    const bool pointer = (word >> 16 & 1) != 0;
    const std::uint64_t target =
        FakeGuest::kDirectMap.value + FakeGuest::kHeap + value % heap.size();
    const std::uint64_t written = pointer ? target : value;
    std::memcpy(heap.data() + at, &written, 8);
  }
}

void read_all(const Scene& scene) {
  const LinuxKernel& kernel = *scene.kernel;
  (void)processes(kernel);
  (void)threads(kernel, scene.task);
  (void)areas(kernel, scene.mm, {});
  (void)code_page(kernel, scene.mm, Gva{0x10010});
  (void)open_files(kernel, scene.task);
  (void)mount_points_of(kernel, scene.super_block, view_of(kernel, scene.task));
  (void)symbols_with_modules(kernel);
  (void)listed_processes(kernel);
  (void)numbered_processes(kernel);
  (void)modules_by_address(kernel);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Scene newest{FakeVersion{}};
  static Scene oldest{{.maple_tree = false, .mount_tree = false, .module_memory = false}};
  for (Scene* scene : {&newest, &oldest}) {
    bend(*scene, data, std::min<std::size_t>(size, 1024));
    read_all(*scene);
  }
  return 0;
}
