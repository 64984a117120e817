// TEB, PEB, process parameters and the loader's list from memory that lies: bounded time and text.
#include <cstdlib>

#include "base/text.h"
#include "guest/windows/process.h"

using namespace glasshook;           // NOLINT
using namespace glasshook::windows;  // NOLINT

namespace {

/// The input, from address kBase on.
class Memory final : public elf::ByteSource {
 public:
  static constexpr std::uint64_t kBase = 0x1000;
  explicit Memory(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool read(std::uint64_t address, std::span<std::byte> out) const override {
    return address >= kBase && bytes_.read(address - kBase, out);
  }

 private:
  elf::SpanSource bytes_;
};

void check(const std::string& text) {
  if (!is_valid_utf8(text)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Memory memory(std::as_bytes(std::span{data, size}));
  Gva start{Memory::kBase};
  if (const auto teb = read_teb(memory, start)) start = teb->peb;
  const auto peb = read_peb(memory, start);
  if (!peb) return 0;
  if (const auto parameters = read_parameters(memory, peb->parameters)) {
    check(parameters->image_path);
    check(parameters->command_line);
    check(parameters->current_directory);
  }
  for (const LoadedModule& module : read_modules(memory, peb->loader_data).items) {
    check(module.path);
    check(module.name);
  }
  return 0;
}
