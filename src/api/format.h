// Values of the guest, shown to people and to machines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/call.h"
#include "api/signature.h"
#include "api/vocabulary.h"

namespace glasshook::api {

/// A value in both forms; `text` is printable whatever the guest has put there.
struct Shown {
  std::string text;
  StructuredValue value;
};

/// The low `size` bytes of a register, sign-extended when the type is signed.
[[nodiscard]] std::uint64_t narrow(const Type& type, std::uint64_t raw);

/// A value that needs no memory: numbers, flags, descriptors, addresses.
[[nodiscard]] Shown show_scalar(const Vocabulary& vocabulary, const Type& type, std::uint64_t raw);

/// `A|B|0x10`. A name applies when its masked bits match and none of them is shown already, so
/// sets list composite names before their parts.
[[nodiscard]] std::string show_flags(const ValueSet& set, std::uint64_t value);

/// The name of a value in an enumeration; empty when it has none.
[[nodiscard]] std::string_view enumerator(const ValueSet& set, std::uint64_t value);

/// "text" with C escapes; `...` behind the closing quote when `cut`.
[[nodiscard]] std::string quote(std::string_view bytes, bool cut = false);

/// 0x7ffd…, or NULL.
[[nodiscard]] std::string show_address(std::uint64_t address);

}  // namespace glasshook::api
