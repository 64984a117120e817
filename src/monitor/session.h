// A watching session: one VM, the hooks the user asked for, and the events they give.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/guest_apis.h"
#include "base/result.h"
#include "behaviour/family.h"
#include "guest/linux/kernel.h"
#include "hook/process_filter.h"
#include "hypervisor/hypervisor.h"
#include "output/output.h"

namespace glasshook::monitor {

/// Makes behaviour families besides Glasshook's own.
using FamilyMaker = std::function<std::vector<std::unique_ptr<behaviour::Family>>()>;

/// What to watch, as the user said it.
struct SessionOptions {
  /// Behaviour families by name; empty: those on by default; {"none"}: none; {"all"}: all.
  std::vector<std::string> behaviours;
  /// Families to add to those; on, whatever is chosen above.
  FamilyMaker more_families;
  /// Whose programs the guest is for; decides which families are on by default. Families of Windows
  /// also need its signatures.
  behaviour::Platform platform = behaviour::Platform::linux;
  /// `-e` arguments: "kernel!vfs_*", "libc!open", "libc!mem*", "@network".
  std::vector<std::string> apis;
  /// Only these processes.
  hook::ProcessFilter filter;
  /// Goes into entity ids and host.id.
  std::string host_id;
  /// Calls a second of one `-e` hook before it is rate-limited; 0: no limit.
  std::uint32_t rate_limit = 0;
};

using EventSink = std::function<void(const behaviour::Event&)>;

/// Attaches, hooks, and turns records into events. Used from one thread (page questions are
/// answered on the backend's). Destroying it removes all hooks; the guest runs on.
class Session {
 public:
  /// Finds the kernel, compiles and places the hooks. What `apis` names is borrowed. Fails with
  /// what to do when a name in the options is unknown (nearest names), or the guest is not
  /// understood.
  [[nodiscard]] static Result<std::unique_ptr<Session>> start(
      std::unique_ptr<hypervisor::Hypervisor> hypervisor, const api::GuestApis& apis,
      SessionOptions options, EventSink sink);
  ~Session();

  /// Handles what has been captured; waits up to `timeout` for something. The number of records;
  /// ErrorCode::closed when the VM is gone.
  Result<std::size_t> pump(std::chrono::milliseconds timeout);

  /// With a filter that follows a tree: from now on that process (by its id in the guest's first
  /// pid namespace) and its children are in scope.
  Result<> follow(std::uint32_t pid);

  /// Hooks more functions, named as in SessionOptions::apis, from now on. Those that are hooked
  /// already are watched as `api` says. Fails when the name is unknown; then nothing has changed.
  Result<> add_api(std::string_view api);
  /// Takes the hooks of the functions away that `api` names; calls that are under way are told as
  /// not returned. ErrorCode::not_found when none of them is hooked. Hooks of behaviours stay.
  Result<> remove_api(std::string_view api);

  /// Handles all that was captured up to now and publishes the totals still held. Call once.
  Result<> finish();

  /// Counters so far.
  [[nodiscard]] Result<output::Summary> summary();

  [[nodiscard]] const linux_guest::LinuxKernel& kernel() const;

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace glasshook::monitor
