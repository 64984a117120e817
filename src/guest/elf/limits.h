// Caps on what is read from a module, all far above what real modules need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace glasshook::elf {

inline constexpr std::uint64_t kMaxSegments = 64;
inline constexpr std::uint64_t kMaxProgramHeaders = 128;
inline constexpr std::uint64_t kMaxDynamic = 1024;
inline constexpr std::uint64_t kMaxSymbols = 1u << 18;
inline constexpr std::size_t kMaxImports = 16384;
inline constexpr std::uint64_t kMaxStringBytes = 32u << 20;
inline constexpr std::uint64_t kMaxVersions = 4096;
inline constexpr std::size_t kMaxNameBytes = 512;  ///< longer symbol names are left out
inline constexpr std::size_t kMaxPathBytes = 4096;
inline constexpr std::uint64_t kMaxNoteBytes = 64u << 10;
inline constexpr std::uint64_t kMaxSections = 4096;
inline constexpr std::uint64_t kMaxUnwindEntries = 1u << 20;

}  // namespace glasshook::elf
