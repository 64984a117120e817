// From API signatures to capture programs, with the record layout of api/call.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "api/signature.h"
#include "api/vocabulary.h"
#include "base/result.h"
#include "hook/calling_convention.h"
#include "hook/compiler.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::hook {

/// Strings of an array (argv) that are captured, at most.
inline constexpr std::uint16_t kMaxArrayStrings = 64;
/// `detail` of a string array's list: more strings followed, or the array was not readable further.
inline constexpr std::uint8_t kArrayTruncated = 1;
inline constexpr std::uint8_t kArrayFaulted = 3;

struct SignatureOptions {
  bool returns = true;                        ///< also capture the return, if the function has one
  std::uint32_t max_text = 4096;              ///< bytes of a string or path
  std::uint32_t max_bytes = 1024;             ///< bytes of a buffer or structure
  std::optional<std::uint32_t> rate_limiter;  ///< takes a token for every call in scope
  /// Where the C library keeps errno: fs_base plus the word in a GOT slot, given as the slot's
  /// address minus that of the function's entry, or else fs_base plus a fixed offset. Without
  /// either, errno stays unknown.
  std::optional<std::int64_t> errno_slot_delta;
  std::optional<std::int64_t> errno_offset;
};

/// The signature of a function nobody described: six words in hex.
[[nodiscard]] api::Signature raw_signature(std::string module, std::string name);

/// Compiles a signature for functions that are called by `abi`. What an `in` pointer points to is
/// read again at the return when it was not readable at entry.
[[nodiscard]] Result<hypervisor::HookPrograms> compile_signature(const api::Signature& signature,
                                                                 const api::Vocabulary& vocabulary,
                                                                 Abi abi, const Target& target,
                                                                 const SignatureOptions& options,
                                                                 hypervisor::HookId id);

}  // namespace glasshook::hook
