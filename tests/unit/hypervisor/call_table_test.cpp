#include "hypervisor/probe/call_table.h"

#include <gtest/gtest.h>

#include <thread>

#include "hypervisor/probe/watched_page.h"

namespace glasshook::hypervisor::probe {
namespace {

constexpr std::uint64_t kCaller = 0x401000;  ///< where all return to

FrameKey frame(std::uint64_t stack) { return {.space = 0x1000, .stack = stack}; }

PendingCall call(std::uint64_t stack, HookSlot* hook, std::uint64_t id, std::uint64_t print = 0) {
  return {.key = frame(stack),
          .hook = hook,
          .call = id,
          .fingerprint = print,
          .return_address = kCaller,
          .saved = {}};
}

TEST(CallTable, JoinsEntryAndReturnOfAFrame) {
  CallTable table;
  HookSlot hook;
  EXPECT_FALSE(table.add(call(0x7fff0000, &hook, 1)));
  std::array<PendingCall, CallTable::kMaxNested> out;
  EXPECT_FALSE(table.has(frame(0x7fff0008)));
  EXPECT_EQ(table.take(frame(0x7fff0008), kCaller, out), 0u);
  EXPECT_EQ(table.take({.space = 0x2000, .stack = 0x7fff0000}, kCaller, out), 0u);
  EXPECT_EQ(table.take(frame(0x7fff0000), kCaller + 5, out), 0u) << "returns to elsewhere";
  EXPECT_TRUE(table.has(frame(0x7fff0000)));
  ASSERT_EQ(table.take(frame(0x7fff0000), kCaller, out), 1u);
  EXPECT_EQ(out[0].call, 1u);
  EXPECT_EQ(table.take(frame(0x7fff0000), kCaller, out), 0u) << "taken once only";
}

TEST(CallTable, KernelCallsReturnByTheirFrameAlone) {
  CallTable table;
  HookSlot hook;
  PendingCall kernel = call(0x100, &hook, 1);
  kernel.return_address = 0;
  table.add(kernel);
  std::array<PendingCall, CallTable::kMaxNested> out;
  EXPECT_EQ(table.take(frame(0x100), 0, out), 1u);
}

TEST(CallTable, TailCallsEndTogetherNewestFirst) {
  CallTable table;
  HookSlot open, open64;
  table.add(call(0x100, &open, 1));
  CallTable::GivenUp given_up;
  EXPECT_EQ(table.give_up(frame(0x100), &open64, kCaller, given_up), 0u);
  table.add(call(0x100, &open64, 2));
  std::array<PendingCall, CallTable::kMaxNested> out;
  ASSERT_EQ(table.take(frame(0x100), kCaller, out), 2u);
  EXPECT_EQ(out[0].hook, &open64);
  EXPECT_EQ(out[1].hook, &open);
}

TEST(CallTable, RestartedEntryIsKnownByItsRegisters) {
  CallTable table;
  HookSlot hook;
  table.add(call(0x100, &hook, 1, 77));
  EXPECT_TRUE(table.is_restart(frame(0x100), &hook, 77));
  EXPECT_FALSE(table.is_restart(frame(0x100), &hook, 78));
}

TEST(CallTable, CallsThatCannotReturnAreGivenUp) {
  CallTable table;
  HookSlot hook, other, third;
  table.add(call(0x100, &hook, 1, 1));
  table.add(call(0x108, &hook, 2, 1));
  PendingCall elsewhere = call(0x100, &other, 3);
  elsewhere.return_address = kCaller + 16;
  table.add(elsewhere);
  CallTable::GivenUp given_up;
  ASSERT_EQ(table.give_up(frame(0x100), &hook, kCaller, given_up), 2u);
  EXPECT_EQ(given_up[0].call + given_up[1].call, 1u + 3u);
  EXPECT_FALSE(table.has(frame(0x100)));
  EXPECT_TRUE(table.has(frame(0x108))) << "another frame";
  EXPECT_EQ(table.give_up(frame(0x108), &third, kCaller, given_up), 0u) << "a tail call";
}

TEST(CallTable, MemoryIsBoundedAndEvictionsAreSaid) {
  CallTable table;
  HookSlot hook;
  std::size_t given_up = 0;
  const std::size_t calls = 2 * CallTable::kBuckets * CallTable::kWays;
  for (std::size_t i = 0; i < calls; ++i) {
    const auto evicted = table.add(call(i * 16, &hook, i + 1));
    given_up += evicted.has_value();
    if (evicted) {
      EXPECT_LE(evicted->call, i);
    }
  }
  EXPECT_GE(given_up, calls / 2);
  std::size_t left = 0;
  std::array<PendingCall, CallTable::kMaxNested> out;
  for (std::size_t i = 0; i < calls; ++i) left += table.take(frame(i * 16), kCaller, out);
  EXPECT_EQ(left + given_up, calls) << "every call is either kept or said to be lost";
}

TEST(CallTable, CallsOfUnloadedHooksAreForgotten) {
  CallTable table;
  HookSlot loaded, unloaded;
  EXPECT_FALSE(table.add(call(0x10, &unloaded, 1)));
  EXPECT_FALSE(table.add(call(0x10, &loaded, 2)));
  EXPECT_FALSE(table.add(call(0x20, &unloaded, 3)));
  unloaded.active = false;
  table.drop_inactive();
  EXPECT_TRUE(table.has(frame(0x10)));
  EXPECT_FALSE(table.has(frame(0x20)));
  std::array<PendingCall, CallTable::kMaxNested> out;
  ASSERT_EQ(table.take(frame(0x10), kCaller, out), 1u);
  EXPECT_EQ(out[0].hook, &loaded);
}

TEST(HookTable, AHookLivesUntilNothingNamesIt) {
  HookTable hooks;
  ASSERT_TRUE(hooks.load({.id = {7}, .entry = {}, .on_return = {}}));
  EXPECT_FALSE(hooks.load({.id = {7}, .entry = {}, .on_return = {}})) << "loaded already";
  PageSites sites;
  sites.entries = {{.offset = 16, .hook = {7}}};
  auto page = std::make_unique<WatchedPage>(sites, hooks, false);
  const std::weak_ptr<HookSlot> slot = hooks.find({7});
  EXPECT_FALSE(hooks.has_retired());
  ASSERT_TRUE(hooks.unload({7}));
  EXPECT_FALSE(hooks.unload({7})) << "unloaded already";
  EXPECT_TRUE(hooks.has_retired());
  EXPECT_EQ(hooks.find({7}), nullptr);
  EXPECT_FALSE(slot.lock()->active);
  hooks.collect();
  EXPECT_FALSE(slot.expired()) << "a page names it";
  page.reset();
  EXPECT_TRUE(slot.expired());
  EXPECT_TRUE(hooks.load({.id = {7}, .entry = {}, .on_return = {}}));
}

TEST(CallTable, ThreadsDoNotLoseEachOthersCalls) {
  CallTable table;
  HookSlot hook;
  const auto work = [&](std::uint64_t base, std::size_t& joined) {
    std::array<PendingCall, CallTable::kMaxNested> out;
    for (std::uint64_t i = 0; i < 50'000; ++i) {
      table.add(call(base + i % 64 * 16, &hook, i + 1, i));
      joined += table.take(frame(base + i % 64 * 16), kCaller, out);
    }
  };
  std::size_t a = 0, b = 0;
  std::thread first(work, 0x10000, std::ref(a)), second(work, 0x20000, std::ref(b));
  first.join();
  second.join();
  EXPECT_EQ(a, 50'000u);
  EXPECT_EQ(b, 50'000u);
}

TEST(FrameKey, IgnoresIsolationBitForUserStacksAndSpaceForKernelStacks) {
  capture::CpuState cpu;
  cpu.gpr[4] = 0x7fff'0000'0000;
  cpu.space.root = Gpa{0x5000};
  auto other = cpu;
  other.space.root = Gpa{0x4000};
  EXPECT_EQ(FrameKey::of(cpu), FrameKey::of(other));
  other.space.root = Gpa{0x6000};
  EXPECT_NE(FrameKey::of(cpu), FrameKey::of(other));
  cpu.gpr[4] = other.gpr[4] = 0xffff'c900'0000'1000;
  EXPECT_EQ(FrameKey::of(cpu), FrameKey::of(other));
}

}  // namespace
}  // namespace glasshook::hypervisor::probe
