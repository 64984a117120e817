// A hypervisor that exists only in a test: it plays a script, and any single call can be made to
// fail.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/hypervisor.h"
#include "memory/guest_ram.h"

namespace glasshook::hypervisor {

/// Plain RAM at guest physical address 0.
class FakeMemory final : public PhysicalMemory {
 public:
  explicit FakeMemory(std::size_t size) : bytes_(size) {}

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override;
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override;
  [[nodiscard]] std::span<const std::byte> view(Gpa from,
                                                std::uint64_t size) const noexcept override;
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// Remembers everything it is told. Used from one thread.
class FakeHypervisor final : public Hypervisor {
 public:
  explicit FakeHypervisor(std::size_t ram_size = 1 << 20) : memory_(ram_size) {}

  // The script.
  /// The next poll() hands over this record (bytes as RecordView::parse wants them).
  void script_record(std::vector<std::byte> record) { records_.push_back(std::move(record)); }
  /// The `nth` call from now (1: the next) of the named method fails with that error.
  void fail_call(const std::string& method, Error error, std::uint32_t nth = 1) {
    failures_[method] = {nth, std::move(error)};
  }
  /// From now on no hook can be placed at this offset of a page.
  void refuse_entry(std::uint16_t offset) { refused_.insert(offset); }
  /// Code of unknown content runs: what the monitor answers.
  [[nodiscard]] PageSites run_page(const PageQuestion& question) const {
    return oracle_ ? oracle_(question) : PageSites{};
  }
  /// The VM ends: poll() says so once the script is played.
  void script_end() { ended_ = true; }

  // What was asked for.
  [[nodiscard]] FakeMemory& ram() { return memory_; }
  [[nodiscard]] const std::map<HookId, HookPrograms>& hooks() const { return hooks_; }
  [[nodiscard]] const std::map<Gpa, PageSites>& places() const { return places_; }
  [[nodiscard]] const std::map<std::uint32_t, std::vector<std::uint64_t>>& sets() const {
    return sets_;
  }
  [[nodiscard]] std::uint32_t commits() const { return commits_; }

  [[nodiscard]] Capabilities capabilities() const override;
  [[nodiscard]] const PhysicalMemory& memory() const override { return memory_; }
  Result<> set_kernel_space(AddressSpace space) override;
  Result<> set_return_thunks(const std::vector<Gva>& thunks) override;
  Result<> set_context_program(capture::Program program) override;
  Result<> load(const HookPrograms& hook) override;
  Result<> place(Gpa page, const PageSites& sites) override;
  Result<> place_at(PrivilegedInstruction instruction, HookId hook) override;
  Result<> watch_user_pages(PageOracle oracle) override;
  void stop_asking() override { oracle_ = {}; }
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
  /// Counts a call; the scripted error when it is that call's turn.
  Result<> enter(const char* method);

  FakeMemory memory_;
  std::deque<std::vector<std::byte>> records_;
  std::map<std::string, std::pair<std::uint32_t, Error>> failures_;
  std::map<HookId, HookPrograms> hooks_;
  std::map<Gpa, PageSites> places_;
  std::set<std::uint16_t> refused_;
  std::map<std::uint32_t, std::vector<std::uint64_t>> sets_;
  PageOracle oracle_;
  ProbeCounters counters_;
  std::uint32_t commits_ = 0;
  bool ended_ = false;
};

}  // namespace glasshook::hypervisor
