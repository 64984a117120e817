// One process laying hands on another: ptrace, process_vm_writev, /proc/PID/mem.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_injection_family();

}  // namespace glasshook::behaviour
