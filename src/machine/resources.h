// Where Glasshook's own files are: guest recipes, API signatures, the QEMU plugin.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace glasshook::machine {

/// A directory of data, "guests" or "apis": in $GLASSHOOK_DATA, in share/glasshook of the prefix
/// the executable is installed in, or in the source tree it was built in.
[[nodiscard]] Result<std::filesystem::path> data_directory(std::string_view name);

/// Data that the build made, in the build tree of the executable; empty when there is none: an
/// installed program has it in data_directory().
[[nodiscard]] std::filesystem::path generated_directory(std::string_view name);

/// The QEMU plugin: $GLASSHOOK_PLUGIN, in lib/glasshook of the prefix, or in the build tree.
[[nodiscard]] Result<std::filesystem::path> plugin_file();

/// The library for QEMUs under KVM: $GLASSHOOK_KVM_LIBRARY, or beside where the plugin is looked
/// for.
[[nodiscard]] Result<std::filesystem::path> kvm_library_file();

/// The same searches for an executable elsewhere; empty when nothing is found.
[[nodiscard]] std::filesystem::path find_data_directory(const std::filesystem::path& executable,
                                                        std::string_view name);
[[nodiscard]] std::filesystem::path find_generated_directory(
    const std::filesystem::path& executable, std::string_view name);
[[nodiscard]] std::filesystem::path find_plugin(const std::filesystem::path& executable);
[[nodiscard]] std::filesystem::path find_kvm_library(const std::filesystem::path& executable);

}  // namespace glasshook::machine
