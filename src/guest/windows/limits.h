// Caps on what is read from PE modules and process structures, all far above what real ones need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace glasshook::windows {

inline constexpr std::uint64_t kMaxHeaderOffset = 1u << 20;  ///< e_lfanew
inline constexpr std::uint64_t kMaxSections = 96;            ///< what Windows itself allows
inline constexpr std::uint64_t kMaxImageBytes = 1u << 31;
inline constexpr std::uint64_t kMaxExports = 1u << 16;   ///< ordinals have 16 bits
inline constexpr std::size_t kMaxNameBytes = 512;        ///< longer export names are left out
inline constexpr std::size_t kMaxExportText = 8u << 20;  ///< all names of a module
inline constexpr std::uint64_t kMaxImportedModules = 1024;
inline constexpr std::uint64_t kMaxUnwindEntries = 1u << 20;
inline constexpr int kMaxChainedEntries = 32;         ///< of one function, one behind the other
inline constexpr std::size_t kMaxFunctionParts = 64;  ///< pieces of one function in a row
inline constexpr std::uint64_t kMaxLeafBytes = 16u << 10;  ///< a function without unwind data
inline constexpr std::size_t kMaxLoadedModules = 4096;     ///< of one process
inline constexpr std::size_t kMaxStringBytes = 65534;      ///< of a UNICODE_STRING

}  // namespace glasshook::windows
