// Words that are captured together: what lies in one object is loaded in one go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "capture/builder.h"

namespace glasshook::hook {

/// Code for words of captures that follow each other. A pointer that leads to several of them is
/// followed once, and members of one object are loaded side by side.
class WordGroup {
 public:
  /// Takes one word more: `code` computes it in r0. False, and nothing changes, when that is more
  /// than a way from pointer to pointer, or no register is left.
  [[nodiscard]] bool add(std::span<const capture::Instruction> code);
  /// Words so far.
  [[nodiscard]] std::size_t size() const { return words_.size(); }
  /// True when the code can set the fault flag.
  [[nodiscard]] bool may_fault() const;
  /// Appends the code for all of them: word n comes to register n.
  void emit(capture::Builder& builder) const;

 private:
  /// An instruction whose result others may start from.
  struct Value {
    capture::Instruction made;
    std::optional<std::size_t> from;  ///< the value it is loaded from; none: an outer register
  };
  /// A value, and what is done with it alone.
  struct Word {
    std::size_t value;
    std::vector<capture::Instruction> finish;
  };

  [[nodiscard]] static std::size_t find_or_add(std::vector<Value>& values, const Value& value);
  [[nodiscard]] std::vector<std::size_t> in_order() const;
  [[nodiscard]] std::vector<std::uint8_t> registers() const;

  std::vector<Value> values_;
  std::vector<Word> words_;
};

}  // namespace glasshook::hook
