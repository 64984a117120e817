#include "hypervisor/kvm/instruction.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <type_traits>
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

/// Memory of which every word that was not stored is missing.
class Words final : public GuestMemory {
 public:
  bool load(Gva from, std::size_t size, std::uint64_t& value) override {
    const auto at = words.find(from.value);
    if (at == words.end()) return false;
    value = size == 8 ? at->second : at->second & ((1ull << 8 * size) - 1);
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
  EXPECT_EQ(decoded({0xcc}).kind, Kind::none);  // a breakpoint of the guest's own
  EXPECT_EQ(decoded({0x48, 0x50}).kind, Kind::none);
  EXPECT_EQ(decoded({0x41, 0x58}).kind, Kind::none);
  EXPECT_EQ(decoded({0xf3, 0x90}).kind, Kind::none);  // pause
  EXPECT_EQ(decoded({0x66, 0xc3}).kind, Kind::none);
  EXPECT_EQ(decoded({0x0f, 0x0b}).kind, Kind::none);
  EXPECT_EQ(decoded({0x74, 0}).kind, Kind::none);
  EXPECT_EQ(decoded({0x41, 0x90}).kind, Kind::none);              // xchg r8d, eax
  EXPECT_EQ(decoded({0x83, 0xd0, 0}).kind, Kind::none);           // adc
  EXPECT_EQ(decoded({0x19, 0xc0}).kind, Kind::none);              // sbb
  EXPECT_EQ(decoded({0x82, 0xc0, 0}).kind, Kind::none);           // not in 64-bit mode
  EXPECT_EQ(decoded({0x8d, 0xc0}).kind, Kind::none);              // lea of a register
  EXPECT_EQ(decoded({0xc7, 0xf8, 0, 0, 0, 0}).kind, Kind::none);  // xbegin
  EXPECT_EQ(decoded({0xf7, 0xd0}).kind, Kind::none);              // not eax
  EXPECT_EQ(decoded({0x63, 0xc7}).kind, Kind::none);              // movsxd of 32 bits to 32
  EXPECT_EQ(decoded({0x0f, 0xb7, 0x07}).kind, Kind::none);        // movzx of a word in memory
}

TEST(Decode, PrefixesThatChangeAnOperationAreRefused) {
  for (const int prefix : {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3})
    for (const auto& code : {bytes({0x8b, 0x07}), bytes({0x48, 0x01, 0xc8}), bytes({0x39, 0x07}),
                             bytes({0x0f, 0xb6, 0xc0}), bytes({0x83, 0xc0, 1})}) {
      ASSERT_NE(decode(code).kind, Kind::none);
      auto prefixed = code;
      prefixed.insert(prefixed.begin(), static_cast<std::byte>(prefix));
      EXPECT_EQ(decode(prefixed).kind, Kind::none) << prefix;
      // A REX prefix counts only right before the opcode.
      prefixed.insert(prefixed.begin(), std::byte{0x48});
      EXPECT_EQ(decode(prefixed).kind, Kind::none) << prefix;
    }
  EXPECT_EQ(decoded({0x48, 0x48, 0x8b, 0x07}).kind, Kind::none);
  EXPECT_EQ(decoded({0xc5, 0xf8, 0x77}).kind, Kind::none);  // VEX
}

TEST(Decode, HighBytesAreRefused) {
  EXPECT_EQ(decoded({0x84, 0xe0}).kind, Kind::none);              // test al, ah
  EXPECT_EQ(decoded({0x38, 0x27}).kind, Kind::none);              // cmp [rdi], ah
  EXPECT_EQ(decoded({0x80, 0xfc, 0}).kind, Kind::none);           // cmp ah, 0
  EXPECT_EQ(decoded({0x0f, 0xb6, 0xc4}).kind, Kind::none);        // movzx eax, ah
  EXPECT_EQ(decoded({0x40, 0x84, 0xe0}).kind, Kind::test);        // test al, spl
  EXPECT_EQ(decoded({0x80, 0x3c, 0x24, 0}).kind, Kind::compare);  // cmp byte [rsp], 0
}

TEST(Decode, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(decoded({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}).kind, Kind::none);
  EXPECT_EQ(decoded({0x80, 0x3c, 0x0f, 1}).kind, Kind::none);        // an index
  EXPECT_EQ(decoded({0x81, 0x3f, 0x80, 0, 0, 0}).kind, Kind::none);  // more than eight bits
  EXPECT_EQ(decoded({0x81, 0x3f, 0x7f, 0, 0, 0}).kind, Kind::compare);
  EXPECT_EQ(decoded({0x81, 0x3f, 0x80, 0xff, 0xff, 0xff}).kind, Kind::compare);
}

TEST(Decode, WhatWritesMemoryIsRefusedButMovesOfEightBytes) {
  EXPECT_EQ(decoded({0x48, 0x01, 0x07}).kind, Kind::none);     // add [rdi], rax
  EXPECT_EQ(decoded({0x48, 0x83, 0x07, 1}).kind, Kind::none);  // add qword [rdi], 1
  EXPECT_EQ(decoded({0x89, 0x07}).kind, Kind::none);
  EXPECT_EQ(decoded({0xc7, 0x07, 0, 0, 0, 0}).kind, Kind::none);
  EXPECT_EQ(decoded({0x48, 0x89, 0x07}).kind, Kind::move);
  EXPECT_EQ(decoded({0x48, 0xc7, 0x07, 0, 0, 0, 0}).kind, Kind::move);
}

TEST(Decode, CutCodeIsNoInstruction) {
  for (const auto& whole :
       {bytes({0x0f, 0x1f, 0x84, 0x55, 1, 2, 3, 4}), bytes({0xf3, 0x0f, 0x1e, 0xfa}),
        bytes({0x41, 0x57}), bytes({0xe8, 1, 2, 3, 4}), bytes({0xc2, 1, 2}),
        bytes({0x48, 0x83, 0xec, 0x10}), bytes({0xb8, 1, 2, 3, 4}), bytes({0x05, 1, 2, 3, 4}),
        bytes({0x80, 0x3d, 1, 2, 3, 4, 5}), bytes({0x48, 0x8d, 0x84, 0xcb, 1, 2, 3, 4}),
        bytes({0x0f, 0xbe, 0x47, 1}), bytes({0x48, 0xc7, 0x44, 0x24, 8, 1, 0, 0, 0})}) {
    EXPECT_NE(decode(whole).kind, Kind::none);
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_EQ(decode(std::span(whole).first(size)).kind, Kind::none) << size;
  }
  // More prefixes than an instruction has bytes.
  EXPECT_EQ(decode(std::vector<std::byte>(64, std::byte{0x66})).kind, Kind::none);
}

TEST(Decode, AnyOpeningIsTakenOrRefused) {
  for (int first = 0; first < 0x100; ++first)
    for (int second = 0; second < 0x100; ++second)
      for (const std::size_t size : {1, 2, 5, 15}) {
        std::array<std::byte, kMaxInstructionBytes> code{static_cast<std::byte>(first),
                                                         static_cast<std::byte>(second)};
        const Instruction instruction = decode(std::span(code).first(size));
        ASSERT_LE(instruction.length, size) << first << ' ' << second;
        ASSERT_EQ(instruction.kind == Kind::none, instruction.length == 0);
      }
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

TEST_F(Emulate, TheStackPointerIsARegisterToo) {
  ASSERT_TRUE(run({0x48, 0x83, 0xec, 0x18}));  // sub rsp, 0x18
  EXPECT_EQ(regs.rsp, kStack - 0x18);
  EXPECT_EQ(regs.rip, kCode + 4);
  EXPECT_EQ(regs.rflags & 0x8d5, 0x84u | 0x10);         // PF, SF; AF: 8 was borrowed from
  ASSERT_TRUE(run({0x48, 0x81, 0xc4, 0x18, 1, 0, 0}));  // add rsp, 0x118
  EXPECT_EQ(regs.rsp, kStack + 0x100);
  ASSERT_TRUE(run({0x48, 0x8d, 0x6c, 0x24, 0xf0}));  // lea rbp, [rsp - 0x10]
  EXPECT_EQ(regs.rbp, kStack + 0xf0);
  ASSERT_TRUE(run({0x48, 0x89, 0xec}));  // mov rsp, rbp
  EXPECT_EQ(regs.rsp, kStack + 0xf0);
  ASSERT_TRUE(run({0x48, 0x89, 0x64, 0x24, 0x08}));  // mov [rsp + 8], rsp
  EXPECT_EQ(stack.words[kStack + 0xf8], kStack + 0xf0);
  ASSERT_TRUE(run({0x48, 0x83, 0xe4, 0x80}));  // and rsp, -0x80
  EXPECT_EQ(regs.rsp, kStack + 0x80);
  ASSERT_TRUE(run({0x83, 0xec, 0x08}));  // sub esp, 8
  EXPECT_EQ(regs.rsp, (kStack + 0x78) & 0xffffffff);
}

TEST_F(Emulate, AddressesWrapAround) {
  regs.rax = 0xffff'ffff'ffff'f000;
  regs.rcx = 0x4000'0000'0000'1000;
  stack.words[0x3000] = 0x0123'4567'89ab'cdef;
  ASSERT_TRUE(run({0x48, 0x8b, 0x54, 0x88, 0}));  // mov rdx, [rax + rcx * 4 + 0]
  EXPECT_EQ(regs.rdx, 0x0123'4567'89ab'cdefu);
  ASSERT_TRUE(run({0x8b, 0x54, 0x88, 0}));  // mov edx, ...
  EXPECT_EQ(regs.rdx, 0x89ab'cdefu);
}

TEST_F(Emulate, MemoryThatIsNotThereIsLeftToTheProcessor) {
  regs.rflags = 0x202;
  regs.rax = 0x1234;
  const auto is_refused = [&](std::initializer_list<int> code) {
    const kvm_regs before = regs;
    return !run(code) && std::memcmp(&before, &regs, sizeof regs) == 0;
  };
  EXPECT_TRUE(is_refused({0x8b, 0x07}));  // mov eax, [rdi]
  EXPECT_TRUE(is_refused({0x80, 0x3f, 1}));
  EXPECT_TRUE(is_refused({0x48, 0x03, 0x07}));
  EXPECT_TRUE(is_refused({0x0f, 0xbe, 0x07}));
  EXPECT_TRUE(is_refused({0x80, 0x3d, 0, 0, 0, 0, 1}));
  stack.writable = false;
  EXPECT_TRUE(is_refused({0x48, 0x89, 0x07}));
  // The memory has it, but the processor does not let anybody there.
  stack.writable = true;
  for (const std::uint64_t address :
       {0x0000'8000'0000'0000ull, 0x0000'7fff'ffff'fffdull, 0xffff'7fff'ffff'fff8ull,
        0xffff'ffff'ffff'fffdull, 0x8000'0000'0000'0000ull}) {
    regs.rdi = regs.rsp = address;
    stack.words = {{address, kCode}, {address - 8, kCode}};
    EXPECT_TRUE(is_refused({0x8b, 0x07})) << std::hex << address;
    EXPECT_TRUE(is_refused({0x48, 0x89, 0x07})) << std::hex << address;
    EXPECT_TRUE(is_refused({0xc3})) << std::hex << address;
  }
  regs.rdi = 0x0000'8000'0000'0000;
  stack.words[regs.rdi] = 5;
  EXPECT_TRUE(emulate(decoded({0x8b, 0x07}), true, regs, stack));
  EXPECT_EQ(regs.rax, 5u);
  EXPECT_TRUE(run({0x8d, 0x07}));  // lea does not go there
}

TEST_F(Emulate, WhatEndsWhereNoCodeCanBeIsLeftToTheProcessor) {
  regs.rip = 0x0000'7fff'ffff'fffe;
  stack.words[0x1000] = 1;
  regs.rdi = 0x1000;
  const kvm_regs before = regs;
  EXPECT_FALSE(run({0x8b, 0x07}));
  EXPECT_FALSE(run({0x31, 0xc0}));
  EXPECT_FALSE(run({0x48, 0x89, 0x07, 0}));
  EXPECT_EQ(std::memcmp(&before, &regs, sizeof regs), 0);
  EXPECT_EQ(stack.words[0x1000], 1u);
}

TEST(Instruction, IsReplacedAtOnce) {
  static_assert(std::atomic<Instruction>::is_always_lock_free);
  // No padding: two that are equal are equal for compare_exchange as well.
  static_assert(std::has_unique_object_representations_v<Instruction>);
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
