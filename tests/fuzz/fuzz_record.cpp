// Records as a probe that was taken over might send them.
#include <cstdlib>
#include <vector>

#include "capture/record.h"

using namespace glasshook::capture;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span{data, size});
  RecordView view;
  if (!RecordView::parse(bytes, view)) return 0;
  std::size_t total = 0;
  for (const FieldView& field : view.fields()) {
    for (const std::byte b : field.data) total += static_cast<std::size_t>(b) & 1;
    total += field.word(field.data.size() / 8) + field.text().size();
    if (view.find(field.id) == nullptr) std::abort();
  }
  return total == ~std::size_t{0};
}
