// Write protection on this very kernel; skipped where it does not let us.
#include "hypervisor/kvm/write_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "broad_tier.h"

namespace glasshook::hypervisor::kvm {
namespace {

constexpr std::size_t kPages = 4;

/// Memory that is mapped twice: as QEMU has it, and unguarded.
class GuardedMemory : public testing::Test {
 protected:
  GuardedMemory() {
    const UniqueFd file(memfd_create("guarded", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(file.get(), kPages * kPageSize), 0);
    const auto map = [&] {
      return static_cast<std::byte*>(
          mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
    };
    guarded_ = map();
    unguarded_ = map();
  }
  ~GuardedMemory() override {
    guard_.reset();
    munmap(guarded_, kPages * kPageSize);
    munmap(unguarded_, kPages * kPageSize);
  }
  Result<std::unique_ptr<WriteGuard>> make(UniqueFd device = {}) {
    const auto begin = reinterpret_cast<std::uint64_t>(guarded_);
    return WriteGuard::create({.begin = begin, .end = begin + kPages * kPageSize}, unguarded_,
                              std::move(device),
                              {.writes =
                                   [this](std::byte* page) {
                                     seen_.push_back({page, page[8]});
                                     if (on_write) on_write();
                                   },
                               .written = [this] { written_.release(); }});
  }
  void write(std::size_t page, int value) {
    std::thread([&] { guarded_[page * kPageSize + 8] = static_cast<std::byte>(value); }).join();
  }

  struct Seen {
    std::byte* page;
    std::byte before;  ///< what was there when it was told
  };
  std::byte* guarded_ = nullptr;
  std::byte* unguarded_ = nullptr;
  std::vector<Seen> seen_;  ///< of the guard's thread, until that has told `written`
  std::function<void()> on_write;
  std::counting_semaphore<> written_{0};
  std::unique_ptr<WriteGuard> guard_;
};

class WriteGuardTest : public GuardedMemory {
 protected:
  void SetUp() override {
    auto made = make();
    if (!made) GTEST_SKIP() << made.error().message;
    guard_ = std::move(*made);
  }
};

TEST_F(WriteGuardTest, AWriteIsToldBeforeItIsDone) {
  unguarded_[kPageSize + 8] = std::byte{5};
  ASSERT_TRUE(guard_->guard(unguarded_ + kPageSize));
  EXPECT_EQ(guarded_[kPageSize + 8], std::byte{5});  // reading is no write
  write(1, 7);
  written_.acquire();
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_EQ(seen_[0].page, unguarded_ + kPageSize);
  EXPECT_EQ(seen_[0].before, std::byte{5});
  EXPECT_EQ(unguarded_[kPageSize + 8], std::byte{7});
}

TEST_F(WriteGuardTest, OncePerGuardAndForItsPageAlone) {
  ASSERT_TRUE(guard_->guard(unguarded_ + kPageSize));
  write(0, 1);
  write(2, 1);
  write(1, 1);
  written_.acquire();
  write(1, 2);
  EXPECT_EQ(seen_.size(), 1u);
  ASSERT_TRUE(guard_->guard(unguarded_ + kPageSize));
  write(1, 3);
  written_.acquire();
  EXPECT_EQ(seen_.size(), 2u);
}

TEST_F(WriteGuardTest, PagesNobodyTouchedYetAreGuarded) {
  ASSERT_TRUE(guard_->guard(unguarded_ + 3 * kPageSize));
  write(3, 9);
  written_.acquire();
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(WriteGuardTest, OurOwnMappingIsFree) {
  ASSERT_TRUE(guard_->guard(unguarded_));
  unguarded_[8] = std::byte{3};
  EXPECT_EQ(guarded_[8], std::byte{3});
  EXPECT_TRUE(seen_.empty());
}

TEST_F(WriteGuardTest, NothingIsGuardedWhenItIsGone) {
  ASSERT_TRUE(guard_->guard(unguarded_));
  guard_.reset();
  write(0, 4);
  EXPECT_EQ(unguarded_[8], std::byte{4});
  EXPECT_TRUE(seen_.empty());
}

TEST_F(WriteGuardTest, WhoWaitsGoesOnWhenItEnds) {
  ASSERT_TRUE(guard_->guard(unguarded_));
  std::binary_semaphore told{0}, go_on{0};
  on_write = [&] {
    told.release();
    go_on.acquire();
  };
  std::thread writer([&] { guarded_[8] = std::byte{6}; });
  told.acquire();
  std::thread end([&] { guard_.reset(); });
  go_on.release();
  end.join();
  writer.join();
  EXPECT_EQ(unguarded_[8], std::byte{6});
}

/// A process that was given the device, which it may not open where that is as usual.
class GivenDeviceTest : public GuardedMemory {
 protected:
  void SetUp() override {
    device_ = UniqueFd(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (geteuid() != 0 || !device_.valid()) GTEST_SKIP() << "only root can become another user";
  }
  /// What `act` returns as nobody.
  static int as_nobody(const std::function<int()>& act) {
    constexpr uid_t kNobody = 65534;
    const pid_t child = fork();
    if (child == 0) _exit(setresuid(kNobody, kNobody, kNobody) == 0 ? act() : 100);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  UniqueFd device_;
};

TEST_F(GivenDeviceTest, IsGuardedAsAny) {
  EXPECT_EQ(as_nobody([&] {
              auto made = make(std::move(device_));
              if (!made) return 1;
              guard_ = std::move(*made);
              if (!guard_->guard(unguarded_ + kPageSize)) return 2;
              write(1, 7);
              written_.acquire();
              return seen_.size() == 1 && unguarded_[kPageSize + 8] == std::byte{7} ? 0 : 3;
            }),
            0);
}

TEST_F(GivenDeviceTest, KeepsNoWayToAnother) {
  EXPECT_EQ(as_nobody([&] {
              const int number = device_.get();
              const bool guarded = make(std::move(device_)).has_value();
              return guarded && fcntl(number, F_GETFD) < 0 && errno == EBADF ? 0 : 1;
            }),
            0);
}

class GuardedTierTest : public BroadTierTest {
 protected:
  GuardedTierTest() : BroadTierTest(true) {}
  void SetUp() override {
    attach_broad();
    if (!welcome_.capabilities.write_protected) GTEST_SKIP() << "no write protection here";
  }
  /// Waits until the breakpoint is there, or no longer.
  bool comes_to(std::uint64_t offset, int value) {
    for (int i = 0; i < 5000; ++i) {
      if (byte(offset) == value) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
};

TEST_F(GuardedTierTest, AGuestThatPutsItsCodeBackIsHookedAgain) {
  ASSERT_TRUE(hook({{0x40, {2}}}));
  ASSERT_EQ(byte(0x40), 0xcc);
  code(0x40, {0x0f});
  EXPECT_TRUE(comes_to(0x40, 0xcc));
  EXPECT_GE(region_.counters(0).probe.lifted, 1u);
  EXPECT_EQ(region_.counters(0).probe.overwritten, 0u);
  probe_.detach();
  EXPECT_EQ(byte(0x40), 0x0f);
}

TEST_F(GuardedTierTest, WhatIsWrittenBesideAHookStaysAsWritten) {
  ASSERT_TRUE(hook({{0x40, {2}}, {0x00, {1}}}));
  code(0xf00, {0x12, 0x34});
  EXPECT_EQ(byte(0xf00), 0x12);
  EXPECT_EQ(byte(0xf01), 0x34);
  EXPECT_TRUE(comes_to(0x40, 0xcc) && comes_to(0x09, 0xcc));
}

TEST_F(GuardedTierTest, OtherCodeIsLetBe) {
  ASSERT_TRUE(hook({{0x40, {2}}}));
  code(0x40, {0x0f, 0xa2});
  // The next look has been when this hook is in.
  ASSERT_TRUE(hook({{0x40, {2}}, {0x00, {1}}}));
  EXPECT_TRUE(comes_to(0x09, 0xcc));
  EXPECT_EQ(byte(0x40), 0x0f);
}

TEST_F(GuardedTierTest, ASecondSessionIsGuardedAsWell) {
  probe_.detach();
  attach_broad();
  ASSERT_TRUE(welcome_.capabilities.write_protected);
  ASSERT_TRUE(hook({{0x40, {2}}}));
  code(0x40, {0x0f});
  EXPECT_TRUE(comes_to(0x40, 0xcc));
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
