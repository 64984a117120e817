#include "hypervisor/qemu/privileged.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace glasshook::hypervisor::qemu {
namespace {

std::optional<FoundPrivileged> find(std::initializer_list<std::uint8_t> code) {
  return find_privileged(std::vector<std::uint8_t>(code));
}

void expect(std::initializer_list<std::uint8_t> code, PrivilegedInstruction instruction,
            int source = 0) {
  const auto found = find(code);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->instruction, instruction);
  EXPECT_EQ(found->source, source);
}

// Bytes as the GNU assembler writes them.
TEST(Privileged, KnowsThem) {
  using enum PrivilegedInstruction;
  expect({0x0f, 0x30}, write_msr);
  expect({0x0f, 0x01, 0x1c, 0x24}, load_idt);              // lidt (%rsp)
  expect({0x0f, 0x01, 0x1d, 0, 0, 0, 0}, load_idt);        // lidt 0(%rip)
  expect({0x41, 0x0f, 0x01, 0x5c, 0x24, 0x08}, load_idt);  // lidt 8(%r12)
  expect({0x0f, 0x22, 0xc0}, write_cr0, 0);                // mov %rax,%cr0
  expect({0x0f, 0x22, 0xc7}, write_cr0, 7);                // mov %rdi,%cr0
  expect({0x41, 0x0f, 0x22, 0xc1}, write_cr0, 9);          // mov %r9,%cr0
}

TEST(Privileged, PrefixesAndModeBitsDoNotHideThem) {
  using enum PrivilegedInstruction;
  expect({0x2e, 0x66, 0x0f, 0x30}, write_msr);
  expect({0xf3, 0x48, 0x0f, 0x22, 0xc2}, write_cr0, 2);
  expect({0x0f, 0x22, 0x06}, write_cr0,
         6);  // as if from memory: the processor takes it as register
}

TEST(Privileged, KnowsOthersFromThem) {
  EXPECT_FALSE(find({0x0f, 0x32}));              // rdmsr
  EXPECT_FALSE(find({0x0f, 0x22, 0xd8}));        // mov %rax,%cr3
  EXPECT_FALSE(find({0x44, 0x0f, 0x22, 0xc0}));  // mov %rax,%cr8
  EXPECT_FALSE(find({0x0f, 0x20, 0xc0}));        // mov %cr0,%rax
  EXPECT_FALSE(find({0x0f, 0x01, 0x14, 0x24}));  // lgdt
  EXPECT_FALSE(find({0x0f, 0x01, 0xd8}));        // vmrun
  EXPECT_FALSE(find({0x90}));
  EXPECT_FALSE(find({0xb8, 0x0f, 0x30, 0, 0}));  // mov $0x300f,%eax
}

TEST(Privileged, CutShortIsNone) {
  EXPECT_FALSE(find({}));
  EXPECT_FALSE(find({0x66, 0x66}));
  EXPECT_FALSE(find({0x48}));
  EXPECT_FALSE(find({0x0f}));
  EXPECT_FALSE(find({0x0f, 0x22}));
}

bool may_hold(std::vector<std::uint8_t> code) { return may_hold_privileged(code); }

TEST(Privileged, BytesThatMayHoldOneAreTold) {
  EXPECT_TRUE(may_hold({0x90, 0x0f, 0x30, 0x90}));
  EXPECT_TRUE(may_hold({0x90, 0x0f, 0x01, 0x1c, 0x24}));
  EXPECT_TRUE(may_hold({0x41, 0x0f, 0x22, 0xc1, 0x90}));
  EXPECT_TRUE(may_hold({0x90, 0x48, 0xcf, 0x90}));
  EXPECT_TRUE(may_hold({0xb8, 0x0f, 0x30, 0x00, 0x00}));  // inside of another
  EXPECT_TRUE(may_hold({0x0f, 0x0f, 0x30, 0x90}));
}

TEST(Privileged, BytesThatHoldNoneAreTold) {
  EXPECT_FALSE(may_hold({}));
  EXPECT_FALSE(may_hold({0x90, 0xc3}));
  EXPECT_FALSE(may_hold({0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00}));  // nop
  EXPECT_FALSE(may_hold({0x0f, 0x01, 0xcb, 0x90}));                    // stac
  EXPECT_FALSE(may_hold({0xcf, 0x90, 0x0f, 0xb6, 0xc0}));              // iret, movzx
  EXPECT_FALSE(may_hold({0x0f, 0x22, 0xd8, 0x90}));                    // mov %rax,%cr3
}

TEST(Privileged, OneThatTheEndCutsOffIsTold) {
  EXPECT_TRUE(may_hold({0x90, 0x0f}));
  EXPECT_TRUE(may_hold({0x90, 0x48}));
  EXPECT_TRUE(may_hold({0x90, 0x2e}));
  EXPECT_TRUE(may_hold({0x90, 0x0f, 0x01}));
  EXPECT_TRUE(may_hold({0x90, 0x0f, 0x22}));
  EXPECT_FALSE(may_hold({0x90, 0x0f, 0x05}));  // syscall
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
