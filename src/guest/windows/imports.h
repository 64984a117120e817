// What a slot of a PE module's import address table stands for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "guest/windows/exports.h"
#include "guest/windows/image.h"

namespace glasshook::windows {

class ImportTable {
 public:
  ImportTable() = default;

  /// Reads the descriptors of the import and the delay-import directory. Either may be empty.
  [[nodiscard]] static ImportTable read(const Image& image, Extent imports, Extent delay_imports);

  /// The imports from one module: two arrays side by side, of addresses and of what they are. All
  /// are RVAs.
  struct Module {
    std::uint64_t addresses = 0;
    std::uint64_t lookups = 0;
    std::uint64_t name = 0;
    bool delayed = false;  ///< filled when they are called first; lead into the module until then
  };
  /// Sorted by `addresses`.
  [[nodiscard]] const std::vector<Module>& modules() const { return modules_; }

  /// The export whose address the loader puts into the slot at `rva`; empty when that is no slot.
  [[nodiscard]] std::optional<ExportName> at(const Image& image, std::uint64_t rva) const;
  /// The same, of the imports from one module.
  [[nodiscard]] static std::optional<ExportName> at(const Image& image, const Module& module,
                                                    std::uint64_t rva);

 private:
  void read_imports(const Image& image, Extent directory);
  void read_delay_imports(const Image& image, Extent directory);

  std::vector<Module> modules_;  ///< sorted by `addresses`
};

}  // namespace glasshook::windows
