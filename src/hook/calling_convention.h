// Where functions find their arguments (System V AMD64 psABI 1.0, 3.2.3; Microsoft x64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "capture/builder.h"
#include "guest/linux/types.h"
#include "hook/expression_compiler.h"

namespace glasshook::hook {

enum class Abi : std::uint8_t { sysv_user, win64_user, linux_kernel };

/// Where the `index`th integer or pointer argument is when a function is entered.
[[nodiscard]] Argument integer_argument(Abi abi, std::size_t index);

/// The arguments of a kernel function: as its prototype says, or six words without a prototype.
[[nodiscard]] std::vector<Argument> kernel_arguments(const linux_guest::Prototype* prototype,
                                                     const TypeSystem& types);

/// Loads an argument's whole word, as passed, into `into`. For entry programs.
void emit_raw_argument(capture::Builder& builder, const Argument& argument, capture::Reg into);

}  // namespace glasshook::hook
