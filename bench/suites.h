// What guest_overhead measures: ways to watch, and work to do meanwhile.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "subject.h"

namespace glasshook::bench {

struct Suite {
  const char* guest = "linux";  ///< the image
  std::vector<Case> cases;      ///< the first is what the others are compared with
  std::vector<Workload> workloads;
  bool programs_make_rounds = false;  ///< where starting one takes far longer than a round
};

/// The suite of that name: guest (behaviours as they are), files (file behaviours, and the same
/// rebuilt from system calls), single and registry (one hook on a function of Linux, of Windows),
/// relay (hooks on functions of Windows, and Wine's own log of their calls).
/// `divisor` makes every work with a count that much smaller.
[[nodiscard]] Result<Suite> suite_of(std::string_view name, std::uint32_t divisor);

}  // namespace glasshook::bench
