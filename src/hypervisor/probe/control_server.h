// The probe's side of the control socket: one monitor at a time, one request, one reply.
#pragma once

#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "capture/program.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/protocol.h"

namespace glasshook::hypervisor::probe {

/// What the control server drives: implemented by each hypervisor's probe. Called on the server's
/// thread. Programs have been verified, everything else is as the monitor sent it.
class ControlTarget {
 public:
  virtual ~ControlTarget() = default;

  /// A monitor is there: what it gets (descriptors stay owned by the target).
  struct Welcome {
    Capabilities capabilities;  ///< but for `vcpus`, which the region tells
    std::vector<RamPiece> ram;
    int region_fd = -1;
    int ram_fd = -1;
  };
  virtual Result<Welcome> attach(Tier tier) = 0;
  /// The monitor is gone: disarm everything, the guest goes on.
  virtual void detach() = 0;

  virtual Result<> set_kernel_space(AddressSpace space) = 0;
  virtual Result<> set_return_thunks(std::vector<Gva> thunks) = 0;
  /// See Hypervisor::set_kernel_entries().
  virtual Result<> set_kernel_entries(const KernelEntries&) { return {}; }
  /// See Hypervisor::set_process_tables().
  virtual Result<> set_process_tables(const ProcessTables&) { return {}; }
  virtual Result<> set_context_program(capture::Program program) = 0;
  virtual Result<> load(HookPrograms hook) = 0;
  virtual Result<> unload(HookId id) = 0;
  virtual Result<> place(Gpa page, const PageSites& sites) = 0;
  /// See Hypervisor::place_at().
  virtual Result<> place_at(PrivilegedInstruction, HookId) {
    return fail(ErrorCode::unsupported, "this hypervisor does not hook instructions");
  }
  virtual Result<> watch_user_pages(bool on) = 0;
  virtual Result<> commit() = 0;
  virtual Result<> set_add(std::uint32_t set, std::uint64_t key) = 0;
  virtual Result<> set_remove(std::uint32_t set, std::uint64_t key) = 0;
  virtual Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second,
                            std::uint32_t burst) = 0;
};

/// Listens on a unix socket (mode 0600, same user only) in its own thread. Ends with the process.
class ControlServer {
 public:
  /// Replaces a stale socket file; fails when the path cannot be bound.
  static Result<> start(const std::string& path, ControlTarget& target);

  /// Answers the one monitor at the other end of a connected socket (taken over), and nobody else.
  /// Fails when it is no such socket.
  static Result<> adopt(int connection, ControlTarget& target);

  /// Handles one request; the server's inner step, open to tests and fuzzing.
  static Result<std::vector<std::byte>> handle(std::span<const std::byte> message,
                                               ControlTarget& target);
};

/// The wire form of sites, used for `place`.
[[nodiscard]] std::vector<std::byte> encode_sites(const PageSites& sites);
void encode_capabilities(const Capabilities& capabilities, ByteWriter& out);
[[nodiscard]] Capabilities decode_capabilities(ByteReader& reader);
[[nodiscard]] Result<PageSites> decode_sites(std::span<const std::byte> bytes);

}  // namespace glasshook::hypervisor::probe
