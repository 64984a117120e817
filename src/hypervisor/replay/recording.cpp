#include "hypervisor/replay/recording.h"

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace glasshook::hypervisor::replay {

Result<RecordingWriter> RecordingWriter::create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr)
    return fail(ErrorCode::io, "cannot write the recording {}: {}", path, std::strerror(errno));
  RecordingWriter writer(file);
  ByteWriter header;
  header.put(kRecordingMagic);
  header.put(kRecordingVersion);
  const auto& bytes = header.bytes();
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size())
    return fail(ErrorCode::io, "cannot write the recording {}: {}", path, std::strerror(errno));
  return writer;
}

Result<> RecordingWriter::write(EntryKind kind, std::span<const std::byte> payload) {
  ByteWriter out;
  out.put(static_cast<std::uint8_t>(kind));
  out.put_block(payload);
  const auto& bytes = out.bytes();
  if (failed_ || std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
    failed_ = true;
    return with_remedy(
        fail(ErrorCode::io, "the recording cannot be written: {}", std::strerror(errno)),
        "free some disk space; what was recorded so far can be replayed");
  }
  return {};
}

Result<> RecordingWriter::flush() {
  if (failed_ || std::fflush(file_.get()) != 0)
    return fail(ErrorCode::io, "the recording cannot be written: {}", std::strerror(errno));
  return {};
}

Result<RecordingReader> RecordingReader::open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr)
    return fail(ErrorCode::not_found, "cannot read the recording {}: {}", path,
                std::strerror(errno));
  RecordingReader reader(file);
  std::byte header[12] = {};
  const bool whole = std::fread(header, 1, sizeof header, file) == sizeof header;
  ByteReader bytes(header);
  if (!whole || bytes.get<std::uint64_t>() != kRecordingMagic)
    return with_remedy(fail(ErrorCode::protocol, "{} is not a Glasshook recording", path),
                       "make one with: glasshook run --record FILE -- COMMAND");
  if (bytes.get<std::uint32_t>() != kRecordingVersion)
    return fail(ErrorCode::unsupported, "{} was recorded by another version of Glasshook", path);
  return reader;
}

Result<Entry> RecordingReader::next() {
  std::byte head[5];
  if (std::fread(head, 1, sizeof head, file_.get()) != sizeof head)
    return fail(ErrorCode::closed, "the recording ends here");
  ByteReader bytes(head);
  Entry entry{.kind = static_cast<EntryKind>(bytes.get<std::uint8_t>()), .payload = {}};
  const auto size = bytes.get<std::uint32_t>();
  const bool known = entry.kind >= EntryKind::note && entry.kind <= EntryKind::closed;
  if (!known || size > kMaxEntryBytes) return fail(ErrorCode::protocol, "the recording is damaged");
  entry.payload.resize(size);
  if (std::fread(entry.payload.data(), 1, size, file_.get()) != size)
    return fail(ErrorCode::closed, "the recording ends in the middle of an entry");
  return entry;
}

std::vector<std::byte> encode_question(const PageQuestion& question) {
  ByteWriter out;
  out.put(question.vcpu);
  out.put(question.page.value);
  out.put(question.address.value);
  out.put(question.space.root.value);
  out.put(static_cast<std::uint8_t>(question.space.five_level));
  out.put(question.content_hash);
  out.put(question.timestamp);
  out.put_block(question.context);
  return out.take();
}

Result<PageQuestion> decode_question(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  PageQuestion question;
  question.vcpu = in.get<std::uint32_t>();
  question.page.value = in.get<std::uint64_t>();
  question.address.value = in.get<std::uint64_t>();
  question.space.root.value = in.get<std::uint64_t>();
  question.space.five_level = in.get<std::uint8_t>() != 0;
  question.content_hash = in.get<std::uint64_t>();
  question.timestamp = in.get<std::uint64_t>();
  const auto context = in.get_block();
  question.context.assign(context.begin(), context.end());
  if (!in.ok()) return fail(ErrorCode::protocol, "the recording holds a damaged question");
  return question;
}

std::vector<std::byte> encode_counters(const CounterSnapshot& snapshot) {
  ByteWriter out;
  out.put(snapshot.probe);
  out.put(static_cast<std::uint32_t>(snapshot.hooks.size()));
  for (const HookCounters& hook : snapshot.hooks) out.put(hook);
  return out.take();
}

Result<CounterSnapshot> decode_counters(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  CounterSnapshot snapshot;
  snapshot.probe = in.get<ProbeCounters>();
  const auto count = in.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && in.ok(); ++i)
    snapshot.hooks.push_back(in.get<HookCounters>());
  if (!in.ok()) return fail(ErrorCode::protocol, "the recording holds damaged counters");
  return snapshot;
}

}  // namespace glasshook::hypervisor::replay
