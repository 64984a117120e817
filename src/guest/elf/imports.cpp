#include "guest/elf/imports.h"

#include <elf.h>

#include <algorithm>
#include <array>

#include "guest/elf/limits.h"

namespace glasshook::elf {
namespace {

class Reader {
 public:
  Reader(const Image& image, const Dynamic& dynamic, const SymbolTable& strings)
      : image_(image), dynamic_(dynamic), strings_(strings) {}

  void read(Extent relocations) {
    std::array<Elf64_Rela, 128> chunk;
    for (std::uint64_t at = relocations.begin;
         at < relocations.end && imports_.size() < kMaxImports;) {
      const std::uint64_t count =
          std::min<std::uint64_t>(chunk.size(), (relocations.end - at) / sizeof(Elf64_Rela));
      const auto part = std::span{chunk}.first(count);
      if (count == 0 || !image_.read(at, std::as_writable_bytes(part))) return;
      for (const Elf64_Rela& relocation : part) add(relocation);
      at += count * sizeof(Elf64_Rela);
    }
  }
  [[nodiscard]] std::vector<Import> take() { return std::move(imports_); }

 private:
  void add(const Elf64_Rela& relocation) {
    const auto type = ELF64_R_TYPE(relocation.r_info);
    const std::uint64_t index = ELF64_R_SYM(relocation.r_info);
    if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) || index == 0 ||
        index >= kMaxSymbols || imports_.size() >= kMaxImports)
      return;
    const auto symbol = image_.read_value<Elf64_Sym>(dynamic_.symbols + index * sizeof(Elf64_Sym));
    if (!symbol || symbol->st_shndx != SHN_UNDEF) return;
    if (const auto name = strings_.string_at(symbol->st_name); !name.empty())
      imports_.push_back({.name = std::string{name}, .slot = relocation.r_offset});
  }

  const Image& image_;
  const Dynamic& dynamic_;
  const SymbolTable& strings_;
  std::vector<Import> imports_;
};

}  // namespace

std::vector<Import> read_imports(const Image& image, const Dynamic& dynamic,
                                 const SymbolTable& strings) {
  Reader reader(image, dynamic, strings);
  if (dynamic.symbols == 0) return {};
  reader.read(dynamic.jump_slots);
  reader.read(dynamic.relocations);
  return reader.take();
}

}  // namespace glasshook::elf
