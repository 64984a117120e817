// What `-e` names: the functions a user wants to see. docs/hooks.md shows the forms.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/guest_apis.h"
#include "base/result.h"
#include "guest/linux/symbols.h"

namespace glasshook::hook {

/// How a selected function is watched: `/rate=N`, `/burst=N`, `/noret`.
struct WatchOptions {
  std::uint32_t rate = 0;   ///< calls a second; 0: all
  std::uint32_t burst = 0;  ///< at once; 0: as many as `rate`
  bool returns = true;

  bool operator==(const WatchOptions&) const = default;
};

/// Who gets a function's calls.
struct Audience {
  bool user = true;       ///< calls are shown as such: the user named it
  bool families = false;  ///< behaviour families need it

  bool operator==(const Audience&) const = default;
};

/// One `-e` argument. Either a function (globs) or a category is named.
struct Selector {
  std::string text;      ///< as given
  std::string module;    ///< glob; empty: any
  std::string function;  ///< glob; empty: by category
  std::string category;
  WatchOptions options;
};

/// Parses `MODULE!FUNCTION`, `FUNCTION`, `MODULE:CATEGORY` or `@CATEGORY`, each with modifiers.
[[nodiscard]] Result<Selector> parse_selector(std::string_view text);

/// A function with a signature in the catalogue.
struct SelectedApi {
  const api::Signature* signature = nullptr;  ///< borrowed from its catalogue
  WatchOptions options;
  bool windows = false;  ///< of a Windows module
  Audience audience = {};
};

/// Exported functions of user-mode modules that have no signature: hooked where a module exports
/// one.
struct SelectedExport {
  std::string given;   ///< the module as the user wrote it: "libfoo.so.1", "KERNEL32.dll"
  std::string module;  ///< glob over the stem of a file name ("libfoo" of "libfoo.so.1")
  std::string function;
  WatchOptions options;
  Audience audience = {};
};

struct SelectedKernelFunction {
  linux_guest::Symbol symbol;
  WatchOptions options;
};

/// All selectors together. A function that several name is there once, as the last one says.
struct Selection {
  std::vector<SelectedApi> apis;
  std::vector<SelectedExport> exports;
  std::vector<SelectedKernelFunction> kernel;
  std::vector<std::string> notes;  ///< what a user should know, for people
};

/// Adds what `more` names. What both name is watched as `more` says.
void add_to(Selection& selection, const Selection& more);
/// Takes out what `less` names. How much that was: functions, and globs of exports, which have to
/// be named as they were.
std::size_t take_from(Selection& selection, const Selection& less);

/// All that behaviour families (`families`) and the user want hooked. What both want is watched as
/// the families need it: without a rate limit, to its return.
[[nodiscard]] Selection joined(const Selection& families, const Selection& user);

/// Kernel functions one selection may hold.
inline constexpr std::size_t kMaxKernelFunctions = 4096;

/// Finds what the selectors name. `symbols` is null while no kernel is known: then `kernel!` fails.
/// ErrorCode::not_found names the nearest functions, modules or categories.
[[nodiscard]] Result<Selection> resolve(std::span<const Selector> selectors,
                                        const api::GuestApis& apis,
                                        const linux_guest::KernelSymbols* symbols);

}  // namespace glasshook::hook
