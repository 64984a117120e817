// The functions of ntdll that give out handles.
#pragma once

#include <span>
#include <string_view>

#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

struct ObjectMaker {
  std::string_view function;
  std::string_view handle;  ///< the parameter that gets it
  ObjectKind kind;
  std::string_view attributes = "ObjectAttributes";  ///< the parameter with its name; empty: none
};

[[nodiscard]] std::span<const ObjectMaker> object_makers();

}  // namespace glasshook::behaviour::windows
