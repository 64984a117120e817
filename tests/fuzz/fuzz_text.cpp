// Guest text that is shown to people.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/text.h"

using namespace glasshook;  // NOLINT

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data),
                               std::min<std::size_t>(size, 4096));
  const std::string valid = to_valid_utf8(bytes);
  require(is_valid_utf8(valid));
  require(!is_valid_utf8(bytes) || valid == bytes);
  const std::string shown = to_printable(bytes);
  require(is_valid_utf8(shown));
  require(std::ranges::none_of(shown, [](unsigned char c) { return c < 0x20 || c == 0x7f; }));

  const std::string_view left = bytes.substr(0, bytes.size() / 2);
  const std::string_view right = bytes.substr(bytes.size() / 2);
  (void)glob_match(left, right);
  require(glob_match("*", bytes));
  const std::size_t distance = edit_distance(left.substr(0, 64), right.substr(0, 64), 10);
  require(distance == edit_distance(right.substr(0, 64), left.substr(0, 64), 10));
  return 0;
}
