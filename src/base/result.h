// Errors as values: every fallible function returns Result<T>.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace glasshook {

/// What kind of failure it was; decides the exit status and what a caller may retry.
enum class ErrorCode {
  invalid_argument,  ///< the user or a caller asked for something that cannot be
  not_found,         ///< a name, file, symbol or process does not exist
  unsupported,       ///< this host, QEMU, kernel or guest cannot do it
  guest_fault,       ///< guest memory is unmapped, inconsistent or hostile
  limit,             ///< a cap or a budget was reached
  io,                ///< a host file, socket or process failed
  protocol,          ///< the peer (QEMU, probe, recording) spoke nonsense
  timeout,           ///< a deadline passed
  closed,            ///< the peer is gone
};

/// A failure a person can act on: what happened, and (when known) what to do about it.
struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string message;
  std::string remedy;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// Builds the error value of a Result: `return fail(ErrorCode::io, "cannot open {}", path);`
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format,
                                          Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...), {}});
}

/// The same failure with the step that would mend it.
[[nodiscard]] inline std::unexpected<Error> with_remedy(std::unexpected<Error> error,
                                                        std::string remedy) {
  error.error().remedy = std::move(remedy);
  return error;
}

}  // namespace glasshook
