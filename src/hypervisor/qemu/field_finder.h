// Finds where a register lies in a structure of unknown layout, by its value.
#pragma once

#include <cstdint>
#include <vector>

namespace glasshook::hypervisor::qemu {

/// Watches one register over many moments. At each, the words of the structure that do not hold
/// the register's value drop out; the true place never does. A place is proven when it alone is
/// left after kWanted moments with a telling value: whatever held the same by chance has changed.
class FieldFinder {
 public:
  static constexpr int kWanted = 64;

  /// `words[0, count)` is the structure at a moment when the register holds `value`; `first` is
  /// the first word that may be its place.
  void observe(const std::uint64_t* words, std::uint32_t first, std::uint32_t count,
               std::uint64_t value) {
    std::erase_if(candidates_, [&](std::uint32_t i) { return words[i] != value; });
    if (!is_telling(value)) return;
    if (candidates_.empty()) {
      observations_ = 0;
      for (std::uint32_t i = first; i < count; ++i)
        if (words[i] == value) candidates_.push_back(i);
    }
    ++observations_;
  }

  [[nodiscard]] bool proven() const { return candidates_.size() == 1 && settled(); }
  /// The value always stood in the places that are left, which may be more than one.
  [[nodiscard]] bool settled() const { return !candidates_.empty() && observations_ >= kWanted; }
  /// The word, once proven; the first that is left, once settled.
  [[nodiscard]] std::uint32_t index() const { return candidates_.front(); }

 private:
  /// Small numbers stand in many places; an address does not.
  static bool is_telling(std::uint64_t value) { return value > 0xffff; }

  std::vector<std::uint32_t> candidates_;
  int observations_ = 0;
};

}  // namespace glasshook::hypervisor::qemu
