// What a recording says about the session it is of, so that a replay asks for the same hooks.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "monitor/session.h"

namespace glasshook::cli {

struct SessionNote {
  monitor::SessionOptions options;
  bool windows_apis = false;  ///< signatures of Windows were loaded
};

/// A note as bytes, and back. The bytes may come from anywhere; they are checked.
[[nodiscard]] std::vector<std::byte> encode_session(const SessionNote& note);
[[nodiscard]] Result<SessionNote> decode_session(std::span<const std::byte> bytes);

/// Puts a recorder that writes `file` before `inner`; "" leaves it as it is.
[[nodiscard]] Result<std::unique_ptr<hypervisor::Hypervisor>> recorded(
    std::unique_ptr<hypervisor::Hypervisor> inner, const std::string& file,
    const SessionNote& session);

/// Opens a recording: what plays it, and what it says of its session.
struct Recording {
  std::unique_ptr<hypervisor::Hypervisor> player;
  SessionNote note;
};
[[nodiscard]] Result<Recording> open_recording(const std::string& file);

}  // namespace glasshook::cli
