// A made-up running kernel: tasks, files and mounts in guest memory, and a machine to run capture
// programs against it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "capture/executable.h"
#include "capture/machine.h"
#include "capture/rate_limiter.h"
#include "capture/record.h"
#include "capture/set_table.h"
#include "hook/compiler.h"
#include "hook/fake_types.h"
#include "memory/test_guest.h"

namespace glasshook::hook::test {

class FakeKernel {
 public:
  static constexpr std::uint64_t kKernel = 0xffff'8880'0000'0000;  ///< where kernel memory begins
  static constexpr std::uint64_t kUser = 0x7f00'0000'0000;         ///< where user memory begins
  static constexpr std::uint64_t kThreadSize = 16384;
  static constexpr std::uint64_t kCurrentOffset = 0x40;
  static constexpr std::uint64_t kKernelSize = 2 << 20;  ///< one large page, as a kernel has it
  static constexpr std::size_t kUserPages = 4;

  FakeKernel() : types_(fake_types()), symbols_({{Gva{0xffffffff81000000}, 'T', "init_task"}}) {
    kernel_space_ = guest_.new_space();
    process_space_ = guest_.new_space();
    for (const AddressSpace space : {kernel_space_, process_space_})
      guest_.map(space, Gva{kKernel}, kKernelBase, kKernelSize);
    user_base_ = guest_.new_page();
    for (std::size_t i = 1; i < kUserPages; ++i) guest_.new_page();
    for (std::size_t i = 0; i < kUserPages; ++i)
      guest_.map(process_space_, Gva{kUser + i * kPageSize}, user_page(i));
    target_.layout = make_guest_layout(types_, symbols_, kCurrentOffset, kThreadSize).value();
    target_.types = &types_;
    target_.symbols = &symbols_;
    per_cpu_ = allocate(256);
    make_root();
    task = make_task(100, 100, "shell");
    run_as(task);
    cpu.kernel_gs = per_cpu_;
    cpu.gpr[4] = stack_ = allocate(256) + 128;
  }

  // Memory ------------------------------------------------------------------------------------

  std::uint64_t allocate(std::size_t bytes) {
    const std::uint64_t address = kKernel + used_;
    used_ += (bytes + 15) & ~std::size_t{15};
    EXPECT_LE(used_, kKernelSize);
    return address;
  }
  std::uint64_t text(std::string_view value) {
    const std::uint64_t address = allocate(value.size() + 1);
    guest_.write(gpa(address), value);
    return address;
  }
  template <class T = std::uint64_t>
  void put(std::uint64_t address, T value) {
    guest_.store(gpa(address), value);
  }
  std::uint64_t user_text(std::uint64_t offset, std::string_view value) {
    guest_.write(gpa(kUser + offset), value);
    return kUser + offset;
  }
  /// Takes a user page away, or brings it back.
  void map_user_page(std::size_t index, bool present) {
    guest_.map(process_space_, Gva{kUser + index * kPageSize}, user_page(index), kPageSize,
               present ? test_rights() : 0);
  }

  [[nodiscard]] std::uint32_t offset(std::string_view structure, std::string_view member) const {
    return types_.offset(structure, member).value();
  }
  void set(std::string_view structure, std::uint64_t object, std::string_view member,
           std::uint64_t value) {
    put(object + offset(structure, member), value);
  }

  // Kernel objects ----------------------------------------------------------------------------

  std::uint64_t make_dentry(std::string_view name, std::uint64_t parent = 0,
                            std::uint64_t inode_number = 0) {
    const std::uint64_t dentry = allocate(192);
    set("dentry", dentry, "d_parent", parent == 0 ? dentry : parent);
    set("dentry", dentry, "d_name.name", text(name));
    set("dentry", dentry, "d_hash.pprev", parent == 0 ? 0 : dentry);
    set("dentry", dentry, "d_sb", 0x5b);
    if (inode_number != 0) {
      const std::uint64_t inode = allocate(128);
      set("inode", inode, "i_ino", inode_number);
      set("dentry", dentry, "d_inode", inode);
    }
    return dentry;
  }
  /// Mounts a file system with root `dentry` at `mountpoint` of `parent`; 0: at the top.
  std::uint64_t make_mount(std::uint64_t dentry, std::uint64_t parent = 0,
                           std::uint64_t mountpoint = 0) {
    const std::uint64_t mount = allocate(128);
    set("mount", mount, "mnt_parent", parent == 0 ? mount : parent);
    set("mount", mount, "mnt_mountpoint", mountpoint == 0 ? dentry : mountpoint);
    set("mount", mount, "mnt.mnt_root", dentry);
    return mount;
  }
  std::uint64_t make_path(std::uint64_t mount, std::uint64_t dentry) {
    const std::uint64_t path = allocate(16);
    write_path(path, mount, dentry);
    return path;
  }
  void write_path(std::uint64_t path, std::uint64_t mount, std::uint64_t dentry) {
    set("path", path, "mnt", mount + offset("mount", "mnt"));
    set("path", path, "dentry", dentry);
  }
  std::uint64_t make_file(std::uint64_t mount, std::uint64_t dentry) {
    const std::uint64_t file = allocate(160);
    write_path(file + offset("file", "f_path"), mount, dentry);
    return file;
  }
  std::uint64_t make_task(std::uint32_t pid, std::uint32_t tgid, std::string_view comm,
                          std::uint64_t leader = 0) {
    const std::uint64_t made = allocate(1024);
    put<std::uint32_t>(made + offset("task_struct", "pid"), pid);
    put<std::uint32_t>(made + offset("task_struct", "tgid"), tgid);
    set("task_struct", made, "group_leader", leader == 0 ? made : leader);
    set("task_struct", made, "start_boottime", 1'000'000u + tgid);
    guest_.write(gpa(made + offset("task_struct", "comm")), comm);
    const std::uint64_t fs = allocate(64);
    write_path(fs + offset("fs_struct", "root"), root_mount, root);
    set("task_struct", made, "fs", fs);
    const std::uint64_t mm = allocate(256);
    set("mm_struct", mm, "exe_file",
        make_file(root_mount, make_dentry("sh", make_dentry("bin", root))));
    set("task_struct", made, "mm", mm);
    const std::uint64_t stack = allocate(kThreadSize);
    set("task_struct", made, "stack", stack);
    const std::uint64_t registers = stack + kThreadSize - 168;
    set("pt_regs", registers, "ip", 0x401000 + tgid);
    set("pt_regs", registers, "sp", 0x7ffe'0000 + tgid);
    set("pt_regs", registers, "orig_ax", 257);
    return made;
  }
  void run_as(std::uint64_t some_task) { put(per_cpu_ + kCurrentOffset, some_task); }

  // Running -----------------------------------------------------------------------------------

  /// Sets the registers of the six first arguments and the stack for the rest.
  void arguments(const std::vector<std::uint64_t>& values) {
    constexpr std::array<std::size_t, 6> kRegisters = {7, 6, 2, 1, 8, 9};
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i < kRegisters.size())
        cpu.gpr[kRegisters[i]] = values[i];
      else
        put(stack_ + 8 * (i - 5), values[i]);
    }
  }
  /// The same for a function of 64-bit Windows.
  void windows_arguments(const std::vector<std::uint64_t>& values) {
    constexpr std::array<std::size_t, 4> kRegisters = {1, 2, 8, 9};
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i < kRegisters.size())
        cpu.gpr[kRegisters[i]] = values[i];
      else
        put(stack_ + 0x28 + 8 * (i - 4), values[i]);
    }
  }
  capture::Outcome run(const capture::Program& program) {
    const capture::Environment environment{.ram = &guest_.ram(),
                                           .kernel_space = kernel_space_,
                                           .sets = &sets,
                                           .limiters = limiters.get()};
    cpu.space = process_space_;
    capture::RecordHeader header;
    header.timestamp = now;
    last = capture::run(capture::Executable(program), cpu, environment, saved, header, work_);
    record = {};
    has_record = last.outcome == capture::Outcome::sent || last.outcome == capture::Outcome::budget;
    if (has_record) {
      EXPECT_TRUE(capture::RecordView::parse(std::span{buffer_}.first(last.record_size), record));
    }
    return last.outcome;
  }

  Result<hypervisor::HookPrograms> compile(const HookSpec& spec) const {
    std::optional<linux_guest::Prototype> prototype;
    if (!spec.functions.empty()) prototype = types_.find_function(spec.functions.front());
    return hook::compile(spec, prototype ? &*prototype : nullptr, target_, {1});
  }

  [[nodiscard]] std::uint64_t word(std::uint16_t field, std::size_t index = 0) const {
    const capture::FieldView* view = record.find(field);
    EXPECT_NE(view, nullptr) << "field " << field;
    return view ? view->word(index) : 0;
  }
  [[nodiscard]] std::string string(std::uint16_t field) const {
    const capture::FieldView* view = record.find(field);
    EXPECT_NE(view, nullptr) << "field " << field;
    return view ? std::string(view->text()) : "";
  }

  Target& target() { return target_; }
  [[nodiscard]] const linux_guest::KernelTypes& types() const { return types_; }
  AddressSpace& kernel_space() { return kernel_space_; }
  glasshook::test::TestGuest& guest() { return guest_; }

  capture::CpuState cpu;
  capture::SavedSlots saved{};
  capture::SetTable sets = capture::SetTable::create(64).value();
  std::unique_ptr<capture::RateLimiterTable> limiters =
      std::make_unique<capture::RateLimiterTable>(1000);
  std::uint64_t now = 1'000'000;
  capture::RunResult last;
  capture::RecordView record;
  bool has_record = false;

  std::uint64_t task = 0;
  std::uint64_t root = 0;        ///< dentry of "/"
  std::uint64_t root_mount = 0;  ///< struct mount of "/"

 private:
  static constexpr Gpa kKernelBase{kKernelSize};  ///< far from what new_page() gives

  static constexpr std::uint64_t test_rights() { return glasshook::test::TestGuest::kAllRights; }
  [[nodiscard]] Gpa user_page(std::size_t index) const { return user_base_ + index * kPageSize; }
  [[nodiscard]] Gpa gpa(std::uint64_t address) const {
    return address >= kKernel ? kKernelBase + (address - kKernel) : user_base_ + (address - kUser);
  }
  void make_root() {
    root = make_dentry("/");
    root_mount = make_mount(root);
  }

  glasshook::test::TestGuest guest_;
  linux_guest::KernelTypes types_;
  linux_guest::KernelSymbols symbols_;
  Target target_;
  AddressSpace kernel_space_, process_space_;
  Gpa user_base_;
  std::size_t used_ = 0;
  std::uint64_t per_cpu_ = 0, stack_ = 0;
  alignas(8) std::array<std::byte, capture::kMaxRecordBytes> buffer_{};
  capture::Workspace work_{buffer_};
};

/// A spec that records at entry.
inline HookSpec entry_spec(std::string function, std::vector<Capture> captures,
                           std::vector<std::string> when = {}) {
  HookSpec spec;
  spec.functions = {std::move(function)};
  spec.entry = {.when = std::move(when), .captures = std::move(captures), .enabled = true};
  return spec;
}

}  // namespace glasshook::hook::test
