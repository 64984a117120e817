// A probe with one hook on a small made-up kernel, for measuring what a hit costs.
#pragma once

#include <vector>

#include "hook/fake_kernel.h"
#include "hypervisor/probe/hit_runner.h"

namespace glasshook::hypervisor::probe {

using hook::Capture;
using hook::CaptureKind;
using hook::test::FakeKernel;

/// A probe of one vCPU whose ring is emptied as fast as it fills.
class HookedProbe {
 public:
  explicit HookedProbe(const hook::HookSpec& spec) {
    std::uint64_t dentry = kernel_.root;
    for (const char* name : {"home", "user", "documents", "letters", "to-whom-it-may-concern.txt"})
      dentry = kernel_.make_dentry(name, dentry);
    kernel_.arguments({kernel_.make_path(kernel_.root_mount, dentry), 1, 2});
    const auto programs = kernel_.compile(spec);
    kernel_.run(programs->entry);  // puts the process's address space into `cpu`
    hook_.id = programs->id;
    hook_.entry = capture::Executable(programs->entry);
    if (programs->on_return) hook_.on_return.emplace(*programs->on_return);
    runner_.set_enabled(true);
  }

  void call() {
    runner_.enter(hook_, kernel_.cpu, false);
    if (runner_.awaits(FrameKey::of(kernel_.cpu))) runner_.leave(kernel_.cpu);
    ring_.tail.store(ring_.head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  [[nodiscard]] const HookCell& counts() const { return region_.counters(0).hooks[1]; }

 private:
  static constexpr std::uint64_t kRingBytes = 1 << 20;

  FakeKernel kernel_;
  capture::Environment environment_{.ram = &kernel_.guest().ram(),
                                    .kernel_space = kernel_.kernel_space(),
                                    .sets = &kernel_.sets,
                                    .limiters = kernel_.limiters.get()};
  std::uint64_t ring_bytes_ = SharedRegion::ring_bytes_for(kRingBytes);
  std::vector<std::byte> memory_{SharedRegion::size_for(1, ring_bytes_) + kPageSize};
  SharedRegion region_ = SharedRegion::create(page_aligned(), 1, ring_bytes_, 1'000'000'000);
  HitRunner runner_{region_, environment_};
  capture::RingHeader& ring_ = *reinterpret_cast<capture::RingHeader*>(region_.ring(0).data());
  HookSlot hook_;

  std::span<std::byte> page_aligned() {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    return std::span{memory_}.subspan(-address % kPageSize).first(memory_.size() - kPageSize);
  }
};

/// Entry and return matched, a path of five components captured at the return.
inline hook::HookSpec path_at_return() {
  hook::HookSpec spec;
  spec.functions = {"vfs_open"};
  spec.exit = {.when = {},
               .captures = {{.name = "path", .kind = CaptureKind::path, .expression = "path"}},
               .enabled = true};
  return spec;
}

/// The same, refused at the entry.
inline hook::HookSpec filtered() {
  hook::HookSpec spec = path_at_return();
  spec.entry.when = {"file == 0"};
  return spec;
}

}  // namespace glasshook::hypervisor::probe
