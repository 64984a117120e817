// Data of registry values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "behaviour/event.h"

namespace glasshook::behaviour::windows {

/// "REG_SZ"; a number for types nobody named.
[[nodiscard]] std::string registry_type(std::uint32_t type);

/// Adds registry.data.type, and what fits it of registry.data.strings (texts, numbers in decimal)
/// and registry.data.bytes (Base64). `bytes` is what was captured of `size` bytes; texts are
/// UTF-16LE. glasshook.registry.data_size says the size, glasshook.registry.data_truncated that not
/// all is there.
void add_registry_data(Event& event, std::uint32_t type, std::string_view bytes,
                       std::uint64_t size);

/// A value in KEY_VALUE_BASIC_INFORMATION (class 0), _FULL_ (1) or _PARTIAL_ (2).
struct ValueInformation {
  bool has_data = false;
  std::uint32_t type = 0;
  std::string name;  ///< UTF-8; partial information has none
  std::string_view data;
  std::uint64_t size = 0;  ///< of the data, of which some may be missing
};
/// Any bytes will do; what does not fit in them is left out.
[[nodiscard]] ValueInformation read_value_information(std::uint32_t information_class,
                                                      std::string_view bytes);

}  // namespace glasshook::behaviour::windows
