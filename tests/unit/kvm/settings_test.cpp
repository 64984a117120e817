#include "hypervisor/kvm/settings.h"

#include <gtest/gtest.h>

namespace glasshook::hypervisor::kvm {
namespace {

TEST(Settings, ASocketToListenAt) {
  const auto settings = parse_settings("socket=/run/vm.sock");
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->socket, "/run/vm.sock");
  EXPECT_EQ(settings->fd, -1);
  EXPECT_EQ(settings->userfaultfd, -1);
  EXPECT_EQ(settings->ring_mib, 8u);
}

TEST(Settings, DescriptorsOfWhoStartedQemu) {
  const auto settings = parse_settings("fd=7,ring=64,userfaultfd=12");
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->fd, 7);
  EXPECT_EQ(settings->userfaultfd, 12);
  EXPECT_EQ(settings->ring_mib, 64u);
  EXPECT_EQ(settings->socket, "");
}

TEST(Settings, WhatMeansNothing) {
  for (const char* wrong :
       {"", "ring=8", "userfaultfd=4", "fd=3,socket=/s", "fd=", "fd=-1", "fd=3x", "fd=3,ring=0",
        "fd=3,ring=1025", "fd=3,ring=-1", "fd=3,userfaultfd=", "fd=3,userfaultfd=a", "fd=3,depth=1",
        "/run/vm.sock"})
    EXPECT_FALSE(parse_settings(wrong)) << wrong;
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
