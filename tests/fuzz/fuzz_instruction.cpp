// Instructions of the guest that the KVM probe does in the processor's stead: any bytes, registers
// and stack.
#include <cstdlib>
#include <cstring>
#include <span>

#include "hypervisor/kvm/instruction.h"

using namespace glasshook;                   // NOLINT
using namespace glasshook::hypervisor::kvm;  // NOLINT

namespace {

/// One word, which may be missing.
class Word final : public GuestStack {
 public:
  bool load(Gva, std::uint64_t& value) override {
    value = word;
    return there;
  }
  bool store(Gva, std::uint64_t value) override {
    if (there) word = value;
    return there;
  }
  std::uint64_t word = 0;
  bool there = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  struct {
    kvm_regs regs;
    std::uint64_t word;
    std::uint8_t there, five_level;
  } given{};
  if (size < sizeof given) return 0;
  std::memcpy(&given, data, sizeof given);
  const auto code = std::as_bytes(std::span(data, size)).subspan(sizeof given);
  const Instruction instruction = decode(code);
  if (instruction.length > code.size() || instruction.length > kMaxInstructionBytes) std::abort();
  if ((instruction.kind == Instruction::Kind::none) != (instruction.length == 0)) std::abort();
  // What follows an instruction does not change it.
  if (instruction.length > 0 && decode(code.first(instruction.length)) != instruction) std::abort();

  Word stack;
  stack.word = given.word;
  stack.there = (given.there & 1) != 0;
  const bool five_level = (given.five_level & 1) != 0;
  kvm_regs regs = given.regs;
  const bool done = emulate(instruction, five_level, regs, stack);
  const auto sign = static_cast<std::int64_t>(regs.rip) >> (five_level ? 56 : 47);
  if (done && sign != 0 && sign != -1) std::abort();  // KVM could not enter the guest there
  if (!done && std::memcmp(&regs, &given.regs, sizeof regs) != 0) std::abort();
  if (!done && stack.word != given.word) std::abort();
  regs.rip = given.regs.rip;
  regs.rsp = given.regs.rsp;
  if (std::memcmp(&regs, &given.regs, sizeof regs) != 0) std::abort();
  return 0;
}
