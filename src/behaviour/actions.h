// Every action an event can have, with its ECS categories and the words text output uses.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "behaviour/event.h"

namespace glasshook::behaviour {

/// How much a person should care when reading; decides colour and the tags of the process tree.
enum class Weight : std::uint8_t {
  routine,  ///< happens all the time
  change,   ///< leaves something behind
  notable,  ///< rare in ordinary work, common in intrusions
};

/// One kind of event. All text has static storage.
struct ActionInfo {
  std::string_view name;      ///< event.action
  std::string_view category;  ///< event.category (ECS 8)
  std::string_view type;      ///< event.type (ECS 8)
  std::string_view words;     ///< "wrote", at most 19 characters
  Weight weight = Weight::routine;
};

/// All actions, in the order of docs/events.md.
[[nodiscard]] std::span<const ActionInfo> actions();

/// The action of that name, or nullptr.
[[nodiscard]] const ActionInfo* find_action(std::string_view name);

/// An event of a known action with its category filled in; the monitor fills in the rest.
[[nodiscard]] Event make_event(std::string_view action);

}  // namespace glasshook::behaviour
