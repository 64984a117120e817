// Signatures of kernel functions, made from the kernel's own type information: no data line needed.
#pragma once

#include <string_view>

#include "api/signature.h"
#include "base/result.h"
#include "guest/linux/types.h"

namespace glasshook::api {

/// The module name of such signatures.
inline constexpr std::string_view kKernelModule = "kernel";

/// The signature of `kernel!FUNCTION`; ErrorCode::not_found when the kernel has no prototype of it.
/// Integers keep their size and sign; struct file, path, dentry, filename and task_struct pointers
/// become the kernel kinds; `char *` becomes a path, a string, or bytes when a count follows it;
/// other pointers are shown as addresses. Signed results are -errno when negative, pointers may be
/// error pointers.
[[nodiscard]] Result<Signature> signature_from_btf(const linux_guest::KernelTypes& types,
                                                   std::string_view function);

}  // namespace glasshook::api
