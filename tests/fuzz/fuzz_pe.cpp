// PE modules that lie and have holes: bounded time, no access out of bounds.
#include <memory>
#include <vector>

#include "guest/windows/import_check.h"
#include "guest/windows/pe_module.h"

using namespace glasshook::windows;  // NOLINT

namespace {

class HoledSource final : public ByteSource {
 public:
  HoledSource(std::span<const std::byte> bytes, std::uint8_t missing)
      : bytes_(bytes.begin(), bytes.end()), missing_(missing) {}

  bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    constexpr std::uint64_t kHole = 512;
    for (std::uint64_t i = 0; i < 8; ++i) {
      const bool is_missing = (missing_ & 1u << i) != 0;
      if (is_missing && offset < (i + 1) * kHole && offset + out.size() > i * kHole) return false;
    }
    return glasshook::elf::SpanSource(bytes_).read(offset, out);
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint8_t missing_;
};

/// The same module at three places.
class Everywhere final : public ByteSource {
 public:
  explicit Everywhere(const ByteSource& source) : source_(source) {}
  bool read(std::uint64_t address, std::span<std::byte> out) const override {
    return source_.read(address & 0xfffff, out);
  }

 private:
  const ByteSource& source_;
};

std::size_t check_imports(const ByteSource& source) {
  std::vector<LoadedModule> modules;
  std::uint64_t base = 0;
  for (const char* name : {"tiny.dll", "kernelbase.dll", "ntdll.dll"}) {
    base += 1u << 20;
    modules.push_back(
        {.base = {base}, .size = 0x4000, .entry_point = {}, .path = {}, .name = name});
  }
  return replaced_imports(Everywhere(source), modules).size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span{data + 2, size - 2});
  const auto layout = (data[0] & 1) != 0 ? Layout::memory : Layout::file;
  const auto module = PeModule::parse(std::make_shared<HoledSource>(bytes, data[1]), layout);
  if (!module) return 0;
  const auto code = code_of(*module);
  std::size_t found = check_imports(HoledSource(bytes, data[1])),
              looked_at = 0;  // results are summed up so that nothing is optimised away
  for (const Export& entry : module->exports().all()) {
    if (++looked_at > 16) break;
    const auto target = module->target_of(entry);
    found += target ? target->name.size() : 0;
    found += module->exports().find(entry.ordinal) != nullptr;
    found += glasshook::elf::find_return_extents(code, entry.rva).ranges.size();
    found += module->unwind_table().parts_at(module->image(), entry.rva).size();
  }
  for (std::uint64_t i = 0; i < 16; ++i) {
    const std::uint64_t rva = module->entry_point() + i * 64;
    found += module->function_at(rva).has_value() + module->import_at(rva * 8).has_value();
    found += module->unwind_table().primary_at(module->image(), rva).has_value();
    found += module->image().file_offset(rva).value_or(0);
  }
  return found == ~std::size_t{0};
}
