// Finds the mark that ends a command's output.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace glasshook::machine {

/// Passes bytes through until the mark appears, in however many pieces it arrives; the mark and
/// what follows are dropped.
class StreamFilter {
 public:
  /// Starts over with a new, non-empty mark.
  void reset(std::string mark) {
    mark_ = std::move(mark);
    held_.clear();
    ended_ = false;
  }

  /// The output among `bytes` and what was held back before. What may be the mark's beginning is
  /// held back.
  [[nodiscard]] std::string feed(std::string_view bytes);
  /// What is still held back, when no mark will come.
  [[nodiscard]] std::string flush() { return std::exchange(held_, {}); }
  /// True once the mark was seen.
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  std::string mark_;
  std::string held_;
  bool ended_ = true;
};

}  // namespace glasshook::machine
