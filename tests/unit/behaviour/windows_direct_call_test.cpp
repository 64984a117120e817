// System calls without ntdll, told from those by ntdll and from Wine's own.
#include <gtest/gtest.h>

#include "behaviour/fake_guest.h"

namespace glasshook::behaviour {
namespace {

using testing::FakeGuest;
using testing::make_process;

constexpr std::uint64_t kDispatcher = 0x7f00'0000'1234, kElsewhere = 0x7f00'0000'9999;

class DirectCalls : public ::testing::Test {
 protected:
  void begin(std::uint64_t call, const std::shared_ptr<Process>& process) {
    guest_.user_call_entered("ntdll!NtCreateFile", {.process = process, .call = call}, {});
  }
  void end(std::uint64_t call, const std::shared_ptr<Process>& process) {
    guest_.user_call("ntdll!NtCreateFile", {.process = process, .call = call}, {});
  }
  void passed_on(std::uint64_t return_address, const std::shared_ptr<Process>& process) {
    guest_.user_call_entered("ntdll.so!NtCreateFile",
                             {.process = process, .return_address = return_address}, {});
  }

  FakeGuest guest_{"windows-syscall"};
  std::shared_ptr<Process> process_ = make_process(10);
};

TEST_F(DirectCalls, WhatComesFromTheDispatcherWithoutNtdllIsTold) {
  begin(7, process_);
  passed_on(kDispatcher, process_);
  end(7, process_);
  EXPECT_TRUE(guest_.events.empty());
  passed_on(kDispatcher, process_);
  passed_on(kDispatcher, process_);
  const Event event = guest_.only();  // once
  EXPECT_EQ(event.action, "api_bypassed");
}

TEST_F(DirectCalls, WinesOwnCallsAreNone) {
  begin(7, process_);
  passed_on(kDispatcher, process_);
  end(7, process_);
  passed_on(kElsewhere, process_);
  passed_on(0, process_);
  EXPECT_TRUE(guest_.events.empty());
}

TEST_F(DirectCalls, WhereTheDispatcherIsHasToBeKnownInThatProcess) {
  begin(7, process_);
  passed_on(kDispatcher, process_);
  end(7, process_);
  passed_on(kDispatcher, make_process(11));
  EXPECT_TRUE(guest_.events.empty());
  guest_.family().on_process_exit(process_, guest_);
  passed_on(kDispatcher, process_);
  EXPECT_TRUE(guest_.events.empty());
}

TEST_F(DirectCalls, WithCallsLostFromSightNothingIsSaid) {
  begin(1, process_);
  passed_on(kDispatcher, process_);
  end(1, process_);
  for (std::uint64_t call = 2; call < 6000; ++call) begin(call, process_);
  passed_on(kDispatcher, process_);
  EXPECT_TRUE(guest_.events.empty());
}

}  // namespace
}  // namespace glasshook::behaviour
