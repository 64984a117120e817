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

std::size_t end_of(std::vector<std::uint8_t> code) { return end_of_privileged(code); }

TEST(Privileged, TheLastThatMayBeOneIsFound) {
  EXPECT_EQ(end_of({0x90, 0x0f, 0x30, 0x90}), 2u);
  EXPECT_EQ(end_of({0x0f, 0x30, 0x90, 0x0f, 0x01, 0x1c, 0x24}), 4u);
  EXPECT_EQ(end_of({0x41, 0x0f, 0x22, 0xc1, 0x90, 0x90}), 2u);
  EXPECT_EQ(end_of({0x0f, 0x30, 0x48, 0xcf, 0x90}), 4u);
  EXPECT_EQ(end_of({0x48, 0xcf, 0x0f, 0x30, 0x90}), 3u);
  EXPECT_EQ(end_of({0xb8, 0x0f, 0x30, 0x00, 0x00}), 2u);  // inside of another
  EXPECT_EQ(end_of({0x0f, 0x0f, 0x30, 0x90}), 2u);
}

TEST(Privileged, BytesThatHoldNoneAreKnown) {
  EXPECT_EQ(end_of({}), 0u);
  EXPECT_EQ(end_of({0x90, 0xc3}), 0u);
  EXPECT_EQ(end_of({0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00}), 0u);  // nop
  EXPECT_EQ(end_of({0x0f, 0x01, 0xcb, 0x90}), 0u);                    // stac
  EXPECT_EQ(end_of({0xcf, 0x90, 0x0f, 0xb6, 0xc0}), 0u);              // iret, movzx
  EXPECT_EQ(end_of({0x0f, 0x22, 0xd8, 0x90}), 0u);                    // mov %rax,%cr3
  EXPECT_EQ(end_of({0x90, 0x0f}), 0u);                                // does not end here
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
