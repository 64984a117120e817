#include "hypervisor/qemu/import_slot.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "base/guest_address.h"

namespace glasshook::hypervisor::qemu {
namespace {

/// What is needed of the main program's dynamic section.
struct MainProgram {
  ElfW(Addr) base = 0;
  const ElfW(Sym) * symbols = nullptr;
  const char* names = nullptr;
  std::span<const ElfW(Rela)> by_calls, others;
  ElfW(Addr) read_only_begin = 0, read_only_end = 0;  ///< PT_GNU_RELRO

  void read_dynamic(const ElfW(Dyn) * entry) {
    // The dynamic linker relocates these in place.
    const auto at = [&](ElfW(Addr) address) { return address < base ? base + address : address; };
    const ElfW(Rela)* calls = nullptr, *rest = nullptr;
    std::size_t calls_bytes = 0, rest_bytes = 0;
    for (; entry->d_tag != DT_NULL; ++entry) {
      const ElfW(Addr) value = entry->d_un.d_ptr;
      if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(at(value));
      if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(at(value));
      if (entry->d_tag == DT_JMPREL) calls = reinterpret_cast<const ElfW(Rela)*>(at(value));
      if (entry->d_tag == DT_RELA) rest = reinterpret_cast<const ElfW(Rela)*>(at(value));
      if (entry->d_tag == DT_PLTRELSZ) calls_bytes = value;
      if (entry->d_tag == DT_RELASZ) rest_bytes = value;
    }
    if (calls != nullptr) by_calls = {calls, calls_bytes / sizeof *calls};
    if (rest != nullptr) others = {rest, rest_bytes / sizeof *rest};
  }

  [[nodiscard]] bool is_import(const ElfW(Rela) & relocation, const char* name) const {
    const auto type = ELF64_R_TYPE(relocation.r_info);
    if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) return false;
    return std::strcmp(names + symbols[ELF64_R_SYM(relocation.r_info)].st_name, name) == 0;
  }
};

/// dl_iterate_phdr()'s callback, whose first object is the main program.
int take_first(dl_phdr_info* info, std::size_t, void* out) {
  auto& program = *static_cast<MainProgram*>(out);
  program.base = info->dlpi_addr;
  const std::span headers(info->dlpi_phdr, info->dlpi_phnum);
  for (const auto& header : headers) {
    const ElfW(Addr) begin = program.base + header.p_vaddr;
    if (header.p_type == PT_DYNAMIC) program.read_dynamic(reinterpret_cast<ElfW(Dyn)*>(begin));
    if (header.p_type == PT_GNU_RELRO) {
      program.read_only_begin = begin;
      program.read_only_end = begin + header.p_memsz;
    }
  }
  return 1;
}

Result<> write_slot(const MainProgram& program, ElfW(Addr) slot, void* value) {
  void* page = reinterpret_cast<void*>(slot & ~kPageMask);
  const bool read_only = slot >= program.read_only_begin && slot < program.read_only_end;
  if (read_only && mprotect(page, kPageSize, PROT_READ | PROT_WRITE) != 0)
    return fail(ErrorCode::io, "cannot make an import slot writable: {}", std::strerror(errno));
  // A slot never straddles pages: the linker aligns it. Other threads may call through it.
  __atomic_store_n(reinterpret_cast<void**>(slot), value, __ATOMIC_RELEASE);
  if (read_only) mprotect(page, kPageSize, PROT_READ);
  return {};
}

}  // namespace

Result<> replace_import(const char* name, void* replacement) {
  MainProgram program;
  dl_iterate_phdr(take_first, &program);
  if (program.symbols == nullptr || program.names == nullptr)
    return fail(ErrorCode::unsupported, "this program is linked without imports");
  bool found = false;
  for (const auto& relocations : {program.by_calls, program.others})
    for (const auto& relocation : relocations) {
      if (!program.is_import(relocation, name)) continue;
      if (auto ok = write_slot(program, program.base + relocation.r_offset, replacement); !ok)
        return ok;
      found = true;
    }
  if (!found) return fail(ErrorCode::not_found, "this program does not import {}", name);
  return {};
}

}  // namespace glasshook::hypervisor::qemu
