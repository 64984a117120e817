// Records a session while it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "hypervisor/hypervisor.h"
#include "hypervisor/replay/recording.h"

namespace glasshook::hypervisor::replay {

/// Wraps another hypervisor. What the monitor learns through it (records, questions, memory,
/// counters) goes into a file from which a Replayer gives the same again.
///
/// While one record or question is handled, memory stands still: a page read twice reads the same,
/// which is what makes the replay exact.
class Recorder final : public Hypervisor {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Recorder>> create(std::unique_ptr<Hypervisor> inner,
                                                                const std::string& path);
  ~Recorder() override;

  /// Stores something the replaying monitor will ask for.
  Result<> note(const std::string& key, std::span<const std::byte> value) override;

  [[nodiscard]] Capabilities capabilities() const override { return inner_->capabilities(); }
  [[nodiscard]] const PhysicalMemory& memory() const override;
  [[nodiscard]] const PhysicalMemory& scan_memory() const override { return inner_->memory(); }
  Result<> set_kernel_space(AddressSpace s) override { return inner_->set_kernel_space(s); }
  Result<> set_return_thunks(const std::vector<Gva>& t) override {
    return inner_->set_return_thunks(t);
  }
  Result<> set_kernel_entries(const KernelEntries& e) override {
    return inner_->set_kernel_entries(e);
  }
  Result<> set_process_tables(const ProcessTables& t) override {
    return inner_->set_process_tables(t);
  }
  Result<> set_context_program(capture::Program p) override {
    return inner_->set_context_program(std::move(p));
  }
  Result<> load(const HookPrograms& hook) override { return inner_->load(hook); }
  Result<> place(Gpa page, const PageSites& sites) override { return inner_->place(page, sites); }
  Result<> place_at(PrivilegedInstruction instruction, HookId hook) override {
    return inner_->place_at(instruction, hook);
  }
  Result<> watch_user_pages(PageOracle oracle) override;
  void stop_asking() override { inner_->stop_asking(); }
  Result<> unload(HookId id) override { return inner_->unload(id); }
  Result<> commit() override { return inner_->commit(); }
  Result<> set_add(std::uint32_t set, std::uint64_t key) override {
    return inner_->set_add(set, key);
  }
  Result<> set_remove(std::uint32_t set, std::uint64_t key) override {
    return inner_->set_remove(set, key);
  }
  Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) override {
    return inner_->set_rate(limiter, per_second, burst);
  }
  Result<std::size_t> poll(const RecordSink& sink, std::chrono::milliseconds timeout) override;
  [[nodiscard]] std::chrono::system_clock::time_point wall_time(
      std::uint64_t timestamp) const override;
  [[nodiscard]] Result<std::vector<HookCounters>> hook_counters() override;
  [[nodiscard]] Result<ProbeCounters> probe_counters() override;

 private:
  class Memory;

  Recorder(std::unique_ptr<Hypervisor> inner, RecordingWriter writer);
  void append(EntryKind kind, std::span<const std::byte> payload);
  Result<> take_counters();

  std::unique_ptr<Hypervisor> inner_;
  RecordingWriter writer_;
  Result<> status_;            ///< the first write error
  std::recursive_mutex turn_;  ///< one record or question at a time
  std::unique_ptr<Memory> memory_;
  CounterSnapshot counters_;
  std::chrono::system_clock::time_point record_time_;  ///< of the record being handled
  std::uint64_t record_timestamp_ = 0;
};

}  // namespace glasshook::hypervisor::replay
