// Requests from the monitor to the probe over a SOCK_SEQPACKET unix socket; one reply each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace glasshook::hypervisor::probe {

inline constexpr std::uint32_t kProtocolVersion = 6;
inline constexpr std::size_t kMaxMessageBytes = std::size_t{160} << 10;

/// First word of a request. The payloads are written and read with ByteWriter and ByteReader.
enum class Request : std::uint32_t {
  hello = 1,      ///< u32 version, u8 tier -> reply: Welcome; fds: shared region, RAM (read-only),
                  ///< both memory files that cannot shrink
  kernel_space,   ///< u64 root, u8 five_level
  return_thunks,  ///< u32 count, u64 each
  context_program,  ///< block program
  load_hook,    ///< u32 id, block entry program, u8 uncovers, u8 has_return, block return program
  unload_hook,  ///< u32 id
  place,        ///< u64 page, sites
  watch_user_pages,  ///< u8 on
  commit,
  set_add,         ///< u32 set, u64 key
  set_remove,      ///< u32 set, u64 key
  set_rate,        ///< u32 limiter, u32 per_second, u32 burst
  kernel_entries,  ///< u64 system call, u64 interrupt table
  place_at,        ///< u8 privileged instruction, u32 hook
  process_tables,  ///< u32 current task, u32 mm, u32 pgd
};

/// Reply: u32 status (0 or 1 + ErrorCode), then text on failure or the payload.
struct Reply {
  std::vector<std::byte> payload;
  std::vector<int> fds;  ///< owned by whoever receives it
};

/// One piece of RAM as the probe describes it: the RAM file holds it at `file_offset`.
struct RamPiece {
  std::uint64_t gpa = 0, size = 0, file_offset = 0;
};

}  // namespace glasshook::hypervisor::probe
