#include "guest/elf/instruction.h"

#include <Zydis/Zydis.h>

namespace glasshook::elf {
namespace {

const ZydisDecoder& decoder() {
  static const ZydisDecoder instance = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return d;
  }();
  return instance;
}

bool is_rip_relative(const ZydisDecodedInstruction& i) {
  return (i.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && i.raw.modrm.mod == 0 &&
         i.raw.modrm.rm == 5;
}

Flow flow_of(const ZydisDecodedInstruction& i) {
  switch (i.meta.category) {
    case ZYDIS_CATEGORY_RET:
      return Flow::stop;
    case ZYDIS_CATEGORY_CALL:
      return Flow::call;
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP:
      return Flow::padding;
    case ZYDIS_CATEGORY_COND_BR:
      return Flow::branch;
    case ZYDIS_CATEGORY_UNCOND_BR:
      if (i.raw.imm[0].is_relative) return Flow::jump;
      return is_rip_relative(i) ? Flow::slot_jump : Flow::indirect_jump;
    default:
      break;
  }
  switch (i.mnemonic) {
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_ENDBR64:
      return Flow::padding;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT:
      return Flow::stop;
    default:
      return Flow::next;
  }
}

}  // namespace

std::optional<FlowInstruction> decode_flow(std::span<const std::byte> bytes,
                                           std::uint64_t address) {
  ZydisDecodedInstruction i;
  if (!ZYAN_SUCCESS(
          ZydisDecoderDecodeInstruction(&decoder(), nullptr, bytes.data(), bytes.size(), &i)))
    return std::nullopt;
  FlowInstruction out{.flow = flow_of(i), .length = i.length};
  const std::uint64_t next = address + i.length;
  if (out.flow == Flow::jump || out.flow == Flow::branch)
    out.target = next + static_cast<std::uint64_t>(i.raw.imm[0].value.s);
  out.returns = i.mnemonic == ZYDIS_MNEMONIC_RET;
  out.takes_address = i.mnemonic == ZYDIS_MNEMONIC_LEA && is_rip_relative(i);
  if (out.flow == Flow::slot_jump || out.takes_address)
    out.target = next + static_cast<std::uint64_t>(i.raw.disp.value);
  return out;
}

}  // namespace glasshook::elf
