// The capture program: what a probe runs when a hook is hit. See docs/capture-program.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace glasshook::capture {

inline constexpr int kRegisterCount = 16;  ///< r0..r15, 64 bits, zero at start
inline constexpr int kSavedSlotCount = 8;  ///< values carried from an entry to its return
inline constexpr std::size_t kMaxInstructions = 1024;
inline constexpr std::size_t kMaxPatterns = 256;
inline constexpr std::size_t kMaxPatternBytes = 1024;  ///< of one pattern
inline constexpr std::size_t kMaxPoolBytes = 16384;    ///< of all patterns of a program
inline constexpr std::uint16_t kMaxBackJumps = 1024;
inline constexpr std::uint32_t kMaxFieldBytes = 8192;    ///< of one field
inline constexpr std::uint32_t kMaxRecordBytes = 16384;  ///< of one record, header included
inline constexpr std::uint32_t kSetCount = 64;           ///< sets a program can name
inline constexpr std::uint32_t kLimiterCount = 4096;     ///< rate limiters a program can name
/// `src` value that stands for the instruction's immediate.
inline constexpr std::uint8_t kImmediate = 0xff;

/// Which address space a memory operand lives in.
enum class Space : std::uint8_t {
  current = 0,  ///< the page tables the vCPU runs on (CR3)
  kernel = 1,   ///< the kernel's own tables, given by the monitor: valid in user mode under PTI too
};

/// Processor state a program can load. The general registers are numbered as x86 encodes them.
enum class CpuRegister : std::uint8_t {
  rax = 0,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rip,  ///< address of the hooked instruction
  cr3,  ///< page-table root, PCID and flag bits removed
  fs_base,
  gs_base,
  kernel_gs,  ///< GS base the kernel uses, whichever mode the vCPU is in (Linux: per-CPU area)
  vcpu,       ///< index of the virtual CPU
  user_mode,  ///< 1 when CPL is 3
  lstar,      ///< where `syscall` enters the kernel; 0 when the backend cannot tell
  idt_base,   ///< of the interrupt table in use; 0 when the backend cannot tell
  operand,    ///< at a privileged instruction: what it is about to write; else 0
  count_
};

/// Operations. `R[x]` is a program register, `imm`/`offset` come from the instruction, and
/// `operand` is R[src], or imm when src == kImmediate. Jumps are relative to the next instruction.
enum class Op : std::uint8_t {
  // values
  load_cpu,  ///< R[dst] = processor register `imm` (CpuRegister)
  move,      ///< R[dst] = operand
  add,
  sub,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  multiply,     ///< R[dst] op= operand
  load_memory,  ///< R[dst] = zero-extended `size` (1,2,4,8) bytes at R[src] + offset in Space(imm);
                ///< on a fault 0 and the fault flag
  sign_extend,  ///< R[dst] = R[dst] sign-extended from `size` bytes
  load_saved,   ///< R[dst] = saved slot imm (return programs)
  save,         ///< saved slot imm = R[src] (entry programs)
  // control
  jump,       ///< forward only
  jump_back,  ///< backward only; ends the program as `budget` when the program's back_jump budget
              ///< is used up
  jump_eq,
  jump_ne,
  jump_lt,
  jump_le,
  jump_gt,
  jump_ge,  ///< unsigned compare R[dst] with operand; forward only
  jump_signed_lt,
  jump_signed_ge,  ///< signed compare
  jump_any_bit,    ///< (R[dst] & operand) != 0
  jump_fault,      ///< when the fault flag is set; clears it
  // filters
  match_string,  ///< R[dst] = 1 when the NUL-terminated string at R[src] (Space(size)) matches pool
                 ///< pattern `imm`, else 0
  set_has,       ///< R[dst] = R[src] in set `imm`
  set_add,       ///< adds R[src] to set `imm`
  set_remove,    ///< removes R[src] from set `imm`
  rate_limit,  ///< takes a token from limiter `imm`; jumps by `offset` when there is none (counted)
  // fields of the record (see record.h for the layout)
  emit_words,     ///< field imm16(0): R[dst] .. R[dst + size - 1]
  emit_string,    ///< field: NUL-terminated bytes at R[dst], at most `offset` bytes, Space(src)
  emit_utf16,     ///< field: UTF-16LE at R[dst]; R[size] bytes when size != kImmediate, else
                  ///< NUL-terminated; at most `offset` bytes, Space(src)
  emit_bytes,     ///< field: min(R[size], offset) bytes at R[dst], Space(src); size == kImmediate:
                  ///< exactly `offset` bytes
  begin_list,     ///< opens a list field
  append_string,  ///< appends NUL-terminated bytes at R[dst] plus one NUL, at most `offset` bytes,
                  ///< Space(src)
  end_list,       ///< closes it; R[dst] (0..255) is stored as the list's `detail`
  // ends
  arm_return,  ///< asks for the return program of this call to be run
  send,        ///< ends the program; the record goes out
  stop,        ///< ends the program; nothing goes out
  // walks
  append_chain,  ///< appends the names of objects of the kernel that lead to one another
                 ///< (ChainStep), from R[dst]
  ///< on, until R[dst] is R[src] or R[src + 1], or R[size], counted down, is 0; at an
  ///< object that leads to itself or to 0 it ends with R[dst] = 0. At least one name.
  ///< On a fault it ends with the fault flag. Each further name takes a jump_back
  count_
};

/// One 16-byte instruction. For emit_* and begin_list the low 16 bits of `imm` are the field id.
struct Instruction {
  Op op = Op::stop;
  std::uint8_t dst = 0;
  std::uint8_t src = 0;
  std::uint8_t size = 0;
  std::int32_t offset = 0;
  std::uint64_t imm = 0;

  bool operator==(const Instruction&) const = default;
};
static_assert(sizeof(Instruction) == 16);

/// The immediate of append_chain: where an object has the address of the next one, and what is
/// read there. `offset` of the instruction is where it has the address of its name.
struct ChainStep {
  std::uint16_t next =
      0;  ///< bytes from the object's beginning, as `offset` at most kMaxChainOffset
  std::uint16_t max = 0;  ///< bytes of a name, at most
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ChainStep) == sizeof(Instruction::imm));
inline constexpr std::uint16_t kMaxChainOffset = 4096;

/// How a pool pattern compares.
enum class PatternKind : std::uint8_t { equal, prefix, suffix, glob };

/// A byte pattern a program can match strings against. Glob knows `*` and `?`.
struct Pattern {
  PatternKind kind = PatternKind::equal;
  std::string text;

  bool operator==(const Pattern&) const = default;
};

/// Code, its patterns and how often it may jump backward in one run (so every run ends).
struct Program {
  std::vector<Instruction> code;
  std::vector<Pattern> patterns;
  std::uint16_t back_jumps = 0;

  bool operator==(const Program&) const = default;
};

}  // namespace glasshook::capture
