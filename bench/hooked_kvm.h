// A probe under a KVM that does nothing but exit, with one hook on a small made-up kernel.
#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "hook/fake_kernel.h"
#include "hypervisor/kvm/kvm_probe.h"

namespace glasshook::hypervisor::kvm {

using hook::Capture;
using hook::CaptureKind;
using hook::test::FakeKernel;

/// As the stealth tier tells that a file is opened: its path and what else is known of it.
inline hook::HookSpec file_opened() {
  hook::HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.entry = {.when = {"file->f_pos == 0"},
                .captures = {{"path", CaptureKind::path, "file->f_path"},
                             {"file", CaptureKind::word, "file"},
                             {"inode", CaptureKind::word, "file->f_inode->i_ino"},
                             {"mode", CaptureKind::word, "file->f_inode->i_mode"},
                             {"flags", CaptureKind::word, "file->f_wide"}},
                .enabled = true};
  return spec;
}

/// A function of the kernel with its arguments, one of which is a name in the program's memory.
inline hook::HookSpec function_called() {
  hook::HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.entry = {.when = {},
                .captures = {{"file", CaptureKind::word, "file"},
                             {"name", CaptureKind::string, "buf"},
                             {"count", CaptureKind::word, "count"},
                             {"mode", CaptureKind::word, "mode"}},
                .enabled = true};
  return spec;
}

/// KVM_RUN comes back with a hit, and the one after that for QEMU.
class HittingKvm final : public KvmCalls {
 public:
  explicit HittingKvm(Tier tier) {
    run_.exit_reason = KVM_EXIT_DEBUG;
    run_.debug.arch.exception = tier == Tier::broad ? 3 : 1;
  }

  int ioctl(int, unsigned long request, void*) override {
    if (request == KVM_CREATE_VCPU || request == KVM_CREATE_VM) return ++last_fd_;
    if (request == KVM_GET_VCPU_MMAP_SIZE) return sizeof(kvm_run);
    if (request == KVM_CHECK_EXTENSION) return KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    if (request != KVM_RUN) return 0;
    hits_ = !hits_;
    if (!hits_) {
      errno = EINTR;
      return -1;
    }
    run_.debug.arch.dr6 = kDr6Fixed | 1;
    run_.s.regs.regs = registers;
    run_.kvm_dirty_regs = 0;
    return 0;
  }
  kvm_run* map_run(int, std::size_t) override { return &run_; }
  int thread() override { return 1; }
  void kick(int) override {}

  /// Where the function is.
  void set_place(std::uint64_t address) { registers.rip = run_.debug.arch.pc = address; }
  kvm_sregs& special() { return run_.s.regs.sregs; }

  kvm_regs registers{};  ///< at each hit

 private:
  kvm_run run_{};
  int last_fd_ = 100;
  bool hits_ = false;
};

/// One vCPU, whose ring is emptied as fast as it fills.
class HookedKvm {
 public:
  HookedKvm(Tier tier, const hook::HookSpec& spec) : kvm_(tier) {
    const std::uint64_t text = lay_out();
    begin();
    auto welcome = probe_.attach(tier);
    if (!welcome) throw std::runtime_error(welcome.error().message);
    map_region(welcome->region_fd);
    PageSites sites;
    sites.address = Gva{text};
    sites.entries = {{.offset = 0, .hook = {1}}};
    for (const auto& done :
         {probe_.set_kernel_space(kernel_.kernel_space()), probe_.set_process_tables(kProcess),
          probe_.load(*kernel_.compile(spec)), probe_.place(Gpa{0}, sites)})
      if (!done) throw std::runtime_error(done.error().message);
    probe_.ioctl(vcpu_, KVM_RUN, nullptr);  // there is no hook yet
    probe_.ioctl(vcpu_, KVM_RUN, nullptr);
    if (auto done = probe_.commit(); !done) throw std::runtime_error(done.error().message);
  }
  ~HookedKvm() { munmap(ram_, kRamSize); }
  HookedKvm(const HookedKvm&) = delete;
  HookedKvm& operator=(const HookedKvm&) = delete;

  void hit() {
    probe_.ioctl(vcpu_, KVM_RUN, nullptr);
    ring_->tail.store(ring_->head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  /// Records so far.
  [[nodiscard]] std::uint64_t sent() const { return region_.counters(0).hooks[1].sent; }

 private:
  /// Objects of the kernel, registers at the hit, and the function's address. The guest's memory is
  /// a copy of the made-up kernel's: the probe looks for a memfd.
  std::uint64_t lay_out() {
    std::uint64_t dentry = kernel_.root;
    for (const char* name : {"home", "user", "letter.txt"}) {
      apart();
      dentry = kernel_.make_dentry(name, dentry);
    }
    apart();
    const std::uint64_t file = kernel_.make_file(kernel_.root_mount, dentry);
    apart();
    const std::uint64_t inode = kernel_.allocate(128);
    kernel_.set("file", file, "f_inode", inode);
    apart();
    const std::uint64_t name = kernel_.user_text(0x100, "/home/user/documents/letter.txt");
    const std::uint64_t text = kernel_.allocate(2 * kPageSize) / kPageSize * kPageSize + kPageSize;
    kernel_.put<std::uint32_t>(text, 0x5590'9090);
    kernel_.run(
        kernel_.compile(function_called())->entry);  // puts the process's address space into `cpu`
    lay_out_tables();
    kvm_.registers.rdi = file;
    kvm_.registers.rsi = name;
    kvm_.registers.rsp = kernel_.cpu.gpr[4];
    kvm_.special().cr3 = kernel_.cpu.space.root.value;
    kvm_.special().gs.base = kernel_.cpu.kernel_gs;
    kvm_.special().cs.l = 1;
    kvm_.set_place(text);
    const int fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, kRamSize) != 0) throw std::runtime_error("no memory");
    ram_ = mmap(nullptr, kRamSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const auto bytes = kernel_.guest().bytes();
    std::memcpy(ram_, bytes.data(), bytes.size());
    return text;
  }
  /// Where a kernel has them: behind the running task.
  void lay_out_tables() {
    const std::uint64_t mm = kernel_.allocate(16);
    const Gva tables{FakeKernel::kKernel + FakeKernel::kKernelSize};
    kernel_.put(kernel_.task + kProcess.mm, mm);
    kernel_.put(mm + kProcess.pgd, tables.value);
    kernel_.guest().map(kernel_.kernel_space(), tables, kernel_.cpu.space.root);
  }
  /// What is made next lies on another page: in a kernel few objects share one.
  void apart() { kernel_.allocate(3 * kPageSize); }
  /// What QEMU does.
  void begin() {
    const int vm = probe_.ioctl(kKvm, KVM_CREATE_VM, nullptr);
    kvm_userspace_memory_region region{};
    region.memory_size = kRamSize;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(ram_);
    probe_.ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
    vcpu_ = probe_.ioctl(vm, KVM_CREATE_VCPU, nullptr);
  }
  void map_region(int fd) {
    const auto size = static_cast<std::size_t>(lseek(fd, 0, SEEK_END));
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    region_ = *probe::SharedRegion::open({static_cast<std::byte*>(at), size});
    ring_ = reinterpret_cast<capture::RingHeader*>(region_.ring(0).data());
  }

  static constexpr int kKvm = 99;
  /// The made-up structures have nothing there.
  static constexpr ProcessTables kProcess{
      .current_task = FakeKernel::kCurrentOffset, .mm = 1016, .pgd = 8};
  static constexpr std::uint64_t kRamSize = glasshook::test::TestGuest::kRamSize;

  FakeKernel kernel_;
  void* ram_ = nullptr;
  HittingKvm kvm_;
  KvmProbe probe_{kvm_,
                  {.max_vcpus = 1, .ring_bytes = probe::SharedRegion::ring_bytes_for(1 << 20)}};
  int vcpu_ = -1;
  probe::SharedRegion region_;
  capture::RingHeader* ring_ = nullptr;
};

}  // namespace glasshook::hypervisor::kvm
