// What the probe asks of the kernel: the real thing in QEMU, a script in tests.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>

namespace glasshook::hypervisor::kvm {

/// KVM_GET_MSRS for a single register. In C++ the structure of <linux/kvm.h> is too large (before
/// its array of no size, Linux 6.1 has an empty struct), and so its request has another number.
struct OneMsr {
  std::uint32_t count = 1;
  std::uint32_t pad = 0;
  kvm_msr_entry entry{};
};
inline constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, 8);

class KvmCalls {
 public:
  virtual ~KvmCalls() = default;

  /// As ioctl(2): -1 and errno on failure.
  virtual int ioctl(int fd, unsigned long request, void* argument) = 0;
  /// The memory a vCPU shares with its user; mapped for good. Null on failure.
  virtual kvm_run* map_run(int vcpu_fd, std::size_t bytes) = 0;
  /// The calling thread, for kick().
  virtual int thread() = 0;
  /// Makes a vCPU thread of QEMU's leave KVM_RUN, as QEMU itself does.
  virtual void kick(int thread) = 0;
};

}  // namespace glasshook::hypervisor::kvm
