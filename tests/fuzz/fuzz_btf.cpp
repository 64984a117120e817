// Kernel type information: any bytes as a BTF blob.
#include <algorithm>
#include <cstdint>

#include "guest/linux/layout.h"
#include "guest/linux/types.h"

using namespace glasshook;               // NOLINT
using namespace glasshook::linux_guest;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto types = KernelTypes::parse(
      {reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 1 << 20)});
  if (!types) return 0;
  const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(types->type_count(), 256));
  for (std::uint32_t id = 0; id <= count; ++id) {
    const TypeId type{id};
    (void)types->spelling(type);
    (void)types->size(type);
    (void)types->member(type, "m");
    (void)types->pointee(type);
    (void)types->array_element(type);
    (void)types->is_char_pointer(type);
    (void)types->is_signed_integer(type);
  }
  (void)types->find_function("f");
  (void)types->find_enumerator("E");
  (void)types->offset("s", "a.b");
  (void)Layout::of(*types);
  return 0;
}
