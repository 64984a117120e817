// System calls that a Windows program makes without ntdll.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_direct_call_family();

}  // namespace glasshook::behaviour::windows
