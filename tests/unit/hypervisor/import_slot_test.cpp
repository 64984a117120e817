#include "hypervisor/qemu/import_slot.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace glasshook::hypervisor::qemu {
namespace {

TEST(Import, IsReplacedAndRestored) {
  const pid_t before = getppid();
  const auto import = Import::find("getppid");
  ASSERT_TRUE(import);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(import->replace(reinterpret_cast<void*>(+[]() -> pid_t { return -4711; })));
    EXPECT_EQ(getppid(), -4711);
    ASSERT_TRUE(import->restore());
    EXPECT_EQ(getppid(), before);
  }
}

TEST(Import, WhatIsNotImportedIsNotFound) {
  const auto result = Import::find("no_such_function_anywhere");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
