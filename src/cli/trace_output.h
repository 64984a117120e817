// API calls as strace shows them.
#pragma once

#include <memory>

#include "api/catalogue.h"
#include "output/output.h"

namespace glasshook::cli {

/// One line a call: time, process, the call indented by how deep it is nested, result, duration.
/// A call is shown when it returns, so inner calls stand above outer ones. Other events are left
/// out. `catalogue` is borrowed: it says which arguments are strings.
[[nodiscard]] std::unique_ptr<output::Output> make_trace_output(output::LineSink sink,
                                                                output::TextOptions options,
                                                                const api::ApiCatalogue& catalogue);

}  // namespace glasshook::cli
