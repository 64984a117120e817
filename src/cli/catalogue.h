// The API signatures that come with the program.
#pragma once

#include "api/catalogue.h"
#include "base/result.h"

namespace glasshook::cli {

/// Loads the signatures of Linux guests from where the program is installed.
[[nodiscard]] Result<api::ApiCatalogue> load_catalogue();

}  // namespace glasshook::cli
