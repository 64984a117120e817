#include "hypervisor/replay/replayer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "base/bytes.h"

namespace glasshook::hypervisor::replay {

class Replayer::Memory final : public PhysicalMemory {
 public:
  using Page = std::array<std::byte, kPageSize>;

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override {
    while (!out.empty()) {
      const std::size_t chunk = std::min<std::size_t>(out.size(), kPageSize - from.page_offset());
      const auto page = pages_.find(from.page());
      if (page == pages_.end()) return false;
      std::memcpy(out.data(), page->second->data() + from.page_offset(), chunk);
      out = out.subspan(chunk);
      from = from + chunk;
    }
    return true;
  }
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override {
    std::vector<PhysicalExtent> extents;
    for (const auto& [at, page] : pages_) extents.push_back({at, kPageSize});
    std::ranges::sort(extents, {}, &PhysicalExtent::begin);
    return extents;
  }
  [[nodiscard]] std::span<const std::byte> view(Gpa, std::uint64_t) const noexcept override {
    return {};
  }

  void put(Gpa at, const Page& page) {
    auto& slot = pages_[at];
    if (!slot) slot = std::make_unique<Page>();
    *slot = page;
  }

 private:
  std::unordered_map<Gpa, std::unique_ptr<Page>> pages_;
};

Replayer::Replayer(RecordingReader reader)
    : reader_(std::move(reader)), memory_(std::make_unique<Memory>()) {}
Replayer::~Replayer() = default;

Result<std::unique_ptr<Replayer>> Replayer::open(const std::string& path) {
  auto reader = RecordingReader::open(path);
  if (!reader) return std::unexpected(reader.error());
  std::unique_ptr<Replayer> replayer(new Replayer(std::move(*reader)));
  // What the monitor read before its first poll().
  if (auto ready = replayer->advance(); !ready && ready.error().code != ErrorCode::closed)
    return std::unexpected(ready.error());
  return replayer;
}

Result<> Replayer::advance() {
  ahead_.reset();
  for (;;) {
    auto entry = reader_.next();
    if (!entry) return std::unexpected(entry.error());
    if (entry->kind == EntryKind::page) {
      take_page(entry->payload);
    } else if (entry->kind == EntryKind::note) {
      take_note(entry->payload);
    } else {
      ahead_ = std::move(*entry);
      return {};
    }
  }
}

Result<Entry> Replayer::next() {
  if (!ahead_) return fail(ErrorCode::closed, "the recording ends here");
  Entry entry = std::move(*ahead_);
  if (auto moved = advance(); !moved && moved.error().code != ErrorCode::closed)
    return std::unexpected(moved.error());
  return entry;
}

void Replayer::take_page(std::span<const std::byte> payload) {
  ByteReader in(payload);
  const Gpa at{in.get<std::uint64_t>()};
  const auto page = in.get<Memory::Page>();
  if (in.ok() && at.page_offset() == 0) memory_->put(at, page);
}

void Replayer::take_note(std::span<const std::byte> payload) {
  ByteReader in(payload);
  const std::string key = in.get_text();
  const auto value = in.get_block();
  if (in.ok()) notes_[key].assign(value.begin(), value.end());
}

std::optional<std::vector<std::byte>> Replayer::noted(const std::string& key) const {
  const auto it = notes_.find(key);
  return it == notes_.end() ? std::nullopt : std::optional(it->second);
}

Capabilities Replayer::capabilities() const {
  return {.backend = "replay",
          .vcpus = 1,
          .user_pages = true,
          .returns = true,
          .instructions = true,
          .max_sites = 0,
          .hidden_from_reads = true,
          .write_protected = true};
}

const PhysicalMemory& Replayer::memory() const { return *memory_; }

Result<> Replayer::watch_user_pages(PageOracle oracle) {
  oracle_ = std::move(oracle);
  return {};
}

Result<bool> Replayer::play_record(const Entry& entry, const RecordSink& sink) {
  ByteReader in(entry.payload);
  const auto time = in.get<std::int64_t>();
  const auto bytes = in.get_block();
  if (!in.ok()) return fail(ErrorCode::protocol, "the recording holds a damaged record");
  record_time_ = std::chrono::system_clock::time_point(std::chrono::system_clock::duration(time));
  capture::RecordView record;
  if (!capture::RecordView::parse(bytes, record)) {
    ++malformed_;
    return false;
  }
  sink(record);
  return true;
}

Result<std::size_t> Replayer::poll(const RecordSink& sink, std::chrono::milliseconds) {
  std::size_t played = 0;
  for (;;) {
    const auto entry = next();
    if (!entry) {
      if (played > 0 && entry.error().code == ErrorCode::closed) return played;
      return std::unexpected(entry.error());
    }
    switch (entry->kind) {
      case EntryKind::record: {
        const auto sent = play_record(*entry, sink);
        if (!sent) return std::unexpected(sent.error());
        played += *sent ? 1 : 0;
        break;
      }
      case EntryKind::question: {
        const auto question = decode_question(entry->payload);
        if (!question) return std::unexpected(question.error());
        if (oracle_) (void)oracle_(*question);
        break;
      }
      case EntryKind::counters: {
        auto counters = decode_counters(entry->payload);
        if (!counters) return std::unexpected(counters.error());
        counters_ = std::move(*counters);
        break;
      }
      case EntryKind::batch:
        return played;
      default:
        return fail(ErrorCode::closed, "the VM was gone here");
    }
  }
}

std::chrono::system_clock::time_point Replayer::wall_time(std::uint64_t) const {
  return record_time_;
}

Result<std::vector<HookCounters>> Replayer::hook_counters() {
  // Counters were asked for after the last record.
  while (ahead_ && ahead_->kind == EntryKind::counters) {
    const auto entry = next();
    if (!entry) return std::unexpected(entry.error());
    auto counters = decode_counters(entry->payload);
    if (!counters) return std::unexpected(counters.error());
    counters_ = std::move(*counters);
  }
  return counters_.hooks;
}

Result<ProbeCounters> Replayer::probe_counters() {
  if (auto hooks = hook_counters(); !hooks) return std::unexpected(hooks.error());
  ProbeCounters probe = counters_.probe;
  probe.malformed += malformed_;
  return probe;
}

}  // namespace glasshook::hypervisor::replay
