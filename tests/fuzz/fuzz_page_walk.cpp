// Page tables of any bytes: every walk ends inside its limits, and every read says no more than RAM
// holds. Input: root and address (8 bytes each), then the RAM.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "memory/virtual_memory.h"

using namespace glasshook;  // NOLINT

namespace {

/// The input over and over, so that small inputs have tables that point into each other.
class Ram final : public PhysicalMemory {
 public:
  explicit Ram(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool read(Gpa from, std::span<std::byte> out) const noexcept override {
    if (from.value > size() || out.size() > size() - from.value) return false;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = bytes_[(from.value + i) % bytes_.size()];
    return true;
  }
  std::vector<PhysicalExtent> populated() const override { return {{Gpa{0}, size()}}; }
  std::span<const std::byte> view(Gpa, std::uint64_t) const noexcept override { return {}; }

  [[nodiscard]] std::uint64_t size() const {
    return (bytes_.size() + kPageSize - 1) / kPageSize * kPageSize;
  }

 private:
  std::span<const std::byte> bytes_;
};

void need(bool holds) {
  if (!holds) std::abort();
}

void check(const Ram& ram, AddressSpace space, Gva address) {
  const VirtualMemory memory(ram, space);
  const auto found = memory.translate(address);
  std::byte byte{};
  if (found) {
    need(found->page_size == 1ull << 12 || found->page_size == 1ull << 21 ||
         found->page_size == 1ull << 30);
    need((found->gpa.value & (found->page_size - 1)) == (address.value & (found->page_size - 1)));
  }
  need(memory.read(address, {&byte, 1}) == (found && found->gpa.value < ram.size()));
  std::byte bytes[10'000];
  const std::size_t read = memory.read_some(address, bytes);
  need(read <= sizeof bytes && (read > 0) == (found && found->gpa.value < ram.size()));
  if (const auto text = memory.read_string(address, 9000)) need(text->size() <= 9000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= 16) return 0;
  std::uint64_t root = 0, address = 0;
  std::memcpy(&root, data, 8);
  std::memcpy(&address, data + 8, 8);
  const Ram ram(std::as_bytes(std::span{data + 16, std::min<std::size_t>(size - 16, 65536)}));
  for (const bool five_level : {false, true})
    check(ram, {.root = Gpa{root}, .five_level = five_level}, Gva{address});
  return 0;
}
