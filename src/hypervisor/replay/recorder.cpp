#include "hypervisor/replay/recorder.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.h"

namespace glasshook::hypervisor::replay {

/// Memory that stands still within a turn and tells the recorder what was read.
class Recorder::Memory final : public PhysicalMemory {
 public:
  explicit Memory(Recorder& recorder) : recorder_(&recorder) {}

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override {
    const std::lock_guard lock(recorder_->turn_);
    while (!out.empty()) {
      const std::size_t chunk = std::min<std::size_t>(out.size(), kPageSize - from.page_offset());
      const Page* page = page_at(from.page());
      if (page == nullptr) return false;
      std::memcpy(out.data(), page->bytes.data() + from.page_offset(), chunk);
      out = out.subspan(chunk);
      from = from + chunk;
    }
    return true;
  }
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override {
    return recorder_->inner_->memory().populated();
  }
  [[nodiscard]] std::span<const std::byte> view(Gpa, std::uint64_t) const noexcept override {
    return {};
  }

  void next_turn() { ++turn_; }

 private:
  struct Page {
    std::uint64_t turn = 0;
    std::array<std::byte, kPageSize> bytes;
  };

  const Page* page_at(Gpa at) const {
    auto& slot = pages_[at];
    if (slot && slot->turn == turn_) return slot.get();
    std::array<std::byte, kPageSize> now;
    if (!recorder_->inner_->memory().read(at, now)) {
      pages_.erase(at);
      return nullptr;
    }
    if (!slot || slot->bytes != now) {
      if (!slot) slot = std::make_unique<Page>();
      slot->bytes = now;
      ByteWriter entry;
      entry.put(at.value);
      entry.put(now);
      recorder_->append(EntryKind::page, entry.bytes());
    }
    slot->turn = turn_;
    return slot.get();
  }

  Recorder* recorder_;
  std::uint64_t turn_ = 1;
  mutable std::unordered_map<Gpa, std::unique_ptr<Page>> pages_;
};

Result<std::unique_ptr<Recorder>> Recorder::create(std::unique_ptr<Hypervisor> inner,
                                                   const std::string& path) {
  auto writer = RecordingWriter::create(path);
  if (!writer) return std::unexpected(writer.error());
  return std::unique_ptr<Recorder>(new Recorder(std::move(inner), std::move(*writer)));
}

Recorder::Recorder(std::unique_ptr<Hypervisor> inner, RecordingWriter writer)
    : inner_(std::move(inner)),
      writer_(std::move(writer)),
      memory_(std::make_unique<Memory>(*this)) {}

Recorder::~Recorder() {
  Recorder::stop_asking();
  (void)writer_.flush();
}

const PhysicalMemory& Recorder::memory() const { return *memory_; }

void Recorder::append(EntryKind kind, std::span<const std::byte> payload) {
  if (kind != EntryKind::page && kind != EntryKind::note) memory_->next_turn();
  if (!status_) return;
  if (auto written = writer_.write(kind, payload); !written) status_ = written;
}

Result<> Recorder::note(const std::string& key, std::span<const std::byte> value) {
  const std::lock_guard lock(turn_);
  ByteWriter entry;
  entry.put_text(key);
  entry.put_block(value);
  append(EntryKind::note, entry.bytes());
  return status_;
}

Result<> Recorder::watch_user_pages(PageOracle oracle) {
  return inner_->watch_user_pages([this, oracle = std::move(oracle)](const PageQuestion& question) {
    const std::lock_guard lock(turn_);
    append(EntryKind::question, encode_question(question));
    return oracle(question);
  });
}

Result<std::size_t> Recorder::poll(const RecordSink& sink, std::chrono::milliseconds timeout) {
  const auto polled = inner_->poll(
      [&](const capture::RecordView& record) {
        const std::lock_guard lock(turn_);
        record_timestamp_ = record.header().timestamp;
        record_time_ = inner_->wall_time(record_timestamp_);
        ByteWriter entry;
        entry.put(static_cast<std::int64_t>(record_time_.time_since_epoch().count()));
        entry.put_block(record.bytes());
        append(EntryKind::record, entry.bytes());
        sink(record);
      },
      timeout);
  const std::lock_guard lock(turn_);
  if (!polled && polled.error().code == ErrorCode::closed)
    append(EntryKind::closed, {});
  else if (polled && *polled > 0)
    append(EntryKind::batch, {});
  if (!status_) return std::unexpected(status_.error());
  return polled;
}

std::chrono::system_clock::time_point Recorder::wall_time(std::uint64_t timestamp) const {
  return timestamp == record_timestamp_ ? record_time_ : inner_->wall_time(timestamp);
}

Result<> Recorder::take_counters() {
  auto hooks = inner_->hook_counters();
  if (!hooks) return std::unexpected(hooks.error());
  const auto probe = inner_->probe_counters();
  if (!probe) return std::unexpected(probe.error());
  counters_ = {.hooks = std::move(*hooks), .probe = *probe};
  const std::lock_guard lock(turn_);
  append(EntryKind::counters, encode_counters(counters_));
  return status_;
}

Result<std::vector<HookCounters>> Recorder::hook_counters() {
  if (auto taken = take_counters(); !taken) return std::unexpected(taken.error());
  return counters_.hooks;
}

Result<ProbeCounters> Recorder::probe_counters() {
  if (auto taken = take_counters(); !taken) return std::unexpected(taken.error());
  return counters_.probe;
}

}  // namespace glasshook::hypervisor::replay
