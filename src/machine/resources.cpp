#include "machine/resources.h"

#include <cstdlib>
#include <system_error>

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

constexpr int kMaxLevels = 5;  // build/release/src/cli/glasshook
constexpr auto kPluginName = "libglasshook-qemu.so";
constexpr auto kKvmLibraryName = "libglasshook-kvm.so";

fs::path own_executable() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
}

bool present(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

fs::path from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr ? fs::path(value) : fs::path();
}

/// `path` of the build tree that holds an executable.
fs::path find_in_build_tree(const fs::path& executable, const fs::path& path) {
  fs::path place = executable.parent_path();
  for (int level = 0; level < kMaxLevels && place.has_relative_path(); ++level) {
    if (present(place / path) && present(place / "CMakeCache.txt")) return place / path;
    place = place.parent_path();
  }
  return {};
}

/// A library of ours that QEMU loads.
fs::path find_library(const fs::path& executable, const char* name) {
  fs::path beside = executable.parent_path() / name;
  if (present(beside)) return beside;
  fs::path installed = executable.parent_path().parent_path() / "lib/glasshook" / name;
  if (present(installed)) return installed;
  return find_in_build_tree(executable, fs::path("src/hypervisor") / name);
}

/// The one that the variable names, or else `found`.
Result<fs::path> chosen_library(const char* variable, fs::path found, std::string_view what) {
  if (fs::path chosen = from_environment(variable); !chosen.empty()) found = std::move(chosen);
  if (!found.empty() && present(found)) return found;
  return with_remedy(fail(ErrorCode::not_found, "{} is missing", what), "scripts/build");
}

}  // namespace

fs::path find_data_directory(const fs::path& executable, std::string_view name) {
  fs::path installed = executable.parent_path().parent_path() / "share/glasshook" / name;
  if (present(installed)) return installed;
  fs::path place = executable.parent_path();
  for (int level = 0; level < kMaxLevels && place.has_relative_path(); ++level) {
    // A source tree has its presets beside its data; any other directory of that name has not.
    if (present(place / name) && present(place / "CMakePresets.json")) return place / name;
    place = place.parent_path();
  }
  return {};
}

fs::path find_generated_directory(const fs::path& executable, std::string_view name) {
  return find_in_build_tree(executable, name);
}

fs::path find_plugin(const fs::path& executable) { return find_library(executable, kPluginName); }

fs::path find_kvm_library(const fs::path& executable) {
  return find_library(executable, kKvmLibraryName);
}

Result<fs::path> data_directory(std::string_view name) {
  fs::path found;
  if (const fs::path chosen = from_environment("GLASSHOOK_DATA"); !chosen.empty())
    found = present(chosen / name) ? chosen / name : fs::path();
  else
    found = find_data_directory(own_executable(), name);
  if (!found.empty()) return found;
  return with_remedy(fail(ErrorCode::not_found, "Glasshook's '{}' directory is missing", name),
                     "set GLASSHOOK_DATA to the directory that holds it");
}

fs::path generated_directory(std::string_view name) {
  return find_generated_directory(own_executable(), name);
}

Result<fs::path> plugin_file() {
  return chosen_library("GLASSHOOK_PLUGIN", find_plugin(own_executable()),
                        "the QEMU plugin libglasshook-qemu.so");
}

Result<fs::path> kvm_library_file() {
  return chosen_library("GLASSHOOK_KVM_LIBRARY", find_kvm_library(own_executable()),
                        "the library for KVM libglasshook-kvm.so");
}

}  // namespace glasshook::machine
