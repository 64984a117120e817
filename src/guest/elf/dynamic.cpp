#include "guest/elf/dynamic.h"

#include <elf.h>

#include <array>

#include "guest/elf/limits.h"

namespace glasshook::elf {
namespace {

/// The module's own address of a pointer the loader may have relocated; 0 when it is neither.
std::uint64_t own_address(const Image& image, std::uint64_t pointer, std::uint64_t bias) {
  if (image.bounds().contains(pointer)) return pointer;
  return image.bounds().contains(pointer - bias) ? pointer - bias : 0;
}

/// Cut at the end of the module; empty when it begins nowhere.
Extent within(const Image& image, std::uint64_t begin, std::uint64_t size) {
  if (!image.bounds().contains(begin) || begin == 0) return {};
  return {begin, begin + std::min(size, image.bounds().end - begin)};
}

std::optional<std::uint64_t> count_from_hash(const Image& image, std::uint64_t hash) {
  const auto chains = image.read_value<std::uint32_t>(hash + 4);
  return chains ? std::optional<std::uint64_t>{*chains} : std::nullopt;
}

/// The largest first index of a chain, or empty when a bucket is missing.
std::optional<std::uint32_t> last_chain(const Image& image, std::uint64_t buckets,
                                        std::uint32_t count) {
  std::uint32_t last = 0;
  std::array<std::uint32_t, 256> chunk;
  for (std::uint32_t i = 0; i < count;) {
    const std::uint32_t size = std::min<std::uint32_t>(chunk.size(), count - i);
    const std::span<std::uint32_t> part = std::span(chunk).first(size);
    if (!image.read(buckets + 4ull * i, std::as_writable_bytes(part))) return std::nullopt;
    for (const std::uint32_t bucket : part) last = std::max(last, bucket);
    i += size;
  }
  return last;
}

/// The symbols of a GNU hash table end where the chain of the last bucket does.
std::optional<std::uint64_t> count_from_gnu_hash(const Image& image, std::uint64_t hash) {
  struct Header {
    std::uint32_t buckets, first_symbol, bloom_words, bloom_shift;
  };
  const auto header = image.read_value<Header>(hash);
  if (!header || header->buckets > kMaxSymbols || header->bloom_words > kMaxSymbols)
    return std::nullopt;
  const std::uint64_t buckets = hash + sizeof(Header) + 8ull * header->bloom_words;
  const std::uint64_t chains = buckets + 4ull * header->buckets;
  const auto last = last_chain(image, buckets, header->buckets);
  if (!last) return std::nullopt;
  if (*last < header->first_symbol) return header->first_symbol;  // nothing is exported
  for (std::uint64_t index = *last; index < kMaxSymbols; ++index) {
    const auto value =
        image.read_value<std::uint32_t>(chains + 4ull * (index - header->first_symbol));
    if (!value) return std::nullopt;
    if ((*value & 1) != 0) return index + 1;
  }
  return std::nullopt;
}

}  // namespace

Dynamic read_dynamic(const Image& image, Extent extent, std::uint64_t bias) {
  Dynamic dynamic;
  std::uint64_t jump_slot_bytes = 0, relocation_bytes = 0;
  const std::uint64_t count =
      std::min((extent.end - extent.begin) / sizeof(Elf64_Dyn), kMaxDynamic);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto entry = image.read_value<Elf64_Dyn>(extent.begin + i * sizeof(Elf64_Dyn));
    if (!entry) {
      dynamic.complete = false;
      break;
    }
    const std::uint64_t value = entry->d_un.d_val;
    const std::uint64_t address = own_address(image, value, bias);
    switch (entry->d_tag) {
      case DT_NULL:
        i = count;
        break;
      case DT_SYMTAB:
        dynamic.symbols = address;
        break;
      case DT_STRTAB:
        dynamic.strings = address;
        break;
      case DT_STRSZ:
        dynamic.string_bytes = value;
        break;
      case DT_HASH:
        dynamic.hash = address;
        break;
      case DT_GNU_HASH:
        dynamic.gnu_hash = address;
        break;
      case DT_VERSYM:
        dynamic.versions = address;
        break;
      case DT_VERDEF:
        dynamic.version_definitions = address;
        break;
      case DT_VERDEFNUM:
        dynamic.version_definition_count = value;
        break;
      case DT_JMPREL:
        dynamic.jump_slots.begin = address;
        break;
      case DT_PLTRELSZ:
        jump_slot_bytes = value;
        break;
      case DT_RELA:
        dynamic.relocations.begin = address;
        break;
      case DT_RELASZ:
        relocation_bytes = value;
        break;
      case DT_SONAME:
        dynamic.soname = value;
        break;
      case DT_FLAGS_1:
        dynamic.is_program = (value & DF_1_PIE) != 0;
        break;
      default:
        break;
    }
  }
  dynamic.jump_slots = within(image, dynamic.jump_slots.begin, jump_slot_bytes);
  dynamic.relocations = within(image, dynamic.relocations.begin, relocation_bytes);
  return dynamic;
}

std::optional<std::uint64_t> count_symbols(const Image& image, const Dynamic& dynamic) {
  std::optional<std::uint64_t> count;
  if (dynamic.hash != 0) count = count_from_hash(image, dynamic.hash);
  if (!count && dynamic.gnu_hash != 0) count = count_from_gnu_hash(image, dynamic.gnu_hash);
  // Linkers put the strings right behind the symbols: good enough when the hash page is missing.
  if (!count && dynamic.strings > dynamic.symbols && dynamic.symbols != 0)
    count = (dynamic.strings - dynamic.symbols) / sizeof(Elf64_Sym);
  if (!count || *count > kMaxSymbols) return std::nullopt;
  return count;
}

}  // namespace glasshook::elf
