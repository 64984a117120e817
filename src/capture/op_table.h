// One line for each operation: its name and which instruction fields it uses.
#pragma once

#include <optional>
#include <string_view>

#include "capture/program.h"

namespace glasshook::capture {

/// Which fields of an Instruction an operation uses. Fields a shape does not name must be zero.
enum class Shape : std::uint8_t {
  none,
  load_cpu,     ///< dst, imm = CpuRegister
  operand,      ///< dst, src or imm
  load_memory,  ///< dst, src + offset, size, imm = Space
  sign_extend,  ///< dst, size
  load_saved,   ///< dst, imm = slot
  save,         ///< src, imm = slot
  jump,         ///< offset
  compare,      ///< dst, src or imm, offset
  match,        ///< dst, src, size = Space, imm = pattern
  set_test,     ///< dst, src, imm = set
  set_change,   ///< src, imm = set
  limit,        ///< imm = limiter, offset
  words,        ///< imm = field, dst, size = count
  text,         ///< imm = field, dst, offset = cap, src = Space
  counted,      ///< imm = field, dst, size = length register or kImmediate, offset, src = Space
  begin_list,   ///< imm = field
  append,       ///< dst, offset = cap, src = Space
  end_list,     ///< dst
  chain,        ///< dst, src and src + 1, size = register, offset, imm = ChainStep
};

struct OpInfo {
  std::string_view name;
  Shape shape;
};

/// `op` must be below Op::count_.
[[nodiscard]] const OpInfo& op_info(Op op) noexcept;
[[nodiscard]] std::optional<Op> op_by_name(std::string_view name) noexcept;

/// True when `op` may go on at another place than the next instruction.
[[nodiscard]] bool has_jump_target(Op op) noexcept;

/// "equal", "prefix", "suffix", "glob"; `kind` must be one of them.
[[nodiscard]] std::string_view pattern_kind_name(PatternKind kind) noexcept;
[[nodiscard]] std::optional<PatternKind> pattern_kind_by_name(std::string_view name) noexcept;

/// "rax" ... "user_mode"; `reg` must be below CpuRegister::count_.
[[nodiscard]] std::string_view cpu_register_name(CpuRegister reg) noexcept;
[[nodiscard]] std::optional<CpuRegister> cpu_register_by_name(std::string_view name) noexcept;

}  // namespace glasshook::capture
