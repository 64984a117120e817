#include "guest/elf/errno_location.h"

#include <Zydis/Zydis.h>

#include <array>

namespace glasshook::elf {
namespace {

/// Runs the few instructions of the function on symbols: rax is the sum of what was seen so far.
class Evaluation {
 public:
  /// False when the instruction is none of the expected.
  bool step(const ZydisDecodedInstruction& i, const ZydisDecodedOperand* operands,
            std::uint64_t next) {
    if (i.mnemonic == ZYDIS_MNEMONIC_ENDBR64) return true;
    if (i.mnemonic == ZYDIS_MNEMONIC_PUSH || i.mnemonic == ZYDIS_MNEMONIC_POP) return true;
    const bool moves = i.mnemonic == ZYDIS_MNEMONIC_MOV, adds = i.mnemonic == ZYDIS_MNEMONIC_ADD,
               leas = i.mnemonic == ZYDIS_MNEMONIC_LEA;
    if (!(moves || adds || leas) || operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    if (operands[0].reg.value != ZYDIS_REGISTER_RAX)
      return moves && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;  // mov rbp, rsp
    const ZydisDecodedOperand& source = operands[1];
    if (source.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
      location_.offset += source.imm.value.s;
      return adds;
    }
    if (source.type != ZYDIS_OPERAND_TYPE_MEMORY) return false;
    if (leas) {
      location_.offset += source.mem.disp.value;
      return source.mem.base == ZYDIS_REGISTER_RAX && source.mem.index == ZYDIS_REGISTER_NONE;
    }
    if (source.mem.segment == ZYDIS_REGISTER_FS) {
      const bool is_self = source.mem.base == ZYDIS_REGISTER_NONE && source.mem.disp.value == 0;
      has_thread_ = true;
      return is_self;
    }
    location_.slot = next + static_cast<std::uint64_t>(source.mem.disp.value);
    return source.mem.base == ZYDIS_REGISTER_RIP;
  }
  [[nodiscard]] std::optional<ErrnoLocation> result() const {
    return has_thread_ ? std::optional{location_} : std::nullopt;
  }

 private:
  ErrnoLocation location_;
  bool has_thread_ = false;
};

}  // namespace

std::optional<ErrnoLocation> find_errno(const ElfModule& libc) {
  const Symbol* function = libc.exports().find("__errno_location");
  if (!function || function->kind != SymbolKind::function) return std::nullopt;
  std::array<std::byte, 32> code{};
  std::size_t size = code.size();  // the function may end its segment
  while (size > 0 && !libc.read(function->value, std::span(code).first(size))) --size;

  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  Evaluation evaluation;
  for (std::size_t at = 0; at < size;) {
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data() + at, size - at, &instruction,
                                             operands.data())))
      return std::nullopt;
    if (instruction.meta.category == ZYDIS_CATEGORY_RET) return evaluation.result();
    at += instruction.length;
    if (!evaluation.step(instruction, operands.data(), function->value + at)) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace glasshook::elf
