#include "hypervisor/kvm/instruction.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace glasshook::hypervisor::kvm {
namespace {

using Kind = Instruction::Kind;

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

Instruction decoded(std::initializer_list<int> values) { return decode(bytes(values)); }

/// A stack of which every word that was not stored is missing.
class Words final : public GuestStack {
 public:
  bool load(Gva from, std::uint64_t& value) override {
    const auto at = words.find(from.value);
    if (at == words.end()) return false;
    value = at->second;
    return true;
  }
  bool store(Gva to, std::uint64_t value) override {
    if (!writable) return false;
    words[to.value] = value;
    return true;
  }
  std::map<std::uint64_t, std::uint64_t> words;
  bool writable = true;
};

constexpr std::uint64_t kCode = 0xffffffff81000000, kStack = 0xffffc90000004000;

class Emulate : public testing::Test {
 protected:
  Emulate() {
    regs.rip = kCode;
    regs.rsp = kStack;
  }
  bool run(std::initializer_list<int> code) {
    return emulate(decode(bytes(code)), false, regs, stack);
  }
  kvm_regs regs{};
  Words stack;
};

TEST(Decode, TheKernelsNops) {
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x44, 0, 0}), (Instruction{.kind = Kind::nop, .length = 5}));
  EXPECT_EQ(decoded({0x90}).length, 1);
  EXPECT_EQ(decoded({0x66, 0x90}).length, 2);
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x00}).length, 3);
  EXPECT_EQ(decoded({0x66, 0x0f, 0x1f, 0x44, 0, 0}).length, 6);
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x80, 0, 0, 0, 0}).length, 7);
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}).length, 8);
  EXPECT_EQ(decoded({0x66, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}).length, 10);
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x05, 0, 0, 0, 0}).length, 7);  // rip-relative
  EXPECT_EQ(decoded({0x0f, 0x1f, 0x04, 0x25, 0, 0, 0, 0}).length, 8);
}

TEST(Decode, WhatMarksATarget) {
  EXPECT_EQ(decoded({0xf3, 0x0f, 0x1e, 0xfa}),
            (Instruction{.kind = Kind::nop, .length = 4, .marks_target = true}));
  EXPECT_TRUE(decoded({0x66, 0x0f, 0x1f, 0x00}).marks_target);
  EXPECT_FALSE(decoded({0x0f, 0x1f, 0x40, 0x00}).marks_target);
  EXPECT_EQ(decoded({0xf3, 0x0f, 0x1e, 0xfb}).kind, Kind::none);  // endbr32
}

TEST(Decode, PushesOfAllRegisters) {
  for (int r = 0; r < 8; ++r) {
    EXPECT_EQ(decoded({0x50 + r}),
              (Instruction{.kind = Kind::push, .length = 1, .reg = static_cast<std::uint8_t>(r)}));
    EXPECT_EQ(
        decoded({0x41, 0x50 + r}),
        (Instruction{.kind = Kind::push, .length = 2, .reg = static_cast<std::uint8_t>(8 + r)}));
  }
  EXPECT_EQ(decoded({0x66, 0x50}).kind, Kind::none);  // 16 bits
}

TEST(Decode, WhatGoesElsewhere) {
  EXPECT_EQ(decoded({0xc3}), (Instruction{.kind = Kind::ret, .length = 1}));
  EXPECT_EQ(decoded({0xf3, 0xc3}).length, 2);
  EXPECT_EQ(decoded({0xc2, 0x10, 0x80}).operand, 0x8010);
  EXPECT_EQ(decoded({0xe9, 0xfb, 0xff, 0xff, 0xff}).operand, -5);
  EXPECT_EQ(decoded({0xeb, 0xfe}).operand, -2);
  EXPECT_EQ(decoded({0xe8, 1, 0, 0, 0}),
            (Instruction{.kind = Kind::call, .length = 5, .operand = 1}));
}

TEST(Decode, EverythingElseIsRefused) {
  EXPECT_EQ(decoded({0xcc}).kind, Kind::none);                    // a breakpoint of the guest's own
  EXPECT_EQ(decoded({0x48, 0x83, 0xec, 0x10}).kind, Kind::none);  // sub rsp, 16
  EXPECT_EQ(decoded({0x48, 0x50}).kind, Kind::none);
  EXPECT_EQ(decoded({0x41, 0x58}).kind, Kind::none);
  EXPECT_EQ(decoded({0xf3, 0x90}).kind, Kind::none);  // pause
  EXPECT_EQ(decoded({0x66, 0xc3}).kind, Kind::none);
  EXPECT_EQ(decoded({0x0f, 0x0b}).kind, Kind::none);
  EXPECT_EQ(decoded({0x74, 0}).kind, Kind::none);
}

TEST(Decode, CutCodeIsNoInstruction) {
  for (const auto& whole :
       {bytes({0x0f, 0x1f, 0x84, 0x55, 1, 2, 3, 4}), bytes({0xf3, 0x0f, 0x1e, 0xfa}),
        bytes({0x41, 0x57}), bytes({0xe8, 1, 2, 3, 4}), bytes({0xc2, 1, 2})}) {
    EXPECT_NE(decode(whole).kind, Kind::none);
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_EQ(decode(std::span(whole).first(size)).kind, Kind::none) << size;
  }
  // More prefixes than an instruction has bytes.
  EXPECT_EQ(decode(std::vector<std::byte>(64, std::byte{0x66})).kind, Kind::none);
}

TEST(Decode, AnyBytesAreTakenOrRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    std::vector<std::byte> code(random() % 20);
    for (std::byte& b : code) b = static_cast<std::byte>(random());
    const Instruction instruction = decode(code);
    EXPECT_LE(instruction.length, std::min(code.size(), kMaxInstructionBytes));
    EXPECT_EQ(instruction.kind == Kind::none, instruction.length == 0);
  }
}

TEST_F(Emulate, ANopIsSkipped) {
  ASSERT_TRUE(run({0x0f, 0x1f, 0x44, 0, 0}));
  EXPECT_EQ(regs.rip, kCode + 5);
  EXPECT_EQ(regs.rsp, kStack);
}

TEST_F(Emulate, APushPushes) {
  regs.r12 = 0x1234;
  ASSERT_TRUE(run({0x41, 0x54}));
  EXPECT_EQ(regs.rip, kCode + 2);
  EXPECT_EQ(regs.rsp, kStack - 8);
  EXPECT_EQ(stack.words[kStack - 8], 0x1234u);
  ASSERT_TRUE(run({0x54}));  // push rsp: as it was before
  EXPECT_EQ(stack.words[kStack - 16], kStack - 8);
}

TEST_F(Emulate, AReturnReturns) {
  stack.words[kStack] = kCode + 0x100;
  ASSERT_TRUE(run({0xc3}));
  EXPECT_EQ(regs.rip, kCode + 0x100);
  EXPECT_EQ(regs.rsp, kStack + 8);
  stack.words[regs.rsp] = kCode;
  ASSERT_TRUE(run({0xc2, 0x18, 0}));
  EXPECT_EQ(regs.rsp, kStack + 8 + 8 + 0x18);
}

TEST_F(Emulate, JumpsAndCallsAreRelativeToTheNextInstruction) {
  ASSERT_TRUE(run({0xe9, 0xf0, 0xff, 0xff, 0xff}));
  EXPECT_EQ(regs.rip, kCode + 5 - 16);
  ASSERT_TRUE(run({0xe8, 0x20, 0, 0, 0}));
  EXPECT_EQ(regs.rip, kCode + 5 - 16 + 5 + 0x20);
  EXPECT_EQ(stack.words[kStack - 8], kCode + 5 - 16 + 5);
}

TEST_F(Emulate, WhatTheProcessorWouldFaultAtIsLeftToIt) {
  EXPECT_FALSE(run({0xc3}));  // no stack
  stack.words[kStack] = 0x0000'8000'0000'0000;
  EXPECT_FALSE(run({0xc3}));  // no canonical address
  stack.writable = false;
  EXPECT_FALSE(run({0x55}));
  EXPECT_FALSE(run({0xe8, 0, 0, 0, 0}));
  EXPECT_FALSE(run({0xcc}));
  EXPECT_EQ(regs.rip, kCode);
  EXPECT_EQ(regs.rsp, kStack);
  // With five levels of page tables it is one.
  EXPECT_TRUE(emulate(decode(bytes({0xc3})), true, regs, stack));
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
