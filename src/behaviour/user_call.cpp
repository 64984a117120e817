#include "behaviour/user_call.h"

#include <algorithm>
#include <cstring>

namespace glasshook::behaviour {

std::uint64_t UserCall::number(std::string_view name, std::size_t offset, std::size_t bytes) const {
  std::uint64_t value = 0;
  const std::string_view from = data(name);
  if (bytes <= sizeof value && offset <= from.size() && bytes <= from.size() - offset)
    std::memcpy(&value, from.data() + offset, bytes);
  return value;
}

const api::NestedValue* UserCall::nested(std::string_view name, std::string_view path) const {
  const api::ArgumentValue* a = argument(name);
  if (a == nullptr) return nullptr;
  const auto found =
      std::ranges::find(a->nested.rbegin(), a->nested.rend(), path, &api::NestedValue::path);
  return found == a->nested.rend() ? nullptr : &*found;
}

}  // namespace glasshook::behaviour
