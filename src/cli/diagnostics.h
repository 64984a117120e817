// Errors and notes for the person at the terminal.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace glasshook::cli {

/// "glasshook: MESSAGE" and, when there is one, "  try: REMEDY"; each with its newline. Control
/// characters in them are escaped, so that no guest or file name can drive the terminal.
[[nodiscard]] std::string error_text(const Error& error);

/// Writes error_text() to the standard error.
void print_error(const Error& error);

/// Writes "glasshook: TEXT" to the standard error.
void print_note(std::string_view text);

/// Writes all of `text` to a descriptor; errors other than interruption are ignored, since there is
/// nowhere left to tell them.
void write_all(int fd, std::string_view text);

}  // namespace glasshook::cli
