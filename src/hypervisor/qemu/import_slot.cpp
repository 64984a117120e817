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

  [[nodiscard]] bool is_read_only(ElfW(Addr) address) const {
    return address >= read_only_begin && address < read_only_end;
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

}  // namespace

Result<Import> Import::find(const char* name) {
  MainProgram program;
  dl_iterate_phdr(take_first, &program);
  if (program.symbols == nullptr || program.names == nullptr)
    return fail(ErrorCode::unsupported, "this program is linked without imports");
  Import import;
  for (const auto& relocations : {program.by_calls, program.others})
    for (const auto& relocation : relocations) {
      if (!program.is_import(relocation, name)) continue;
      const ElfW(Addr) address = program.base + relocation.r_offset;
      const auto place = reinterpret_cast<void**>(address);
      import.slots_.push_back({.place = place,
                               .found = __atomic_load_n(place, __ATOMIC_ACQUIRE),
                               .read_only = program.is_read_only(address)});
    }
  if (import.slots_.empty())
    return fail(ErrorCode::not_found, "this program does not import {}", name);
  return import;
}

Result<> Import::replace(void* replacement) const {
  for (const Slot& slot : slots_)
    if (auto ok = write(slot, replacement); !ok) return ok;
  return {};
}

Result<> Import::restore() const {
  for (const Slot& slot : slots_)
    if (auto ok = write(slot, slot.found); !ok) return ok;
  return {};
}

Result<> Import::write(const Slot& slot, void* function) {
  const auto address = reinterpret_cast<std::uintptr_t>(slot.place);
  void* page = reinterpret_cast<void*>(address & ~kPageMask);
  if (slot.read_only && mprotect(page, kPageSize, PROT_READ | PROT_WRITE) != 0)
    return fail(ErrorCode::io, "cannot make an import slot writable: {}", std::strerror(errno));
  // A slot never straddles pages: the linker aligns it.
  __atomic_store_n(slot.place, function, __ATOMIC_RELEASE);
  if (slot.read_only) mprotect(page, kPageSize, PROT_READ);
  return {};
}

}  // namespace glasshook::hypervisor::qemu
