// The library that is preloaded into an unmodified QEMU:
//   GLASSHOOK_KVM=socket=PATH[,ring=MIB] LD_PRELOAD=libglasshook-kvm.so qemu-system-x86_64 -accel
//   kvm ...
// or, from who starts QEMU with an end of a SOCK_SEQPACKET socket pair, and with /dev/userfaultfd
// where QEMU may not open it: fd=NUMBER[,ring=MIB][,userfaultfd=NUMBER].
// It stands between QEMU and libc's ioctl; calls that are none of KVM's pass through.
#include <linux/ioctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "hypervisor/kvm/kvm_probe.h"
#include "hypervisor/kvm/settings.h"
#include "hypervisor/probe/command_line.h"

namespace {

using glasshook::UniqueFd;
using namespace glasshook::hypervisor;

class SystemCalls final : public kvm::KvmCalls {
 public:
  int ioctl(int fd, unsigned long request, void* argument) override {
    return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
  }
  kvm_run* map_run(int vcpu_fd, std::size_t bytes) override {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
    return at == MAP_FAILED ? nullptr : static_cast<kvm_run*>(at);
  }
  int thread() override { return static_cast<int>(syscall(SYS_gettid)); }
  void kick(int thread) override {
    // QEMU's own kick: its handler makes KVM_RUN return even when that is only about to begin.
    constexpr int kQemuKick = SIGUSR1;
    syscall(SYS_tgkill, getpid(), thread, kQemuKick);
  }
};

/// How long a breakpoint instruction that the guest writes over may stay out.
constexpr std::chrono::milliseconds kTendInterval{50};

void say(std::string_view text) {
  std::fprintf(stderr, "glasshook: %.*s\n", static_cast<int>(text.size()), text.data());
}

/// From the environment; nothing when this process is not to be watched.
const std::optional<kvm::Settings>& settings() {
  static const std::optional<kvm::Settings> chosen = []() -> std::optional<kvm::Settings> {
    const char* value = std::getenv("GLASSHOOK_KVM");
    if (value == nullptr) return std::nullopt;
    auto parsed = kvm::parse_settings(value);
    if (parsed) return std::move(*parsed);
    say(parsed.error().message);
    return std::nullopt;
  }();
  return chosen;
}

/// Null when there is nothing to do here. Made at the first call, which QEMU's main thread makes.
kvm::KvmProbe* the_probe() {
  static kvm::KvmProbe* const probe = []() -> kvm::KvmProbe* {
    const auto& chosen = settings();
    if (!chosen) return nullptr;
    static auto* calls = new SystemCalls;
    // Never destroyed: vCPU threads refer to it to the end.
    return new kvm::KvmProbe(
        *calls, {.max_vcpus = kvm::max_vcpus_of(probe::own_command_line()),
                 .ring_bytes = probe::SharedRegion::ring_bytes_for(chosen->ring_mib << 20),
                 .tend_interval = kTendInterval,
                 .guards_writes = true,
                 .userfaultfd = UniqueFd(chosen->userfaultfd)});
  }();
  return probe;
}

/// Once there is a VM: QEMU may have become a daemon before, and has no threads of ours by then.
void serve(kvm::KvmProbe& probe) {
  static const bool started = [&] {
    const auto& chosen = settings();
    const auto done = chosen->fd >= 0 ? probe::ControlServer::adopt(chosen->fd, probe)
                                      : probe::ControlServer::start(chosen->socket, probe);
    if (!done) say(done.error().message);
    return done.has_value();
  }();
  (void)started;
}

int on_kvm_call(int fd, unsigned long request, void* argument) {
  kvm::KvmProbe* probe = the_probe();
  if (probe == nullptr) return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
  const int result = probe->ioctl(fd, request, argument);
  if (request == KVM_CREATE_VM && probe->has_vm()) serve(*probe);
  return result;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (_IOC_TYPE(request) == KVMIO) return on_kvm_call(fd, request, argument);
  return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
}
