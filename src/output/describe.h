// Events in words, for people. Everything returned is printable.
#pragma once

#include <string>
#include <string_view>

#include "behaviour/actions.h"
#include "behaviour/event.h"

namespace glasshook::output {

/// What a line of text says besides time and process.
struct Description {
  std::string_view words;  ///< "renamed"
  std::string target{};    ///< "/tmp/a -> /tmp/b"
  std::string result{};    ///< "12 bytes"; may be empty
  behaviour::Weight weight = behaviour::Weight::routine;
};

[[nodiscard]] Description describe(const behaviour::Event& event);

/// A field as printable text; empty when the event lacks it.
[[nodiscard]] std::string field_text(const behaviour::Event& event, std::string_view name);

/// A command line whose arguments can be told apart: those with blanks or quotes stand in quotes.
/// Of a Windows program it has its own words, without the name of Wine's loader before them.
[[nodiscard]] std::string command_line(const behaviour::Process& process);

/// What a process is called: of a Windows program "x.exe", since Linux has the name of Wine's
/// loader.
[[nodiscard]] std::string process_name(const behaviour::Process& process);

/// "1.2.3.4:80", "[::1]:53", "/run/x.sock" from PREFIX.ip, .port, .address.
[[nodiscard]] std::string endpoint(const behaviour::Event& event, std::string_view prefix);

/// "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t number);

/// At most `columns` code points of valid UTF-8, the last one "…" when something was cut.
[[nodiscard]] std::string cut_to(std::string text, std::size_t columns);

/// Code points, which is how wide nearly all text is.
[[nodiscard]] std::size_t text_width(std::string_view utf8);

}  // namespace glasshook::output
