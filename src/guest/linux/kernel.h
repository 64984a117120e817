// One running Linux kernel: its memory, symbols, types, and the reads everything else is made of.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/linux/kernel_finder.h"
#include "guest/linux/layout.h"
#include "guest/linux/symbols.h"
#include "guest/linux/types.h"
#include "memory/virtual_memory.h"

namespace glasshook::linux_guest {

/// Immutable after it was found, so it is safe from any thread. Borrows the PhysicalMemory. The
/// guest runs on meanwhile: what is read at two moments need not fit together.
class LinuxKernel {
 public:
  /// Finds the kernel by scanning; see find_kernel() for `running`.
  [[nodiscard]] static Result<LinuxKernel> find(const PhysicalMemory& memory,
                                                std::optional<AddressSpace> running = {});
  /// Opens a kernel found before (location()), without scanning.
  [[nodiscard]] static Result<LinuxKernel> open(const PhysicalMemory& memory,
                                                const KernelLocation& location);

  [[nodiscard]] const KernelLocation& location() const { return location_; }
  [[nodiscard]] const PhysicalMemory& memory() const { return *memory_; }
  [[nodiscard]] AddressSpace space() const { return location_.space; }
  /// The kernel half, through the kernel's own page tables.
  [[nodiscard]] VirtualMemory virtual_memory() const { return {*memory_, space()}; }

  /// Core kernel symbols, and those of the modules loaded when it was opened.
  [[nodiscard]] const KernelSymbols& symbols() const { return *symbols_; }
  /// Those of the core kernel alone, in address order. Modules lie behind them.
  [[nodiscard]] std::span<const Symbol> core_symbols() const {
    return std::span{symbols_->all()}.first(core_count_);
  }
  /// Null when the kernel has no (readable) BTF: then symbols are all there is.
  [[nodiscard]] const KernelTypes* types() const { return types_.get(); }
  /// Says why types() is null, with the remedy.
  [[nodiscard]] Result<> require_types() const;
  [[nodiscard]] const Layout& layout() const { return layout_; }

  /// "Linux version 6.1.0-..." as the kernel prints it.
  [[nodiscard]] const std::string& banner() const { return banner_; }
  /// "6.1.0-56-cloud-amd64".
  [[nodiscard]] std::string_view release() const;

  /// Reads a value from kernel memory. Empty for an unmapped or user-half address.
  template <class T>
  [[nodiscard]] std::optional<T> read(Gva at) const noexcept {
    return at.is_kernel() ? virtual_memory().read_value<T>(at) : std::nullopt;
  }
  /// Reads a member of an object; empty also when this kernel has no such member.
  template <class T>
  [[nodiscard]] std::optional<T> read(Gva object, Offset member) const noexcept {
    return member.present() ? read<T>(object + member.bytes()) : std::nullopt;
  }
  /// Reads a pointer into the kernel. Null stays null; a pointer to anywhere else is empty.
  [[nodiscard]] std::optional<Gva> pointer(Gva at) const noexcept;
  [[nodiscard]] std::optional<Gva> pointer(Gva object, Offset member) const noexcept {
    return member.present() ? pointer(object + member.bytes()) : std::nullopt;
  }
  /// Bytes up to a NUL, at most `max_length`; empty text where it cannot be read.
  [[nodiscard]] std::string text(Gva at, std::size_t max_length) const;
  /// Address of a symbol.
  [[nodiscard]] std::optional<Gva> symbol(std::string_view name) const;
  /// The page tables of a struct mm_struct.
  [[nodiscard]] std::optional<AddressSpace> space_of(Gva mm) const noexcept;

 private:
  LinuxKernel(const PhysicalMemory& memory, FoundKernel found);

  const PhysicalMemory* memory_;
  KernelLocation location_;
  std::string banner_;
  std::unique_ptr<KernelTypes> types_;
  std::string types_error_;
  Layout layout_;
  std::unique_ptr<KernelSymbols> symbols_;
  std::size_t core_count_ = 0;
};

}  // namespace glasshook::linux_guest
