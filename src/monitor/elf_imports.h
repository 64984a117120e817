// Imports of Linux programs and libraries, compared with what a loader would make of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/guest_address.h"
#include "behaviour/family.h"
#include "guest/elf/import_check.h"
#include "guest/linux/page_cache.h"
#include "guest/linux/process.h"

namespace glasshook::monitor {

/// Knows modules by their files, from the page cache: what a process does to its own copy of a
/// module's tables changes nothing here. Borrows the kernel; used from one thread.
class ElfImports {
 public:
  /// Files known at a time.
  static constexpr std::size_t kMaxFiles = 256;
  /// Modules looked at in one process.
  static constexpr std::size_t kMaxModules = 512;

  explicit ElfImports(const linux_guest::LinuxKernel& kernel);

  /// Slots of the process that lead where no module has their function; none for programs whose
  /// modules are not in memory.
  [[nodiscard]] std::vector<behaviour::ReplacedImport> replaced_in(
      const linux_guest::ProcessInfo& process);

 private:
  struct File {
    elf::ElfModule module;
    std::vector<elf::Import> imports;
  };
  using Key = std::pair<Gva, std::uint64_t>;  ///< struct address_space, inode number

  /// Null while not enough of it is there; an empty one when it is no module.
  const std::optional<File>* file(Gva mapping, std::uint64_t inode);
  [[nodiscard]] std::vector<elf::LoadedModule> modules_of(const linux_guest::ProcessInfo& process);

  const linux_guest::LinuxKernel* kernel_;
  std::optional<linux_guest::PageCache> cache_;
  std::map<Key, std::optional<File>> files_;
};

}  // namespace glasshook::monitor
