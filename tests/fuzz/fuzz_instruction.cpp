// Instructions of the guest that the KVM probe does in the processor's stead: any bytes, registers
// and memory.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <span>

#include "hypervisor/kvm/instruction.h"
#include "memory/page_walk.h"

using namespace glasshook;                   // NOLINT
using namespace glasshook::hypervisor::kvm;  // NOLINT

namespace {

/// One word, which may be missing, wherever it is looked for.
class Word final : public GuestMemory {
 public:
  explicit Word(bool five_level) : five_level_(five_level) {}

  bool load(Gva from, std::size_t bytes, std::uint64_t& value) override {
    if (bytes != 1 && bytes != 4 && bytes != 8) std::abort();
    check(from, bytes);
    if (!there) return false;
    value = bytes == 8 ? word : word & ((std::uint64_t{1} << 8 * bytes) - 1);
    return true;
  }
  bool store(Gva to, std::uint64_t value) override {
    check(to, sizeof value);
    if (there) word = value;
    return there;
  }
  std::uint64_t word = 0;
  bool there = false;

 private:
  /// An instruction has one operand in memory, where memory can be.
  void check(Gva first, std::size_t bytes) {
    const AddressSpace space{.root = {}, .five_level = five_level_};
    if (++uses_ > 1 || !is_canonical(space, first) || !is_canonical(space, first + (bytes - 1)))
      std::abort();
  }

  bool five_level_;
  int uses_ = 0;
};

constexpr std::array kGeneral{&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                              &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi,
                              &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                              &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

/// One register at most is written to, and of the flags those that arithmetic has.
void check_changes(const kvm_regs& before, const kvm_regs& after) {
  constexpr std::uint64_t kStatusFlags = 0x8d5;
  const auto changed =
      std::ranges::count_if(kGeneral, [&](const auto reg) { return before.*reg != after.*reg; });
  if (changed > 1 || ((before.rflags ^ after.rflags) & ~kStatusFlags) != 0) std::abort();
}

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

  const bool five_level = (given.five_level & 1) != 0;
  Word memory(five_level);
  memory.word = given.word;
  memory.there = (given.there & 1) != 0;
  kvm_regs regs = given.regs;
  const bool done = emulate(instruction, five_level, regs, memory);
  // KVM could not enter the guest there.
  if (done && !is_canonical({.root = {}, .five_level = five_level}, Gva{regs.rip})) std::abort();
  if (!done && std::memcmp(&regs, &given.regs, sizeof regs) != 0) std::abort();
  if (!done && memory.word != given.word) std::abort();
  check_changes(given.regs, regs);
  return 0;
}
