// An ELF executable or shared object, read from memory that may have holes and may lie.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/elf/eh_frame.h"
#include "guest/elf/image.h"
#include "guest/elf/imports.h"
#include "guest/elf/symbol_table.h"

namespace glasshook::elf {

/// What a module says about itself. All addresses are its own: a loader adds its bias. Only the ELF
/// header and the program headers must be readable; what else is missing is said by incomplete().
class ElfModule {
 public:
  /// Parses an x86-64 module. `load_address` is where offset 0 of a Layout::memory source lies in
  /// its process (loaders relocate the dynamic section); 0 when it was not loaded.
  [[nodiscard]] static Result<ElfModule> parse(std::shared_ptr<const ByteSource> source,
                                               Layout layout, std::uint64_t load_address = 0);

  /// True for code that runs at any address: shared objects and PIE programs.
  [[nodiscard]] bool is_position_independent() const { return position_independent_; }
  /// A program that loads no libraries: nothing in its process is hooked by library name.
  [[nodiscard]] bool is_static_program() const { return is_program_ && interpreter_.empty(); }
  [[nodiscard]] std::uint64_t entry_point() const { return entry_point_; }
  [[nodiscard]] const std::string& soname() const { return soname_; }            ///< may be empty
  [[nodiscard]] const std::string& interpreter() const { return interpreter_; }  ///< may be empty
  /// Lower-case hex of the build id note; empty when there is none.
  [[nodiscard]] const std::string& build_id() const { return build_id_; }
  [[nodiscard]] const std::vector<Segment>& segments() const { return image_.segments(); }
  [[nodiscard]] Extent bounds() const { return image_.bounds(); }

  [[nodiscard]] const SymbolTable& exports() const { return exports_; }
  /// Slots for functions of other modules, read anew at each call.
  [[nodiscard]] std::vector<Import> imports() const {
    return read_imports(image_, dynamic_section_, exports_);
  }
  /// .symtab of an unstripped file, read anew at each call; empty for Layout::memory.
  [[nodiscard]] SymbolTable all_symbols() const { return SymbolTable::all(image_); }

  /// The function that holds an address: from unwind information, else from the exports.
  [[nodiscard]] std::optional<Extent> function_at(std::uint64_t address) const;
  [[nodiscard]] const std::optional<UnwindTable>& unwind_table() const { return unwind_; }

  /// Copies bytes of a segment; false when any is missing.
  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) const {
    return image_.read(address, out);
  }
  /// False when bytes are missing that may hold the soname.
  [[nodiscard]] bool soname_known() const { return soname_known_; }
  /// False when exports are missing because of bytes that were.
  [[nodiscard]] bool exports_complete() const { return exports_complete_; }
  /// ByteSource::misses() of what the module is read from.
  [[nodiscard]] std::uint64_t misses() const { return image_.source().misses(); }
  /// What could not be read, for people; empty when all was there.
  [[nodiscard]] const std::vector<std::string>& incomplete() const { return incomplete_; }

 private:
  ElfModule(std::shared_ptr<const ByteSource> source, Layout layout)
      : image_(std::move(source), layout) {}
  Result<> read_program_headers();
  void read_interpreter(std::uint64_t address, std::uint64_t size);
  void read_build_id(std::uint64_t address, std::uint64_t size);

  Image image_;
  bool position_independent_ = false;
  bool is_program_ = false;
  bool exports_complete_ = true;
  bool soname_known_ = true;
  std::uint64_t entry_point_ = 0;
  std::string soname_, interpreter_, build_id_;
  Extent dynamic_, unwind_header_;
  Dynamic dynamic_section_;
  SymbolTable exports_;
  std::optional<UnwindTable> unwind_;
  std::vector<std::string> incomplete_;
};

}  // namespace glasshook::elf
