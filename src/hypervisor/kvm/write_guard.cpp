#include "hypervisor/kvm/write_guard.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/guest_address.h"

namespace glasshook::hypervisor::kvm {
namespace {

/// One that is told of faults in the kernel, too: KVM's.
UniqueFd open_userfaultfd(UniqueFd device) {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  if (!device.valid()) device.reset(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device.valid())
    if (const int fd = ::ioctl(device.get(), USERFAULTFD_IOC_NEW, kFlags); fd >= 0)
      return UniqueFd(fd);
  return UniqueFd(static_cast<int>(::syscall(SYS_userfaultfd, kFlags)));
}

Result<> watch_writes(int faults, const probe::RamMapping& mapping) {
  uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM, .ioctls = 0};
  if (::ioctl(faults, UFFDIO_API, &api) != 0)
    return fail(ErrorCode::unsupported, "this kernel does not write-protect shared memory");
  uffdio_register all{.range = {.start = mapping.begin, .len = mapping.end - mapping.begin},
                      .mode = UFFDIO_REGISTER_MODE_WP,
                      .ioctls = 0};
  if (::ioctl(faults, UFFDIO_REGISTER, &all) != 0 ||
      (all.ioctls & std::uint64_t{1} << _UFFDIO_WRITEPROTECT) == 0)
    return fail(ErrorCode::unsupported, "this VM's RAM cannot be write-protected: {}",
                std::strerror(errno));
  return {};
}

}  // namespace

Result<std::unique_ptr<WriteGuard>> WriteGuard::create(const probe::RamMapping& mapping,
                                                       std::byte* unguarded, UniqueFd device,
                                                       Listener listener) {
  UniqueFd faults = open_userfaultfd(std::move(device));
  if (!faults.valid())
    return fail(ErrorCode::unsupported, "QEMU may not use userfaultfd: {}", std::strerror(errno));
  if (auto ok = watch_writes(faults.get(), mapping); !ok) return std::unexpected(ok.error());
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return fail(ErrorCode::io, "eventfd: {}", std::strerror(errno));
  return std::unique_ptr<WriteGuard>(
      new WriteGuard(std::move(faults), std::move(stop), mapping, unguarded, std::move(listener)));
}

WriteGuard::WriteGuard(UniqueFd faults, UniqueFd stop, const probe::RamMapping& mapping,
                       std::byte* unguarded, Listener listener)
    : faults_(std::move(faults)),
      stop_(std::move(stop)),
      begin_(mapping.begin),
      size_(mapping.end - mapping.begin),
      unguarded_(unguarded),
      listener_(std::move(listener)) {
  // Without QEMU's signals, which belong to QEMU's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::jthread([this] {
    pthread_setname_np(pthread_self(), "glasshook-guard");
    listen();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

WriteGuard::~WriteGuard() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
  // The last descriptor takes the protection with it, and wakes who waits (userfaultfd_release() in
  // Linux' fs/userfaultfd.c).
}

bool WriteGuard::guard(std::byte* page) {
  return set_guarded(begin_ + static_cast<std::uint64_t>(page - unguarded_), true);
}

bool WriteGuard::set_guarded(std::uint64_t address, bool guarded) {
  uffdio_writeprotect request{.range = {.start = address, .len = kPageSize},
                              .mode = guarded ? UFFDIO_WRITEPROTECT_MODE_WP : __u64{0}};
  return ::ioctl(faults_.get(), UFFDIO_WRITEPROTECT, &request) == 0;
}

void WriteGuard::listen() {
  for (bool paused = false;;) {
    pollfd ends[] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = faults_.get(), .events = POLLIN, .revents = 0}};
    const int ready = ::poll(ends, 2, paused ? static_cast<int>(kPause.count()) : -1);
    if (ends[0].revents != 0 || (ready < 0 && errno != EINTR)) return;
    if (ready == 0) listener_.written();
    paused = ends[1].revents != 0;
    if (paused) take_fault();
  }
}

void WriteGuard::take_fault() {
  uffd_msg message{};
  if (::read(faults_.get(), &message, sizeof message) != sizeof message) return;
  if (message.event != UFFD_EVENT_PAGEFAULT) return;
  const std::uint64_t page = message.arg.pagefault.address & ~kPageMask;
  if (page - begin_ >= size_) return;
  listener_.writes(unguarded_ + (page - begin_));
  // Wakes who writes.
  set_guarded(page, false);
}

}  // namespace glasshook::hypervisor::kvm
