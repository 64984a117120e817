// What a Windows process keeps about itself in its own memory: TEB, PEB, parameters, modules.
// The layouts are those of 64-bit Windows 7 and later (public symbols of ntdll; winternl.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_address.h"
#include "base/result.h"
#include "guest/elf/byte_source.h"

namespace glasshook::windows {

// Offsets in the TEB, which user-mode code reaches through the GS base.
inline constexpr std::int32_t kTebSelf = 0x30, kTebProcessId = 0x40, kTebThreadId = 0x48,
                              kTebPeb = 0x60, kTebLastError = 0x68;

/// A process's memory by virtual address. Hostile: any byte may be anything, change between reads,
/// or be missing (paged out).
using ProcessMemory = elf::ByteSource;

/// Thread environment block.
struct Teb {
  Gva address;
  Gva stack_base, stack_limit;   ///< highest and lowest address of the stack
  std::uint32_t process_id = 0;  ///< Win32 ids: what Windows programs call pid and tid
  std::uint32_t thread_id = 0;
  Gva peb;
  std::uint32_t last_error = 0;  ///< what GetLastError() would give
};

/// Process environment block.
struct Peb {
  bool being_debugged = false;
  Gva image_base;  ///< of the executable
  Gva loader_data;
  Gva parameters;
  std::uint32_t os_major = 0, os_minor = 0;
  std::uint16_t os_build = 0;
};

/// Texts are UTF-8; lone surrogates become U+FFFD. Empty when they could not be read.
struct ProcessParameters {
  std::string image_path;  ///< C:\windows\system32\cmd.exe
  std::string command_line;
  std::string current_directory;  ///< C:\users\root\ .
};

/// An entry of the loader's list.
struct LoadedModule {
  Gva base;
  std::uint64_t size = 0;
  Gva entry_point;
  std::string path, name;  ///< UTF-8
};

struct LoadedModules {
  std::vector<LoadedModule> items;  ///< in the order of loading: the executable, ntdll, ...
  std::optional<Error> incomplete;  ///< set when the list broke off, ran on, or ran into itself
};

/// Reads a TEB; empty when it is missing or its own address is not in it (not a Windows thread).
[[nodiscard]] std::optional<Teb> read_teb(const ProcessMemory& memory, Gva teb);

[[nodiscard]] Result<Peb> read_peb(const ProcessMemory& memory, Gva peb);

[[nodiscard]] Result<ProcessParameters> read_parameters(const ProcessMemory& memory,
                                                        Gva parameters);

/// Walks InLoadOrderModuleList, at most kMaxLoadedModules entries.
[[nodiscard]] LoadedModules read_modules(const ProcessMemory& memory, Gva loader_data);

/// UTF-8 of little-endian UTF-16; lone surrogates become U+FFFD.
[[nodiscard]] std::string utf8_of_utf16(std::u16string_view text);

}  // namespace glasshook::windows
