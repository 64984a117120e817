// Pages of guest RAM that nobody writes to unseen.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hypervisor/probe/ram_mapping.h"

namespace glasshook::hypervisor::kvm {

/// Write-protects pages of guest RAM in QEMU's own mapping, by userfaultfd(2): who writes there,
/// the guest or one of QEMU's devices, waits until we have heard of it. Needs Linux 5.19 (shared
/// memory), and /dev/userfaultfd or CAP_SYS_PTRACE, since it is KVM in the kernel that meets the
/// protection (Documentation/admin-guide/mm/userfaultfd.rst). Safe from all threads.
class WriteGuard {
 public:
  /// After a write, the page is left alone for so long.
  static constexpr std::chrono::milliseconds kPause{2};

  /// Called on a thread of the guard's. Neither may write to QEMU's mapping, or wait for who does.
  struct Listener {
    /// Somebody is about to write to that page, which is not guarded any more.
    std::function<void(std::byte* page)> writes;
    /// kPause has passed since.
    std::function<void()> written;
  };

  /// For the RAM that is mapped there, with nothing guarded. `unguarded` is another mapping of the
  /// same memory; pages are named by their addresses in that one. `device` is /dev/userfaultfd,
  /// opened by who may; when it is not valid, it is opened here.
  static Result<std::unique_ptr<WriteGuard>> create(const probe::RamMapping& mapping,
                                                    std::byte* unguarded, UniqueFd device,
                                                    Listener listener);
  /// Nothing is guarded any more.
  ~WriteGuard();
  WriteGuard(const WriteGuard&) = delete;
  WriteGuard& operator=(const WriteGuard&) = delete;

  /// Guards the page until it is written to. False when the kernel does not.
  bool guard(std::byte* page);

 private:
  WriteGuard(UniqueFd faults, UniqueFd stop, const probe::RamMapping& mapping, std::byte* unguarded,
             Listener listener);

  void listen();
  void take_fault();
  bool set_guarded(std::uint64_t address, bool guarded);

  UniqueFd faults_, stop_;
  std::uint64_t begin_, size_;  ///< QEMU's mapping
  std::byte* unguarded_;
  Listener listener_;
  std::jthread thread_;  ///< last: uses the rest
};

}  // namespace glasshook::hypervisor::kvm
