#include "cli/session_note.h"

#include "base/bytes.h"
#include "hypervisor/replay/recorder.h"
#include "hypervisor/replay/replayer.h"

namespace glasshook::cli {
namespace {

constexpr const char* kKey = "cli.session";
constexpr std::uint32_t kVersion = 2;
/// Entries a list may have; command lines are shorter.
constexpr std::uint32_t kMaxEntries = 65536;

void put_texts(ByteWriter& out, const std::vector<std::string>& texts) {
  out.put(static_cast<std::uint32_t>(texts.size()));
  for (const std::string& text : texts) out.put_text(text);
}

std::vector<std::string> get_texts(ByteReader& in) {
  std::vector<std::string> texts;
  const auto count = std::min(in.get<std::uint32_t>(), kMaxEntries);
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) texts.push_back(in.get_text());
  return texts;
}

}  // namespace

std::vector<std::byte> encode_session(const SessionNote& note) {
  const monitor::SessionOptions& options = note.options;
  ByteWriter out;
  out.put(kVersion);
  put_texts(out, options.behaviours);
  put_texts(out, options.apis);
  put_texts(out, options.filter.comms);
  put_texts(out, options.filter.exes);
  out.put(static_cast<std::uint32_t>(options.filter.pids.size()));
  for (const std::uint32_t pid : options.filter.pids) out.put(pid);
  out.put(static_cast<std::uint8_t>(options.filter.tree));
  out.put_text(options.host_id);
  out.put(options.rate_limit);
  out.put(static_cast<std::uint8_t>(options.platform == behaviour::Platform::windows));
  out.put(static_cast<std::uint8_t>(note.windows_apis));
  return out.take();
}

Result<SessionNote> decode_session(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  const auto version = in.get<std::uint32_t>();
  if (in.ok() && version != kVersion)
    return fail(ErrorCode::unsupported, "the recording is of version {}, this program reads {}",
                version, kVersion);
  SessionNote note;
  monitor::SessionOptions& options = note.options;
  options.behaviours = get_texts(in);
  options.apis = get_texts(in);
  options.filter.comms = get_texts(in);
  options.filter.exes = get_texts(in);
  const auto pids = std::min(in.get<std::uint32_t>(), kMaxEntries);
  for (std::uint32_t i = 0; i < pids && in.ok(); ++i)
    options.filter.pids.push_back(in.get<std::uint32_t>());
  options.filter.tree = in.get<std::uint8_t>() != 0;
  options.host_id = in.get_text();
  options.rate_limit = in.get<std::uint32_t>();
  if (in.get<std::uint8_t>() != 0) options.platform = behaviour::Platform::windows;
  note.windows_apis = in.get<std::uint8_t>() != 0;
  if (!in.ok() || !in.at_end())
    return fail(ErrorCode::protocol, "the recording does not say what was watched");
  return note;
}

Result<std::unique_ptr<hypervisor::Hypervisor>> recorded(
    std::unique_ptr<hypervisor::Hypervisor> inner, const std::string& file,
    const SessionNote& session) {
  if (file.empty()) return inner;
  // A replay hooks what a backend that sees all code would.
  const hypervisor::Capabilities capabilities = inner->capabilities();
  if (!capabilities.user_pages || !capabilities.returns)
    return with_remedy(
        fail(ErrorCode::unsupported, "a session of {} cannot be recorded", capabilities.backend),
        "--accel tcg");
  auto recorder = hypervisor::replay::Recorder::create(std::move(inner), file);
  if (!recorder) return std::unexpected(recorder.error());
  if (auto noted = (*recorder)->note(kKey, encode_session(session)); !noted)
    return std::unexpected(noted.error());
  return std::move(*recorder);
}

Result<Recording> open_recording(const std::string& file) {
  auto player = hypervisor::replay::Replayer::open(file);
  if (!player) return std::unexpected(player.error());
  const auto note = (*player)->noted(kKey);
  if (!note) return fail(ErrorCode::protocol, "{} does not say what was watched", file);
  auto session = decode_session(*note);
  if (!session) return std::unexpected(session.error());
  return Recording{std::move(*player), std::move(*session)};
}

}  // namespace glasshook::cli
