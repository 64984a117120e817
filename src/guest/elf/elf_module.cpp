#include "guest/elf/elf_module.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "guest/elf/limits.h"

namespace glasshook::elf {
namespace {

Result<Elf64_Ehdr> read_header(const ByteSource& source) {
  const auto header = source.read_value<Elf64_Ehdr>(0);
  if (!header) return fail(ErrorCode::guest_fault, "the ELF header is missing");
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
    return fail(ErrorCode::guest_fault, "not an ELF module");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_machine != EM_X86_64)
    return fail(ErrorCode::unsupported, "an ELF module of another machine than x86-64");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return fail(ErrorCode::unsupported, "neither an ELF program nor a shared object");
  if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
      header->e_phnum > kMaxProgramHeaders)
    return fail(ErrorCode::guest_fault, "the ELF program headers make no sense");
  return *header;
}

/// A loadable segment whose addresses do not wrap around.
bool is_sane(const Elf64_Phdr& header) {
  std::uint64_t end = 0;
  return header.p_filesz <= header.p_memsz &&
         !__builtin_add_overflow(header.p_vaddr, header.p_memsz, &end) &&
         !__builtin_add_overflow(header.p_offset, header.p_filesz, &end);
}

Segment to_segment(const Elf64_Phdr& header) {
  return {.address = header.p_vaddr,
          .file_offset = header.p_offset,
          .file_size = header.p_filesz,
          .memory_size = header.p_memsz,
          .readable = (header.p_flags & PF_R) != 0,
          .writable = (header.p_flags & PF_W) != 0,
          .executable = (header.p_flags & PF_X) != 0};
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

}  // namespace

Result<ElfModule> ElfModule::parse(std::shared_ptr<const ByteSource> source, Layout layout,
                                   std::uint64_t load_address) {
  ElfModule module(std::move(source), layout);
  if (Result<> read = module.read_program_headers(); !read) return std::unexpected(read.error());
  const std::uint64_t first_page = module.bounds().begin & ~std::uint64_t{4095};
  const std::uint64_t bias = load_address == 0 ? 0 : load_address - first_page;
  if (module.dynamic_ != Extent{}) {
    const Dynamic& dynamic = module.dynamic_section_ =
        read_dynamic(module.image_, module.dynamic_, bias);
    const std::size_t noted = module.incomplete_.size();
    module.exports_ = SymbolTable::exports(module.image_, dynamic, module.incomplete_);
    module.exports_complete_ = module.incomplete_.size() == noted;
    module.is_program_ |= dynamic.is_program;
    if (dynamic.soname) module.soname_ = module.exports_.string_at(*dynamic.soname);
    module.soname_known_ = dynamic.complete && (!dynamic.soname || !module.soname_.empty());
  }
  if (module.unwind_header_ != Extent{}) {
    module.unwind_ = UnwindTable::open(module.image_, module.unwind_header_.begin);
    if (!module.unwind_) module.incomplete_.emplace_back("the unwind table is missing or unusual");
  }
  return module;
}

Result<> ElfModule::read_program_headers() {
  const Result<Elf64_Ehdr> header = read_header(image_.source());
  if (!header) return std::unexpected(header.error());
  position_independent_ = header->e_type == ET_DYN;
  is_program_ = header->e_type == ET_EXEC;
  entry_point_ = header->e_entry;
  // In memory the headers lie where they do in the file: in the first page of the first segment.
  std::vector<Elf64_Phdr> headers(header->e_phnum);
  if (!image_.source().read(header->e_phoff, std::as_writable_bytes(std::span(headers))))
    return fail(ErrorCode::guest_fault, "the ELF program headers are missing");
  for (const Elf64_Phdr& h : headers)
    if (h.p_type == PT_LOAD && is_sane(h) && segments().size() < kMaxSegments)
      image_.add(to_segment(h));
  if (segments().empty()) return fail(ErrorCode::guest_fault, "an ELF module that loads nothing");

  for (const Elf64_Phdr& h : headers) {
    const bool wraps = h.p_vaddr + h.p_memsz < h.p_vaddr;
    if (wraps) continue;
    if (h.p_type == PT_INTERP) read_interpreter(h.p_vaddr, h.p_filesz);
    if (h.p_type == PT_NOTE && build_id_.empty()) read_build_id(h.p_vaddr, h.p_filesz);
    if (h.p_type == PT_DYNAMIC) dynamic_ = {h.p_vaddr, h.p_vaddr + h.p_memsz};
    if (h.p_type == PT_GNU_EH_FRAME) unwind_header_ = {h.p_vaddr, h.p_vaddr + h.p_memsz};
  }
  return {};
}

void ElfModule::read_interpreter(std::uint64_t address, std::uint64_t size) {
  std::string path(std::min<std::uint64_t>(size, kMaxPathBytes), '\0');
  if (!image_.read(address, std::as_writable_bytes(std::span(path)))) {
    incomplete_.emplace_back("the interpreter's name is missing");
    path = "?";
  }
  interpreter_ = path.substr(0, path.find('\0'));
}

/// Notes stand one behind the other: a header, a name and a descriptor, each padded to 4 bytes.
void ElfModule::read_build_id(std::uint64_t address, std::uint64_t size) {
  constexpr std::uint64_t kMaxBuildId = 64;
  const auto padded = [](std::uint64_t bytes) { return (bytes + 3) / 4 * 4; };
  const std::uint64_t end = address + std::min(size, kMaxNoteBytes);
  while (address + sizeof(Elf64_Nhdr) <= end) {
    const auto note = image_.read_value<Elf64_Nhdr>(address);
    if (!note) return;
    const std::uint64_t name = address + sizeof(Elf64_Nhdr);
    const std::uint64_t descriptor = name + padded(note->n_namesz);
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz <= kMaxBuildId &&
        image_.read_value<std::uint32_t>(name) == 0x00554e47) {  // "GNU\0"
      std::vector<std::byte> bytes(note->n_descsz);
      if (image_.read(descriptor, bytes)) build_id_ = hex(bytes);
      return;
    }
    address = descriptor + padded(note->n_descsz);
  }
}

std::optional<Extent> ElfModule::function_at(std::uint64_t address) const {
  if (unwind_)
    if (const std::optional<Extent> extent = unwind_->function_at(image_, address)) return extent;
  const Symbol* symbol = exports_.function_at(address);
  if (!symbol) return std::nullopt;
  Extent extent{symbol->value, 0};
  if (__builtin_add_overflow(symbol->value, symbol->size, &extent.end)) return std::nullopt;
  return extent;
}

}  // namespace glasshook::elf
