// Where the project's own files are, for tests that hold documents and data against the code.
#pragma once

#include <filesystem>

namespace glasshook::test {

inline std::filesystem::path source_root() { return GLASSHOOK_SOURCE_ROOT; }

}  // namespace glasshook::test
