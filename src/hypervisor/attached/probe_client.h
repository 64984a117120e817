// The monitor's end of a probe: a Hypervisor over a control socket and shared memory.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "capture/merger.h"
#include "hypervisor/attached/unpatched_memory.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/shared_region.h"
#include "memory/ram_file.h"

namespace glasshook::hypervisor {

/// Attaches to the probe that listens on a unix socket, whichever hypervisor it runs in.
class ProbeClient final : public Hypervisor {
 public:
  /// Connects, waiting up to `timeout` for the socket to appear.
  [[nodiscard]] static Result<std::unique_ptr<ProbeClient>> connect(
      const std::string& socket_path, std::chrono::milliseconds timeout, Tier tier = Tier::stealth);
  /// Speaks over an end of a connected socket (taken over).
  [[nodiscard]] static Result<std::unique_ptr<ProbeClient>> adopt(int connection,
                                                                  Tier tier = Tier::stealth);
  ~ProbeClient() override;

  [[nodiscard]] Capabilities capabilities() const override { return capabilities_; }
  [[nodiscard]] const PhysicalMemory& memory() const override { return *memory_; }
  Result<> set_kernel_space(AddressSpace space) override;
  Result<> set_return_thunks(const std::vector<Gva>& thunks) override;
  Result<> set_kernel_entries(const KernelEntries& entries) override;
  Result<> set_process_tables(const ProcessTables& process) override;
  Result<> set_context_program(capture::Program program) override;
  Result<> load(const HookPrograms& hook) override;
  Result<> place(Gpa page, const PageSites& sites) override;
  Result<> place_at(PrivilegedInstruction instruction, HookId hook) override;
  Result<> watch_user_pages(PageOracle oracle) override;
  void stop_asking() override;
  Result<> unload(HookId id) override;
  Result<> commit() override;
  Result<> set_add(std::uint32_t set, std::uint64_t key) override;
  Result<> set_remove(std::uint32_t set, std::uint64_t key) override;
  Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) override;
  Result<std::size_t> poll(const RecordSink& sink, std::chrono::milliseconds timeout) override;
  [[nodiscard]] std::chrono::system_clock::time_point wall_time(
      std::uint64_t timestamp) const override;
  [[nodiscard]] Result<std::vector<HookCounters>> hook_counters() override;
  [[nodiscard]] Result<ProbeCounters> probe_counters() override;

 private:
  class Socket;
  class Mapping;

  explicit ProbeClient(std::unique_ptr<Socket> socket);
  Result<> greet(Tier tier);
  Result<std::vector<std::byte>> request(std::span<const std::byte> message, std::vector<int>* fds);
  Result<> command(std::span<const std::byte> message);
  void answer_questions(const std::stop_token& stop);
  void answer(probe::QuestionSlot& slot, std::uint32_t vcpu);
  void take_clock_anchor();

  Capabilities capabilities_;
  std::mutex request_mutex_;  ///< one request at a time; also guards hooks_
  std::unique_ptr<Socket> socket_;
  std::unique_ptr<Mapping> mapping_;
  probe::SharedRegion region_;
  std::unique_ptr<RamFile> ram_;
  std::unique_ptr<UnpatchedMemory> memory_;  ///< over ram_
  std::unique_ptr<capture::RingMerger> merger_;
  std::vector<HookId> hooks_;
  std::chrono::steady_clock::duration slow_replies_{};  ///< spent waiting for them
  bool given_up_ = false;  ///< on the probe; both guarded by request_mutex_
  std::uint64_t late_commits_ = 0;
  std::uint64_t anchor_ticks_ = 0;
  std::chrono::system_clock::time_point anchor_time_;
  std::mutex oracle_mutex_;
  PageOracle oracle_;
  std::jthread oracle_thread_;
};

}  // namespace glasshook::hypervisor
