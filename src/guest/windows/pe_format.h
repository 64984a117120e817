// Structures of the PE format as they lie in a module (Microsoft's "PE Format"; winnt.h names).
#pragma once

#include <array>
#include <cstdint>

namespace glasshook::windows {

inline constexpr std::uint16_t kDosMagic = 0x5a4d;        // "MZ"
inline constexpr std::uint32_t kPeMagic = 0x0000'4550;    // "PE\0\0"
inline constexpr std::uint16_t kMachineI386 = 0x14c;      // IMAGE_FILE_MACHINE_I386
inline constexpr std::uint16_t kMachineAmd64 = 0x8664;    // IMAGE_FILE_MACHINE_AMD64
inline constexpr std::uint16_t kMachineArm64 = 0xaa64;    // IMAGE_FILE_MACHINE_ARM64
inline constexpr std::uint16_t kFileIsDll = 0x2000;       // IMAGE_FILE_DLL
inline constexpr std::uint16_t kOptionalMagic64 = 0x20b;  // IMAGE_NT_OPTIONAL_HDR64_MAGIC

struct FileHeader {
  std::uint16_t machine, section_count;
  std::uint32_t timestamp, symbol_table, symbol_count;
  std::uint16_t optional_header_bytes, characteristics;
};
static_assert(sizeof(FileHeader) == 20);

struct DataDirectory {
  std::uint32_t rva, size;
};

enum : std::size_t {
  kExportDirectory = 0,
  kImportDirectory = 1,
  kExceptionDirectory = 3,
  kDelayImportDirectory = 13,
  kDirectoryCount = 16
};

struct OptionalHeader {
  std::uint16_t magic;
  std::uint8_t linker_major, linker_minor;
  std::uint32_t code_bytes, data_bytes, bss_bytes, entry_point, code_base;
  std::uint64_t image_base;
  std::uint32_t section_alignment, file_alignment;
  std::uint16_t os_major, os_minor, image_major, image_minor, subsystem_major, subsystem_minor;
  std::uint32_t win32_version, image_bytes, header_bytes, checksum;
  std::uint16_t subsystem, dll_characteristics;
  std::uint64_t stack_reserve, stack_commit, heap_reserve, heap_commit;
  std::uint32_t loader_flags, directory_count;
};
static_assert(sizeof(OptionalHeader) == 112);

struct SectionHeader {
  std::array<char, 8> name;
  std::uint32_t virtual_size, rva, file_size, file_offset;
  std::uint32_t relocations, line_numbers;
  std::uint16_t relocation_count, line_number_count;
  std::uint32_t characteristics;
};
static_assert(sizeof(SectionHeader) == 40);
inline constexpr std::uint32_t kSectionExecutes = 0x2000'0000, kSectionReads = 0x4000'0000,
                               kSectionWrites = 0x8000'0000;

struct ExportHeader {
  std::uint32_t characteristics, timestamp;
  std::uint16_t major, minor;
  std::uint32_t name, ordinal_base, function_count, name_count, functions, names, name_ordinals;
};
static_assert(sizeof(ExportHeader) == 40);

struct ImportDescriptor {
  std::uint32_t lookup_table, timestamp, forwarder_chain, name, address_table;
};
static_assert(sizeof(ImportDescriptor) == 20);

struct DelayImportDescriptor {
  std::uint32_t attributes, name, module_handle, address_table, lookup_table;
  std::uint32_t bound_table, unload_table, timestamp;
};
static_assert(sizeof(DelayImportDescriptor) == 32);
inline constexpr std::uint64_t kImportByOrdinal = 1ull << 63;  // IMAGE_ORDINAL_FLAG64

/// "x64 exception handling": a piece of code and how to unwind it.
struct RuntimeFunction {
  std::uint32_t begin, end, unwind;
};
static_assert(sizeof(RuntimeFunction) == 12);

struct UnwindHeader {
  std::uint8_t version_and_flags, prolog_bytes, code_count, frame;
};
static_assert(sizeof(UnwindHeader) == 4);
inline constexpr std::uint8_t kUnwindChained = 0x4;  // UNW_FLAG_CHAININFO

}  // namespace glasshook::windows
