#include "hook/calling_convention.h"

#include <array>
#include <span>

namespace glasshook::hook {
namespace {

using capture::CpuRegister;

constexpr std::array kSysvRegisters = {CpuRegister::rdi, CpuRegister::rsi, CpuRegister::rdx,
                                       CpuRegister::rcx, CpuRegister::r8,  CpuRegister::r9};
constexpr std::array kWin64Registers = {CpuRegister::rcx, CpuRegister::rdx, CpuRegister::r8,
                                        CpuRegister::r9};
/// Bytes between the stack pointer at entry and the first argument on the stack: the return
/// address, and on Windows the home space of the four registers.
constexpr std::int32_t kSysvStack = 8;
constexpr std::int32_t kWin64Stack = 40;

Argument on_stack(std::int32_t offset) {
  Argument argument;
  argument.place = Argument::Place::stack;
  argument.offset = offset;
  return argument;
}

Argument in_register(CpuRegister cpu) {
  Argument argument;
  argument.place = Argument::Place::cpu;
  argument.cpu = cpu;
  return argument;
}

}  // namespace

Argument integer_argument(Abi abi, std::size_t index) {
  const bool windows = abi == Abi::win64_user;
  const std::span<const CpuRegister> registers =
      windows ? std::span<const CpuRegister>(kWin64Registers) : kSysvRegisters;
  if (index < registers.size()) return in_register(registers[index]);
  const auto slot = static_cast<std::int32_t>(index - registers.size());
  return on_stack((windows ? kWin64Stack : kSysvStack) + 8 * slot);
}

std::vector<Argument> kernel_arguments(const linux_guest::Prototype* prototype,
                                       const TypeSystem& types) {
  std::vector<Argument> arguments;
  if (prototype == nullptr) {
    for (std::size_t i = 0; i < kSysvRegisters.size(); ++i)
      arguments.push_back(integer_argument(Abi::linux_kernel, i));
    return arguments;
  }
  std::size_t used = 0;
  std::int32_t stack = kSysvStack;
  for (const linux_guest::Parameter& parameter : prototype->parameters) {
    const ValueType type = ValueType::of(parameter.type);
    // Structs up to 16 bytes travel in registers when enough are left, others on the stack.
    const std::uint64_t size = types.is_struct(type) ? types.size(type) : 8;
    const std::size_t words = (size + 7) / 8;
    const bool fits = words <= 2 && used + words <= kSysvRegisters.size();
    Argument argument;
    if (fits) {
      argument = in_register(kSysvRegisters[used]);
      used += words;
    } else {
      argument = on_stack(stack);
      stack += static_cast<std::int32_t>(8 * words);
    }
    argument.name = parameter.name;
    argument.type = type;
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

void emit_raw_argument(capture::Builder& builder, const Argument& argument, capture::Reg into) {
  if (argument.place == Argument::Place::stack)
    builder.load_cpu(into, CpuRegister::rsp)
        .load_memory(into, into, argument.offset, 8, capture::Space::current);
  else
    builder.load_cpu(into, argument.cpu);
}

}  // namespace glasshook::hook
