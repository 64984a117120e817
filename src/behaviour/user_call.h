// A call of a function in user mode, as the families that asked for the function get it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "api/call.h"
#include "behaviour/event.h"

namespace glasshook::behaviour {

/// A function of user-mode modules that a family wants to see called.
struct WantedApi {
  std::string selector;   ///< as behind `-e`, without modifiers: "ntdll!NtCreateFile"
  bool at_entry = false;  ///< also told when it begins, from what is known then
  /// An export of the module whose file name is given ("ntdll.so!NtClose"), which needs no
  /// signature.
  bool without_signature = false;
};

/// One call, decoded. Borrowed for the callback.
struct UserCall {
  using Time = std::chrono::system_clock::time_point;

  const api::ApiCall& api;   ///< `returned` is false at its entry and when its return was not seen
  const api::Signature& as;  ///< the function the family named; `api` may bear another of its names
  Time began{};
  Time ended{};                            ///< of the return; `began` when that was not seen
  std::shared_ptr<const Process> process;  ///< may be null
  std::uint32_t thread_id = 0;
  std::uint32_t win32_process_id = 0;  ///< as Windows programs know it; 0 when unknown
  std::uint32_t win32_thread_id = 0;
  std::uint64_t address = 0;  ///< of the function, in the process
  std::uint64_t caller = 0;   ///< where a Windows function returns to; 0 when unknown
  std::uint32_t depth = 0;    ///< hooked calls of this thread that it is inside of
  std::uint64_t id = 0;  ///< the same at entry and return, of no other call before or meanwhile

  [[nodiscard]] std::string_view name() const { return as.name; }
  /// It returned, and not with a failure.
  [[nodiscard]] bool succeeded() const { return api.returned && !api.failed; }

  /// Null when there is no such parameter.
  [[nodiscard]] const api::ArgumentValue* argument(std::string_view name) const {
    for (const api::ArgumentValue& a : api.arguments)
      if (a.name == name) return &a;
    return nullptr;
  }
  /// The argument's register or stack word; 0 when there is none.
  [[nodiscard]] std::uint64_t raw(std::string_view name) const {
    const api::ArgumentValue* a = argument(name);
    return a == nullptr ? 0 : a->raw;
  }
  /// What the argument points to, as it was captured; texts are UTF-8. Empty when it was not.
  [[nodiscard]] std::string_view data(std::string_view name) const {
    const api::ArgumentValue* a = argument(name);
    return a == nullptr || !a->captured ? std::string_view{} : std::string_view{a->data};
  }
  /// A number behind the argument: `bytes` (1 to 8) at `offset`. 0 when it was not captured.
  [[nodiscard]] std::uint64_t number(std::string_view name, std::size_t offset = 0,
                                     std::size_t bytes = 8) const;
  [[nodiscard]] bool has_number(std::string_view name, std::size_t offset = 0,
                                std::size_t bytes = 8) const {
    return data(name).size() >= offset + bytes;
  }
  /// What a pointer in the argument's structure leads to ("ObjectName"); null when not captured.
  /// Of a structure that is but a text, and that text, which share a path, it is the text.
  [[nodiscard]] const api::NestedValue* nested(std::string_view name, std::string_view path) const;
};

}  // namespace glasshook::behaviour
