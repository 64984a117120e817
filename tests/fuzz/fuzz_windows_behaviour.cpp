// What Windows families read out of captured bytes: values of the registry, names, new names.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "behaviour/event.h"
#include "behaviour/windows/file_family.h"
#include "behaviour/windows/nt_path.h"
#include "behaviour/windows/registry_data.h"

using namespace glasshook::behaviour;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view data(reinterpret_cast<const char*>(bytes) + 2, size - 2);
  const windows::ValueInformation value = windows::read_value_information(bytes[0] % 4, data);
  if (value.data.size() > data.size() || value.name.size() > 3 * data.size()) std::abort();
  Event event;
  windows::add_registry_data(event, bytes[1] % 16, value.data, value.size);
  windows::add_registry_data(event, value.type, data, size);
  if (event.find("registry.data.type") == nullptr) std::abort();
  const windows::FileName file = windows::file_name(data);
  if (file.text.size() > data.size() + 16) std::abort();
  if (windows::registry_name(data).size() > data.size()) std::abort();
  if (windows::object_name(data).size() > data.size()) std::abort();
  if (windows::attribute_names(value.size).size() > 14) std::abort();
  return 0;
}
