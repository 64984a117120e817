// Calls of functions that the user named, as events.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "behaviour/event.h"
#include "monitor/api_tracer.h"

namespace glasshook::monitor {

/// Makes api_called events. They borrow names of fields from it.
class ApiEvents {
 public:
  /// Of a call whose hook has `shown`.
  [[nodiscard]] behaviour::Event make(const TracedCall& traced);

 private:
  [[nodiscard]] const std::vector<std::string>& argument_names(const api::Signature& signature);

  std::unordered_map<const api::Signature*, std::vector<std::string>> names_;
};

}  // namespace glasshook::monitor
