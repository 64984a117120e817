// Kernel symbol tables: any bytes as guest memory, and any places of tables in them.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "guest/linux/kallsyms.h"

using namespace glasshook;               // NOLINT
using namespace glasshook::linux_guest;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes{reinterpret_cast<const std::byte*>(data), size};
  KallsymsBudget budget{.steps = 1 << 20};
  const auto mark = token_table_mark();
  for (auto at = bytes.begin();;) {
    at = std::search(at, bytes.end(), mark.begin(), mark.end());
    if (at == bytes.end()) break;
    const auto tables = find_tables(bytes, static_cast<std::size_t>(at - bytes.begin()), budget);
    if (tables) (void)decode_symbols(bytes.subspan(tables->begin.value, tables->size), *tables);
    ++at;
  }
  KallsymsTables tables;
  if (size < sizeof tables) return 0;
  std::memcpy(&tables, data, sizeof tables - 8);
  tables.absolute_percpu = (data[size - 1] & 1) != 0;
  (void)decode_symbols(bytes, tables);
  return 0;
}
