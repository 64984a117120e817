// What a PE module exports.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/windows/image.h"

namespace glasshook::windows {

/// Names an export of some module, as imports and forwarders do.
struct ExportName {
  std::string module;         ///< stem of the file name in lower case: "kernelbase"
  std::string name;           ///< empty: by ordinal
  std::uint32_t ordinal = 0;  ///< when there is no name

  bool operator==(const ExportName&) const = default;
};

struct Export {
  std::string name;           ///< raw bytes; empty when exported by ordinal alone
  std::uint32_t ordinal = 0;  ///< as in DLL!#12
  std::uint64_t rva = 0;      ///< of code or data; 0 when forwarded
  std::string forwarder;      ///< "NTDLL.RtlAllocateHeap"; empty when the module has it itself
};

class ExportTable {
 public:
  ExportTable() = default;

  /// Reads the export directory. Pages that are missing take their exports with them; that is
  /// noted in `incomplete`.
  [[nodiscard]] static ExportTable read(const Image& image, Extent directory,
                                        std::vector<std::string>& incomplete);

  /// The name the module gives itself ("ntdll.dll"); empty when it has none.
  [[nodiscard]] const std::string& module_name() const { return module_name_; }
  /// Sorted by name, then by ordinal; those without a name come first.
  [[nodiscard]] const std::vector<Export>& all() const { return exports_; }
  [[nodiscard]] const Export* find(std::string_view name) const;
  [[nodiscard]] const Export* find(std::uint32_t ordinal) const;
  [[nodiscard]] const Export* find(const ExportName& name) const {
    return name.name.empty() ? find(name.ordinal) : find(std::string_view{name.name});
  }
  /// The lowest exported address above `rva`; empty when there is none.
  [[nodiscard]] std::optional<std::uint64_t> next_address(std::uint64_t rva) const;

 private:
  class Reader;

  std::string module_name_;
  std::vector<Export> exports_;
  std::vector<std::uint64_t> addresses_;  ///< sorted
};

/// Stem of a module's file name in lower case: "kernel32" of "C:\\windows\\KERNEL32.dll".
[[nodiscard]] std::string module_stem(std::string_view file_name);

/// True for names of Windows modules: with ".dll", ".exe" or the like at the end.
[[nodiscard]] bool is_file_name(std::string_view name);

/// "NTDLL.RtlAllocateHeap" or "MSVCRT.#12"; empty when the text is neither.
[[nodiscard]] std::optional<ExportName> parse_forwarder(std::string_view text);

}  // namespace glasshook::windows
