// The API signatures that come with the program.
#pragma once

#include <cstdint>
#include <optional>

#include "api/guest_apis.h"
#include "base/result.h"

namespace glasshook::cli {

/// Whose API a catalogue describes. They are apart because their names are (`timeval` has 16 bytes
/// on Linux and 8 on Windows), and because a Linux guest should not pay for Windows' 6,000
/// functions.
enum class ApiPlatform : std::uint8_t { linux, windows };

/// Loads the signatures of one platform: from where the program is installed, and for Windows those
/// that its build has made.
[[nodiscard]] Result<api::ApiCatalogue> load_catalogue(ApiPlatform platform = ApiPlatform::linux);

/// The signatures of a guest's platforms.
struct LoadedApis {
  api::ApiCatalogue linux;
  std::optional<api::ApiCatalogue> windows;

  [[nodiscard]] api::GuestApis view() const { return {linux, windows ? &*windows : nullptr}; }
};

/// Loads Linux' signatures, and Windows' too when `windows`.
[[nodiscard]] Result<LoadedApis> load_apis(bool windows);

}  // namespace glasshook::cli
