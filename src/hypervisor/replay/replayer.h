// A recorded session as a hypervisor: the same records, questions, memory and counters again,
// without a VM.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hypervisor/hypervisor.h"
#include "hypervisor/replay/recording.h"

namespace glasshook::hypervisor::replay {

/// Plays a file made by a Recorder. Hooks that are loaded are ignored: what they captured is in the
/// recording. Questions are put to the oracle on poll()'s thread. Used from one thread.
class Replayer final : public Hypervisor {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Replayer>> open(const std::string& path);
  ~Replayer() override;

  [[nodiscard]] std::optional<std::vector<std::byte>> noted(const std::string& key) const override;

  [[nodiscard]] Capabilities capabilities() const override;
  [[nodiscard]] const PhysicalMemory& memory() const override;
  Result<> set_kernel_space(AddressSpace) override { return {}; }
  Result<> set_return_thunks(const std::vector<Gva>&) override { return {}; }
  Result<> set_context_program(capture::Program) override { return {}; }
  Result<> load(const HookPrograms&) override { return {}; }
  Result<> place(Gpa, const PageSites&) override { return {}; }
  Result<> place_at(PrivilegedInstruction, HookId) override { return {}; }
  Result<> watch_user_pages(PageOracle oracle) override;
  Result<> unload(HookId) override { return {}; }
  Result<> commit() override { return {}; }
  Result<> set_add(std::uint32_t, std::uint64_t) override { return {}; }
  Result<> set_remove(std::uint32_t, std::uint64_t) override { return {}; }
  Result<> set_rate(std::uint32_t, std::uint32_t, std::uint32_t) override { return {}; }
  /// Plays up to the end of the next recorded batch, without waiting.
  Result<std::size_t> poll(const RecordSink& sink, std::chrono::milliseconds timeout) override;
  [[nodiscard]] std::chrono::system_clock::time_point wall_time(
      std::uint64_t timestamp) const override;
  [[nodiscard]] Result<std::vector<HookCounters>> hook_counters() override;
  [[nodiscard]] Result<ProbeCounters> probe_counters() override;

 private:
  class Memory;

  explicit Replayer(RecordingReader reader);
  /// Takes the next entry and the pages that were read while it was handled.
  Result<Entry> next();
  Result<> advance();
  void take_page(std::span<const std::byte> payload);
  void take_note(std::span<const std::byte> payload);
  Result<bool> play_record(const Entry& entry, const RecordSink& sink);

  RecordingReader reader_;
  std::optional<Entry> ahead_;  ///< the first entry not played yet
  std::unique_ptr<Memory> memory_;
  std::map<std::string, std::vector<std::byte>> notes_;
  PageOracle oracle_;
  CounterSnapshot counters_;
  std::chrono::system_clock::time_point record_time_;
  std::uint64_t malformed_ = 0;
};

}  // namespace glasshook::hypervisor::replay
