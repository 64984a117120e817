// The kernel's code and that of its modules, compared with what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// A page of kernel code that is not what it was.
struct CodeChange {
  Gva address;                         ///< of the first byte that differs
  std::uint64_t bytes = 0;             ///< that differ, on this page
  std::vector<std::string> functions;  ///< whose code differs; at most kMaxFunctions
  std::optional<Gva> target;           ///< where a jump or call that was put there leads

  static constexpr std::size_t kMaxFunctions = 8;
};

/// Keeps a copy of the code and finds what differs from it. The kernel changes its code itself
/// (static keys and calls, ftrace, kprobes): what it is told to have written is taken over.
/// Memory is bounded by kMaxBytes, work by what compare() is given. Borrows the kernel; used from
/// one thread.
class KernelCode {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{96} << 20;
  static constexpr std::size_t kMaxModuleBytes = std::size_t{16} << 20;

  /// Copies what there is now. Nothing without the symbols of the code's bounds.
  explicit KernelCode(const LinuxKernel& kernel);

  /// The kernel says that it is about to write there. Known for kPatchLooks comparisons.
  void patched(Gva address, std::uint64_t length);
  /// Modules that came since are copied, the copies of those that went are dropped.
  void follow_modules();
  /// Compares the pages of `often`, those that wait for a second look, and the next `pages` of all.
  /// A difference is given when two comparisons in a row found it, and is taken over then.
  /// At most `limit` at a time.
  [[nodiscard]] std::vector<CodeChange> compare(std::span<const Gva> often, std::size_t pages,
                                                std::size_t limit);

 private:
  static constexpr std::uint64_t kPatchLooks = 3;
  static constexpr std::size_t kMaxPatches = 16384;

  struct Region {
    std::vector<std::byte> bytes;
    Gva module;  ///< its struct; null for the kernel itself
  };
  struct Patch {
    Gva begin, end;
    std::uint64_t look = 0;  ///< when it was told
  };

  void add_region(Gva begin, std::uint64_t size, Gva module);
  [[nodiscard]] std::span<std::byte> copy_of(Gva page);
  [[nodiscard]] bool is_patched(Gva address) const;
  void forget_old_patches();
  [[nodiscard]] std::set<Gva> next_pages(std::size_t count);
  std::optional<CodeChange> compare_page(Gva page);
  void describe(CodeChange& change, std::span<const std::byte> before,
                std::span<const std::byte> now) const;

  const LinuxKernel* kernel_;
  std::map<Gva, Region> regions_;  ///< by where they begin
  std::size_t bytes_ = 0;
  Gva next_;                                   ///< page to go on with
  std::uint64_t look_ = 0;                     ///< comparisons so far
  std::map<Gva, std::vector<Patch>> patches_;  ///< by page
  std::size_t patch_count_ = 0;
  std::uint64_t trust_until_ = 0;  ///< too many patches to know: all is taken over until then
  std::map<Gva, std::uint64_t> waiting_;  ///< pages that differ, and since which comparison
};

}  // namespace glasshook::linux_guest
