// Assembles capture programs in C++.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/program.h"
#include "capture/verifier.h"

namespace glasshook::capture {

/// A program register, r0..r15.
struct Reg {
  std::uint8_t number = 0;
  bool operator==(const Reg&) const = default;
};

/// A register or an immediate.
class Operand {
 public:
  Operand(Reg reg) : src_(reg.number) {}                                   // NOLINT: implicit
  Operand(std::uint64_t immediate) : src_(kImmediate), imm_(immediate) {}  // NOLINT: implicit

  [[nodiscard]] std::uint8_t src() const { return src_; }
  [[nodiscard]] std::uint64_t imm() const { return imm_; }

 private:
  std::uint8_t src_;
  std::uint64_t imm_ = 0;
};

/// A place in the program under construction; made by Builder::new_label.
struct Label {
  std::uint32_t index = 0;
};

/// A pattern of the program's pool; made by Builder::pattern.
struct PatternIndex {
  std::uint32_t index = 0;
};

/// Appends one instruction a call. Mistakes (a label never bound, a jump in the wrong direction, a
/// program too long) are reported by build(), so calls can be written one after the other.
class Builder {
 public:
  explicit Builder(ProgramRole role = ProgramRole::entry) : role_(role) {}

  [[nodiscard]] Label new_label();
  /// Puts `label` at the next instruction. Once a label.
  Builder& bind(Label label);
  /// Index of the pattern in the pool; equal patterns share one.
  [[nodiscard]] PatternIndex pattern(PatternKind kind, std::string_view text);
  /// How often one run may jump backward.
  Builder& set_back_jumps(std::uint16_t count);
  /// The instructions so far; of jumps the targets are still missing.
  [[nodiscard]] std::span<const Instruction> code() const { return program_.code; }
  /// One more, which jumps nowhere.
  Builder& append(const Instruction& instruction);

  // values
  Builder& load_cpu(Reg dst, CpuRegister source);
  Builder& move(Reg dst, Operand value);
  /// `op` is add, sub, bit_and, bit_or, bit_xor, shift_left, shift_right or multiply.
  Builder& alu(Op op, Reg dst, Operand value);
  /// `size` is 1, 2, 4 or 8 bytes.
  Builder& load_memory(Reg dst, Reg base, std::int32_t offset, std::uint8_t size,
                       Space space = Space::current);
  Builder& sign_extend(Reg dst, std::uint8_t size);
  Builder& load_saved(Reg dst, std::uint8_t slot);
  Builder& save(std::uint8_t slot, Reg value);

  // control
  Builder& jump(Label target);
  Builder& jump_back(Label target);
  /// `op` is one of jump_eq .. jump_any_bit: compares `left` with `right`.
  Builder& jump_if(Op op, Reg left, Operand right, Label target);
  Builder& jump_fault(Label target);

  // filters
  Builder& match_string(Reg dst, Reg address, PatternIndex pattern, Space space = Space::current);
  Builder& set_has(Reg dst, Reg key, std::uint32_t set);
  Builder& set_add(Reg key, std::uint32_t set);
  Builder& set_remove(Reg key, std::uint32_t set);
  Builder& rate_limit(std::uint32_t limiter, Label when_limited);

  // fields; `max` is in bytes, 1..kMaxFieldBytes
  Builder& emit_words(std::uint16_t field, Reg first, std::uint8_t count);
  Builder& emit_string(std::uint16_t field, Reg address, std::uint32_t max,
                       Space space = Space::current);
  /// Without `length` (bytes) the text ends at its NUL.
  Builder& emit_utf16(std::uint16_t field, Reg address, std::optional<Reg> length,
                      std::uint32_t max, Space space = Space::current);
  /// Without `length` (bytes) exactly `max` bytes.
  Builder& emit_bytes(std::uint16_t field, Reg address, std::optional<Reg> length,
                      std::uint32_t max, Space space = Space::current);
  Builder& begin_list(std::uint16_t field);
  Builder& append_string(Reg address, std::uint32_t max, Space space = Space::current);
  Builder& end_list(Reg detail);
  /// Names of objects that lead to one another, from `object` on up to one of two ends; see
  /// Op::append_chain. `next` and `name`: where each has the addresses, 0..kMaxChainOffset.
  Builder& append_chain(Reg object, Reg first_end, Reg count, std::uint32_t next,
                        std::uint32_t name, std::uint32_t max);

  // ends
  Builder& arm_return();
  Builder& send();
  Builder& stop();

  /// The finished program, verified for the builder's role. The builder can go on afterwards.
  [[nodiscard]] Result<Program> build() const;

 private:
  struct Fixup {
    std::size_t instruction;
    Label target;
  };

  Builder& append_jump(Instruction instruction, Label target);
  void note_error(std::string message);

  static constexpr std::int64_t kUnbound = -1;

  ProgramRole role_;
  Program program_;
  std::vector<std::int64_t> labels_;  ///< instruction each label is bound to
  std::vector<Fixup> fixups_;
  std::string error_;  ///< the first mistake
};

}  // namespace glasshook::capture
