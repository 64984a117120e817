// What people use instead of API hooks, on the same engine: file behaviours rebuilt from
// intercepted system calls. For comparison alone.
#pragma once

#include <cstdint>
#include <memory>

#include "behaviour/family.h"

namespace glasshook::bench {

enum class Intercepted : std::uint8_t {
  all_calls,   ///< every system call is looked at, as Nitro and its like do
  file_calls,  ///< only those that deal with files
};

[[nodiscard]] std::unique_ptr<behaviour::Family> make_syscall_files(Intercepted what);

}  // namespace glasshook::bench
