// Programs made at random that verify() accepts.
#pragma once

#include <bit>
#include <random>

#include "capture/op_table.h"
#include "capture/program.h"
#include "capture/verifier.h"

namespace glasshook::capture {

class RandomPrograms {
 public:
  explicit RandomPrograms(std::uint32_t seed) : random_(seed) {}

  /// Tries until one passes.
  Program next(ProgramRole role) {
    while (true) {
      Program program{.code = {},
                      .patterns = {{PatternKind::prefix, "a"},
                                   {PatternKind::glob, "*a*b"},
                                   {PatternKind::suffix, "\n\x7f\"\\\xff"}},
                      .back_jumps = static_cast<std::uint16_t>(below(20))};
      const std::size_t size = 1 + below(24);
      while (program.code.size() < size)
        program.code.push_back(instruction(size - program.code.size() - 1, program.code.size()));
      program.code.push_back({.op = below(2) ? Op::send : Op::stop});
      if (verify(program, role)) return program;
    }
  }

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

 private:
  std::uint8_t reg() { return static_cast<std::uint8_t>(below(kRegisterCount)); }
  std::uint8_t space() { return static_cast<std::uint8_t>(below(2)); }
  std::uint8_t load_size() { return static_cast<std::uint8_t>(1u << below(4)); }
  std::int32_t cap() {
    return static_cast<std::int32_t>(1 + below(below(2) ? 20 : kMaxFieldBytes));
  }
  std::uint64_t value() {
    constexpr std::uint64_t kAddresses[] = {0x40'0000, 0x40'0ff0, 0x40'1ff8,
                                            0,         ~0ull,     0xffff'8880'0000'0000};
    return below(2) ? kAddresses[below(std::size(kAddresses))] + below(16) : random_();
  }

  Instruction instruction(std::size_t after, std::size_t before) {
    Instruction in{.op = static_cast<Op>(below(static_cast<std::uint64_t>(Op::count_)))};
    const auto forward = static_cast<std::int32_t>(below(after + 1));
    switch (op_info(in.op).shape) {
      case Shape::none:
        break;
      case Shape::load_cpu:
        in.dst = reg();
        in.imm = below(static_cast<std::uint64_t>(CpuRegister::count_));
        break;
      case Shape::operand:
      case Shape::compare:
        in.dst = reg();
        in.src = below(2) ? kImmediate : reg();
        if (in.src == kImmediate) in.imm = value();
        if (has_jump_target(in.op)) in.offset = forward;
        break;
      case Shape::load_memory:
        in.dst = reg();
        in.src = reg();
        in.size = load_size();
        in.offset = static_cast<std::int32_t>(below(8192)) - 4096;
        in.imm = space();
        break;
      case Shape::sign_extend:
        in.dst = reg();
        in.size = load_size();
        break;
      case Shape::load_saved:
        in.dst = reg();
        in.imm = below(kSavedSlotCount);
        break;
      case Shape::save:
        in.src = reg();
        in.imm = below(kSavedSlotCount);
        break;
      case Shape::jump:
        in.offset =
            in.op == Op::jump_back ? -1 - static_cast<std::int32_t>(below(before + 1)) : forward;
        break;
      case Shape::match:
        in.dst = reg();
        in.src = reg();
        in.size = space();
        in.imm = below(3);
        break;
      case Shape::set_test:
        in.dst = reg();
        [[fallthrough]];
      case Shape::set_change:
        in.src = reg();
        in.imm = below(kSetCount);
        break;
      case Shape::limit:
        in.imm = below(kLimiterCount);
        in.offset = forward;
        break;
      case Shape::words:
        in.dst = static_cast<std::uint8_t>(below(8));
        in.size = static_cast<std::uint8_t>(1 + below(8));
        in.imm = below(100);
        break;
      case Shape::counted:
        in.size = below(2) ? kImmediate : reg();
        [[fallthrough]];
      case Shape::text:
        in.imm = below(100);
        [[fallthrough]];
      case Shape::append:
        in.dst = reg();
        in.src = space();
        in.offset = cap();
        break;
      case Shape::begin_list:
        in.imm = below(100);
        break;
      case Shape::end_list:
        in.dst = reg();
        break;
      case Shape::chain:
        in.dst = reg();
        in.src = static_cast<std::uint8_t>(below(kRegisterCount - 1));
        in.size = reg();
        in.offset = static_cast<std::int32_t>(below(kMaxChainOffset + 1));
        in.imm = std::bit_cast<std::uint64_t>(
            ChainStep{.next = static_cast<std::uint16_t>(below(kMaxChainOffset + 1)),
                      .max = static_cast<std::uint16_t>(cap())});
        break;
    }
    return in;
  }

  std::mt19937_64 random_;
};

}  // namespace glasshook::capture
