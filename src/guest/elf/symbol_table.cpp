#include "guest/elf/symbol_table.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

#include "guest/elf/limits.h"

namespace glasshook::elf {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint16_t kHiddenVersion = 0x8000;  // bit of a DT_VERSYM entry

/// Reads [from, from + out.size()) page by page through `read(offset, span)`; what is missing stays
/// zero. The number of bytes missing.
template <class Read>
std::uint64_t read_with_holes(std::uint64_t from, std::span<std::byte> out, Read&& read) {
  std::uint64_t missing = 0;
  for (std::uint64_t done = 0; done < out.size();) {
    const std::uint64_t to_page_end = kPage - (from + done) % kPage;
    const std::uint64_t size = std::min<std::uint64_t>(to_page_end, out.size() - done);
    const std::span<std::byte> part = out.subspan(done, size);
    if (!read(from + done, part)) {
      std::ranges::fill(part, std::byte{0});
      missing += size;
    }
    done += size;
  }
  return missing;
}

template <class T, class Read>
std::vector<T> read_array(std::uint64_t from, std::uint64_t count, std::uint64_t& missing,
                          Read&& read) {
  std::vector<T> values(count);
  missing += read_with_holes(from, std::as_writable_bytes(std::span(values)), read);
  return values;
}

SymbolKind kind_of(const Elf64_Sym& symbol) {
  switch (ELF64_ST_TYPE(symbol.st_info)) {
    case STT_FUNC:
      return SymbolKind::function;
    case STT_GNU_IFUNC:
      return SymbolKind::ifunc;
    case STT_OBJECT:
    case STT_TLS:
    case STT_COMMON:
      return SymbolKind::object;
    default:
      return SymbolKind::other;
  }
}

bool is_exported(const Elf64_Sym& symbol) {
  const auto binding = ELF64_ST_BIND(symbol.st_info);
  const auto visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  return binding != STB_LOCAL && (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

}  // namespace

SymbolTable SymbolTable::exports(const Image& image, const Dynamic& dynamic,
                                 std::vector<std::string>& incomplete) {
  SymbolTable table;
  const auto read = [&](std::uint64_t at, std::span<std::byte> out) { return image.read(at, out); };
  std::uint64_t missing = 0;
  table.load_strings(read_array<char>(
      dynamic.strings, dynamic.strings ? std::min(dynamic.string_bytes, kMaxStringBytes) : 0,
      missing, read));
  const std::uint64_t count = dynamic.symbols ? count_symbols(image, dynamic).value_or(0) : 0;
  if (dynamic.symbols != 0 && count == 0)
    incomplete.emplace_back("the number of symbols is unknown");
  const auto symbols = read_array<Elf64_Sym>(dynamic.symbols, count, missing, read);
  const auto versions =
      read_array<std::uint16_t>(dynamic.versions, dynamic.versions ? count : 0, missing, read);
  if (missing > 0)
    incomplete.push_back(std::to_string(missing) + " bytes of the symbol table are missing");
  if (!dynamic.complete) incomplete.emplace_back("the dynamic section is cut");

  for (std::size_t i = 0; i < symbols.size(); ++i)
    if (is_exported(symbols[i])) table.add(&symbols[i], i < versions.size() ? versions[i] : 0);
  table.read_version_names(image, dynamic);
  table.index();
  return table;
}

SymbolTable SymbolTable::all(const Image& image) {
  SymbolTable table;
  const ByteSource& source = image.source();
  const auto header = source.read_value<Elf64_Ehdr>(0);
  if (image.layout() != Layout::file || !header || header->e_shentsize != sizeof(Elf64_Shdr))
    return table;
  const auto read = [&](std::uint64_t at, std::span<std::byte> out) {
    return source.read(at, out);
  };
  std::uint64_t missing = 0;
  const auto sections = read_array<Elf64_Shdr>(
      header->e_shoff, std::min<std::uint64_t>(header->e_shnum, kMaxSections), missing, read);
  const auto symtab = std::ranges::find(sections, Elf64_Word{SHT_SYMTAB}, &Elf64_Shdr::sh_type);
  if (symtab == sections.end() || symtab->sh_link >= sections.size()) return table;
  const Elf64_Shdr& strtab = sections[symtab->sh_link];
  const std::uint64_t count = std::min(symtab->sh_size / sizeof(Elf64_Sym), kMaxSymbols);
  table.load_strings(
      read_array<char>(strtab.sh_offset, std::min(strtab.sh_size, kMaxStringBytes), missing, read));
  for (const Elf64_Sym& symbol : read_array<Elf64_Sym>(symtab->sh_offset, count, missing, read))
    table.add(&symbol, 0);
  table.index();
  return table;
}

void SymbolTable::add(const void* elf_symbol, std::uint16_t version) {
  const auto& symbol = *static_cast<const Elf64_Sym*>(elf_symbol);
  const std::string_view name = string_at(symbol.st_name);
  if (symbol.st_shndx == SHN_UNDEF || name.empty()) return;
  symbols_.push_back({.name = name,
                      .value = symbol.st_value,
                      .size = symbol.st_size,
                      .kind = kind_of(symbol),
                      .is_default = (version & kHiddenVersion) == 0,
                      .version_index = static_cast<std::uint16_t>(version & ~kHiddenVersion)});
}

/// Definitions form a list in which each names the offset of the next.
void SymbolTable::read_version_names(const Image& image, const Dynamic& dynamic) {
  std::uint64_t at = dynamic.version_definitions;
  const std::uint64_t count = std::min(dynamic.version_definition_count, kMaxVersions);
  for (std::uint64_t i = 0; i < count && at != 0; ++i) {
    const auto definition = image.read_value<Elf64_Verdef>(at);
    if (!definition) return;
    if (const auto name = image.read_value<Elf64_Verdaux>(at + definition->vd_aux))
      version_names_.emplace_back(definition->vd_ndx, name->vda_name);
    if (definition->vd_next == 0) return;
    at += definition->vd_next;
  }
}

void SymbolTable::index() {
  std::ranges::sort(symbols_, {}, [](const Symbol& s) {
    return std::tuple(s.name, !s.is_default, s.version_index, s.value);
  });
  for (std::uint32_t i = 0; i < symbols_.size(); ++i)
    if (symbols_[i].kind == SymbolKind::function && symbols_[i].size > 0) by_address_.push_back(i);
  std::ranges::sort(by_address_, {}, [&](std::uint32_t i) { return symbols_[i].value; });
}

const Symbol* SymbolTable::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(symbols_, name, {}, &Symbol::name);
  return found != symbols_.end() && found->name == name ? &*found : nullptr;
}

const Symbol* SymbolTable::function_at(std::uint64_t address) const {
  const auto value_of = [&](std::uint32_t i) { return symbols_[i].value; };
  const auto behind = std::ranges::upper_bound(by_address_, address, {}, value_of);
  if (behind == by_address_.begin()) return nullptr;
  const Symbol& symbol = symbols_[*(behind - 1)];
  return address - symbol.value < symbol.size ? &symbol : nullptr;
}

std::string_view SymbolTable::version(const Symbol& symbol) const {
  if (symbol.version_index <= VER_NDX_GLOBAL) return {};
  for (const auto& [index, name] : version_names_)
    if (index == symbol.version_index) return string_at(name);
  return {};
}

std::string_view SymbolTable::string_at(std::uint64_t offset) const {
  if (offset >= strings_.size()) return {};
  const char* begin = strings_.data() + offset;
  const std::size_t limit = std::min<std::size_t>(strings_.size() - offset, kMaxNameBytes);
  const void* end = std::memchr(begin, 0, limit);
  if (!end) return {};
  return {begin, static_cast<std::size_t>(static_cast<const char*>(end) - begin)};
}

}  // namespace glasshook::elf
