// Programs as bytes, to send them to a probe or keep them in a recording.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "capture/program.h"

namespace glasshook::capture {

/// Little-endian: magic, version, back_jumps, counts, instructions, patterns.
[[nodiscard]] std::vector<std::byte> serialize(const Program& program);

/// Reads exactly what serialize() wrote; counts and lengths are checked against the program limits
/// and the bytes before anything is allocated. The program still has to pass verify().
/// ErrorCode::protocol when the bytes are no program, ErrorCode::limit when it is too big.
[[nodiscard]] Result<Program> deserialize(std::span<const std::byte> bytes);

}  // namespace glasshook::capture
