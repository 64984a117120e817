// A PE executable or DLL for x86-64, read from memory that may have holes and may lie.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/elf/function_extents.h"
#include "guest/windows/exports.h"
#include "guest/windows/image.h"
#include "guest/windows/imports.h"
#include "guest/windows/pe_format.h"
#include "guest/windows/unwind.h"

namespace glasshook::windows {

/// What a module says about itself. All addresses are RVAs. Only the headers must be readable; what
/// else is missing is said by incomplete().
class PeModule {
 public:
  /// What is read at once.
  enum class Parts : std::uint8_t { all, without_exports };

  /// Parses a module. ErrorCode::unsupported names the machine of one that is not for x86-64.
  [[nodiscard]] static Result<PeModule> parse(std::shared_ptr<const ByteSource> source,
                                              Layout layout, Parts parts = Parts::all);

  [[nodiscard]] bool is_dll() const { return is_dll_; }
  /// The base it was linked for.
  [[nodiscard]] std::uint64_t preferred_base() const { return preferred_base_; }
  [[nodiscard]] std::uint64_t entry_point() const { return entry_point_; }
  /// Bytes in memory (SizeOfImage).
  [[nodiscard]] std::uint64_t size() const { return image_.size(); }
  [[nodiscard]] const std::vector<Section>& sections() const { return image_.sections(); }
  [[nodiscard]] const ExportTable& exports() const { return exports_; }
  [[nodiscard]] const ImportTable& imports() const { return imports_; }
  [[nodiscard]] const UnwindTable& unwind_table() const { return unwind_; }
  [[nodiscard]] const Image& image() const { return image_; }

  /// True for code: an address in an executable section.
  [[nodiscard]] bool is_code(std::uint64_t rva) const {
    const Section* section = image_.section_at(rva);
    return section != nullptr && section->executable;
  }
  /// The function (or the part of one) that holds an RVA: from unwind data; a leaf function has
  /// none, and ends where something else begins.
  [[nodiscard]] std::optional<Extent> function_at(std::uint64_t rva) const;
  /// Where an export really is, when that is another module: it is forwarded, or its code is
  /// nothing but a jump through an import. Empty when the module has it itself.
  [[nodiscard]] std::optional<ExportName> target_of(const Export& entry) const;
  /// What the import slot at an RVA stands for.
  [[nodiscard]] std::optional<ExportName> import_at(std::uint64_t rva) const {
    return imports_.at(image_, rva);
  }

  /// What could not be read, for people; empty when all was there.
  [[nodiscard]] const std::vector<std::string>& incomplete() const { return incomplete_; }

 private:
  PeModule(std::shared_ptr<const ByteSource> source, Layout layout)
      : image_(std::move(source), layout) {}
  Result<> read_headers();
  Result<> read_sections(std::uint64_t at, std::uint64_t count);
  void read_directories(std::uint64_t at, std::uint64_t count);
  [[nodiscard]] Extent directory(std::size_t index) const;

  Image image_;
  bool is_dll_ = false;
  std::uint64_t preferred_base_ = 0;
  std::uint64_t entry_point_ = 0;
  std::array<DataDirectory, kDirectoryCount> directories_{};
  ExportTable exports_;
  ImportTable imports_;
  UnwindTable unwind_;
  std::vector<std::string> incomplete_;
};

/// The code of a module, for elf::find_return_extents(). Borrows it.
[[nodiscard]] elf::CodeView code_of(const PeModule& module);

/// True when `source` begins like a PE module.
[[nodiscard]] bool is_pe(const ByteSource& source);

}  // namespace glasshook::windows
