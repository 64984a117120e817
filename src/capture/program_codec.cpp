#include "capture/program_codec.h"

#include <bit>
#include <cstring>

namespace glasshook::capture {
namespace {

static_assert(std::endian::native == std::endian::little);

struct ProgramHeader {
  std::uint32_t magic = 0x7067'6867;  // "ghgp"
  std::uint16_t version = 1;
  std::uint16_t back_jumps = 0;
  std::uint32_t instructions = 0;
  std::uint32_t patterns = 0;
};
static_assert(sizeof(ProgramHeader) == 16);

struct PatternHeader {
  PatternKind kind = PatternKind::equal;
  std::uint8_t reserved = 0;
  std::uint16_t length = 0;
};
static_assert(sizeof(PatternHeader) == 4 && kMaxPatternBytes <= 0xffff);

template <class T>
void append(std::vector<std::byte>& out, const T* values, std::size_t count) {
  const auto bytes = std::as_bytes(std::span{values, count});
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// Takes `count` values off the front of `bytes`; false when there are not enough.
template <class T>
bool take(std::span<const std::byte>& bytes, T* out, std::size_t count) {
  const std::size_t size = count * sizeof(T);
  if (bytes.size() < size) return false;
  if (size != 0) std::memcpy(out, bytes.data(), size);
  bytes = bytes.subspan(size);
  return true;
}

std::unexpected<Error> cut_short() {
  return fail(ErrorCode::protocol, "the bytes of a capture program end too early");
}

}  // namespace

std::vector<std::byte> serialize(const Program& program) {
  const ProgramHeader header{.back_jumps = program.back_jumps,
                             .instructions = static_cast<std::uint32_t>(program.code.size()),
                             .patterns = static_cast<std::uint32_t>(program.patterns.size())};
  std::vector<std::byte> out;
  append(out, &header, 1);
  append(out, program.code.data(), program.code.size());
  for (const Pattern& pattern : program.patterns) {
    const PatternHeader head{.kind = pattern.kind,
                             .length = static_cast<std::uint16_t>(pattern.text.size())};
    append(out, &head, 1);
    append(out, pattern.text.data(), pattern.text.size());
  }
  return out;
}

Result<Program> deserialize(std::span<const std::byte> bytes) {
  ProgramHeader header;
  if (!take(bytes, &header, 1)) return cut_short();
  if (header.magic != ProgramHeader{}.magic || header.version != ProgramHeader{}.version)
    return fail(ErrorCode::protocol, "the bytes are no capture program of version {}",
                ProgramHeader{}.version);
  if (header.instructions > kMaxInstructions || header.patterns > kMaxPatterns)
    return fail(ErrorCode::limit, "a capture program claims {} instructions and {} patterns",
                header.instructions, header.patterns);
  Program program;
  program.back_jumps = header.back_jumps;
  program.code.resize(header.instructions);
  if (!take(bytes, program.code.data(), program.code.size())) return cut_short();
  for (std::uint32_t i = 0; i < header.patterns; ++i) {
    PatternHeader head;
    if (!take(bytes, &head, 1)) return cut_short();
    if (head.reserved != 0)
      return fail(ErrorCode::protocol, "pattern {} has bits that mean nothing", i);
    if (head.length > kMaxPatternBytes)
      return fail(ErrorCode::limit, "pattern {} claims {} bytes", i, head.length);
    std::string text(head.length, '\0');
    if (!take(bytes, text.data(), text.size())) return cut_short();
    program.patterns.push_back({head.kind, std::move(text)});
  }
  if (!bytes.empty())
    return fail(ErrorCode::protocol, "{} bytes follow a capture program", bytes.size());
  return program;
}

}  // namespace glasshook::capture
