// ELF modules that lie and have holes: bounded time, no access out of bounds.
#include <algorithm>
#include <memory>
#include <vector>

#include "guest/elf/elf_module.h"
#include "guest/elf/errno_location.h"
#include "guest/elf/function_extents.h"
#include "guest/elf/import_check.h"

using namespace glasshook::elf;  // NOLINT

namespace {

class HoledSource final : public ByteSource {
 public:
  HoledSource(std::span<const std::byte> bytes, std::uint8_t missing)
      : bytes_(bytes.begin(), bytes.end()), missing_(missing) {}

  bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    constexpr std::uint64_t kHole = 256;
    for (std::uint64_t i = 0; i < 8; ++i) {
      const bool is_missing = (missing_ & 1u << i) != 0;
      if (is_missing && offset < (i + 1) * kHole && offset + out.size() > i * kHole) return false;
    }
    return SpanSource(bytes_).read(offset, out);
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint8_t missing_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span{data + 2, size - 2});
  const auto layout = (data[0] & 1) != 0 ? Layout::memory : Layout::file;
  const std::uint64_t loaded_at = (data[0] & 2) != 0 ? 0x7f0000000000 : 0;
  const auto module =
      ElfModule::parse(std::make_shared<HoledSource>(bytes, data[1]), layout, loaded_at);
  if (!module) return 0;
  const CodeView code = code_of(*module);
  std::size_t found = 0, looked_at = 0;  // results are summed up so that nothing is optimised away
  for (const Symbol& symbol : module->exports().symbols()) {
    if (++looked_at > 16) break;
    found += module->exports().version(symbol).size();
    found += find_return_extents(code, symbol.value).ranges.size();
    found += ifunc_candidates(code, symbol.value).size();
  }
  for (std::uint64_t i = 0; i < 16; ++i) {
    found += module->function_at(module->entry_point() + i * 64).has_value();
    found += module->function_at(i * 128).has_value();
  }
  const std::vector<Import> imports = module->imports();
  const LoadedModule loaded{
      .name = "fuzzed", .bias = loaded_at, .module = &*module, .imports = &imports};
  const auto read_zeros_and_ones = [](std::uint64_t, std::span<std::byte> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::byte(i / 8 % 2);
    return true;
  };
  found += replaced_imports({&loaded, 1}, read_zeros_and_ones, [](std::uint64_t) {
             return false;
           }).size();
  found += find_errno(*module).has_value();
  found += find_return_extents(code, module->entry_point()).ranges.size();
  found += module->all_symbols().find("main") != nullptr;
  return found == ~std::size_t{0};
}
