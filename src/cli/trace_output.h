// API calls as strace shows them.
#pragma once

#include <memory>

#include "api/guest_apis.h"
#include "output/output.h"

namespace glasshook::cli {

/// One line a call: time, process, the call indented by how deep it is nested, result, duration.
/// A call is shown when it returns, so inner calls stand above outer ones. Other events are left
/// out. What `apis` names is borrowed: it says which arguments are strings.
[[nodiscard]] std::unique_ptr<output::Output> make_trace_output(output::LineSink sink,
                                                                output::TextOptions options,
                                                                const api::GuestApis& apis);

}  // namespace glasshook::cli
