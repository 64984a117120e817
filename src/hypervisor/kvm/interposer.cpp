// The library that is preloaded into an unmodified QEMU:
//   GLASSHOOK_KVM=socket=PATH[,ring=MIB] LD_PRELOAD=libglasshook-kvm.so qemu-system-x86_64 -accel
//   kvm ...
// or, from who starts QEMU with an end of a SOCK_SEQPACKET socket pair: fd=NUMBER[,ring=MIB].
// It stands between QEMU and libc's ioctl; calls that are none of KVM's pass through.
#include <linux/ioctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "hypervisor/kvm/kvm_probe.h"
#include "hypervisor/probe/command_line.h"

namespace {

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

struct Settings {
  std::string socket;
  int fd = -1;
  std::uint64_t ring_mib = 8;
};

void say(std::string_view text) {
  std::fprintf(stderr, "glasshook: %.*s\n", static_cast<int>(text.size()), text.data());
}

/// From the environment; nothing when this process is not to be watched.
std::optional<Settings> settings() {
  const char* value = std::getenv("GLASSHOOK_KVM");
  if (value == nullptr) return std::nullopt;
  Settings out;
  for (std::string_view rest = value; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const std::string_view option = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (option.starts_with("socket=")) {
      out.socket = option.substr(7);
    } else if (option.starts_with("fd=")) {
      std::from_chars(option.data() + 3, option.data() + option.size(), out.fd);
    } else if (option.starts_with("ring=")) {
      std::from_chars(option.data() + 5, option.data() + option.size(), out.ring_mib);
    } else {
      say("GLASSHOOK_KVM is socket=PATH[,ring=MIB]; this VM cannot be watched");
      return std::nullopt;
    }
  }
  if (out.socket.empty() == (out.fd < 0) || out.ring_mib < 1 || out.ring_mib > 1024)
    return std::nullopt;
  return out;
}

/// Null when there is nothing to do here. Made at the first call, which QEMU's main thread makes.
kvm::KvmProbe* the_probe() {
  static kvm::KvmProbe* const probe = []() -> kvm::KvmProbe* {
    const auto chosen = settings();
    if (!chosen) return nullptr;
    static auto* calls = new SystemCalls;
    // Never destroyed: vCPU threads refer to it to the end.
    return new kvm::KvmProbe(
        *calls, {.max_vcpus = kvm::max_vcpus_of(probe::own_command_line()),
                 .ring_bytes = probe::SharedRegion::ring_bytes_for(chosen->ring_mib << 20),
                 .tend_interval = kTendInterval,
                 .guards_writes = true});
  }();
  return probe;
}

/// Once there is a VM: QEMU may have become a daemon before, and has no threads of ours by then.
void serve(kvm::KvmProbe& probe) {
  static const bool started = [&] {
    const auto chosen = settings();
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
