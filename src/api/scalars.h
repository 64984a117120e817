// The built-in types of the signature language, by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/signature.h"

namespace glasshook::api {

/// The type a plain word stands for (`int`, `fd`, `path`, ...).
[[nodiscard]] std::optional<Type> find_scalar(std::string_view word);

/// All those words.
[[nodiscard]] std::vector<std::string> scalar_names();

/// True for types whose value lies in memory that the argument points to.
[[nodiscard]] bool is_followed(TypeKind kind);

}  // namespace glasshook::api
