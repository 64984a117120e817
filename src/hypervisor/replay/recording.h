// The file format of a recording: everything that crossed from a hypervisor to the monitor, in the
// order the monitor saw it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::hypervisor::replay {

inline constexpr std::uint64_t kRecordingMagic = 0x3130434552484c47;  // "GLHREC01"
inline constexpr std::uint32_t kRecordingVersion = 2;
inline constexpr std::uint32_t kMaxEntryBytes = 1 << 20;

/// What one entry is. Payloads are written with ByteWriter.
enum class EntryKind : std::uint8_t {
  note = 1,  ///< text key, block value: what the monitor needs to set itself up the same way
  page,      ///< u64 gpa, 4096 bytes: as it was during the entry before this one
  record,    ///< i64 wall time (ns since 1970), block record
  question,  ///< a page question: see write_question()
  batch,     ///< the end of a poll()
  counters,  ///< hook and probe counters as asked for
  closed,    ///< the VM was gone
};

struct Entry {
  EntryKind kind = EntryKind::batch;
  std::vector<std::byte> payload;
};

/// Appends entries to a file. After a write error every later call fails with it; what was written
/// before is whole.
class RecordingWriter {
 public:
  [[nodiscard]] static Result<RecordingWriter> create(const std::string& path);
  Result<> write(EntryKind kind, std::span<const std::byte> payload);
  Result<> flush();

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  explicit RecordingWriter(std::FILE* file) : file_(file) {}
  std::unique_ptr<std::FILE, Close> file_;
  bool failed_ = false;
};

/// Reads entries from a file somebody else may have made: sizes are capped and checked.
class RecordingReader {
 public:
  [[nodiscard]] static Result<RecordingReader> open(const std::string& path);
  /// The next entry; ErrorCode::closed at the end (also when the last entry was cut off).
  [[nodiscard]] Result<Entry> next();

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  explicit RecordingReader(std::FILE* file) : file_(file) {}
  std::unique_ptr<std::FILE, Close> file_;
};

[[nodiscard]] std::vector<std::byte> encode_question(const PageQuestion& question);
[[nodiscard]] Result<PageQuestion> decode_question(std::span<const std::byte> bytes);

/// Counters as one entry.
struct CounterSnapshot {
  std::vector<HookCounters> hooks;
  ProbeCounters probe;
};
[[nodiscard]] std::vector<std::byte> encode_counters(const CounterSnapshot& snapshot);
[[nodiscard]] Result<CounterSnapshot> decode_counters(std::span<const std::byte> bytes);

}  // namespace glasshook::hypervisor::replay
