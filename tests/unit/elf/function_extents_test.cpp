#include "guest/elf/function_extents.h"

#include <gmock/gmock.h>

#include <map>

#include "support.h"

namespace glasshook::elf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Functions laid out by hand: bytes at addresses, each function an extent.
class Code {
 public:
  Code& function(std::uint64_t begin, std::vector<std::uint8_t> bytes) {
    extents_.push_back({begin, begin + bytes.size()});
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes_[begin + i] = std::byte{bytes[i]};
    return *this;
  }
  /// `opcode` (jmp e9, jcc 0f 8x) with the displacement that leads from `next` to `target`.
  static std::vector<std::uint8_t> jump(std::vector<std::uint8_t> opcode, std::uint64_t at,
                                        std::uint64_t target) {
    const std::uint64_t next = at + opcode.size() + 4;
    for (int shift = 0; shift < 32; shift += 8)
      opcode.push_back(static_cast<std::uint8_t>((target - next) >> shift));
    return opcode;
  }
  Code& jumper(std::uint64_t begin, std::uint64_t target) {
    return function(begin, jump({0xe9}, begin, target));
  }
  void lose(std::uint64_t address) { bytes_.erase(address); }
  Code& classify(std::function<JumpTarget(std::uint64_t)> classify) {
    view_.classify = std::move(classify);
    return *this;
  }
  ReturnExtents search(std::uint64_t function) {
    view_.read = [this](std::uint64_t address, std::span<std::byte> out) {
      for (std::byte& b : out) {
        const auto found = bytes_.find(address++);
        if (found == bytes_.end()) return false;
        b = found->second;
      }
      return true;
    };
    view_.function_at = [this](std::uint64_t address) -> std::optional<Extent> {
      for (const Extent& e : extents_)
        if (e.contains(address)) return e;
      return std::nullopt;
    };
    return find_return_extents(view_, function);
  }

 private:
  std::map<std::uint64_t, std::byte> bytes_;
  std::vector<Extent> extents_;
  CodeView view_;
};

constexpr std::uint8_t kRet = 0xc3, kNop = 0x90;

TEST(ReturnExtents, OfAPlainFunction) {
  const ReturnExtents found = Code().function(0x1000, {kNop, kRet}).search(0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1002}));
  EXPECT_FALSE(found.incomplete);
  EXPECT_EQ(found.unresolved_tail_calls, 0u);
}

TEST(ReturnExtents, FollowsTailCallsTransitively) {
  const ReturnExtents found = Code()
                                  .jumper(0x1000, 0x2000)
                                  .jumper(0x2000, 0x3000)
                                  .function(0x3000, {kRet})
                                  .function(0x4000, {kRet})
                                  .search(0x1000);
  EXPECT_THAT(found.ranges,
              ElementsAre(Extent{0x1000, 0x1005}, Extent{0x2000, 0x2005}, Extent{0x3000, 0x3001}));
}

TEST(ReturnExtents, FollowsConditionalJumpsOutAndBackIn) {
  std::vector<std::uint8_t> hot = Code::jump({0x0f, 0x84}, 0x1000, 0x9000);
  hot.push_back(kRet);
  // The cold part jumps back into the middle of the hot one, as compilers split functions.
  const ReturnExtents found = Code().function(0x1000, hot).jumper(0x9000, 0x1006).search(0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1007}, Extent{0x9000, 0x9005}));
}

TEST(ReturnExtents, EndsOnCyclesOfJumps) {
  const ReturnExtents found = Code().jumper(0x1000, 0x2000).jumper(0x2000, 0x1000).search(0x1000);
  EXPECT_EQ(found.ranges.size(), 2u);
}

TEST(ReturnExtents, CapsTheRanges) {
  Code code;
  for (std::uint64_t i = 1; i <= 40; ++i) code.jumper(i * 0x1000, (i + 1) * 0x1000);
  const ReturnExtents found = code.search(0x1000);
  EXPECT_EQ(found.ranges.size(), ReturnExtents::kMaxRanges);
  EXPECT_TRUE(found.incomplete);
}

TEST(ReturnExtents, ReportsPltStubsAsSlots) {
  const std::vector<std::uint8_t> stubs = {0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25,
                                           0x00, 0x10, 0x00, 0x00,  // endbr64; jmp [rip+0x1000]
                                           0xff, 0x25, 0x00, 0x20, 0x00, 0x00};  // jmp [rip+0x2000]
  const ReturnExtents found = Code().jumper(0x1000, 0x5000).function(0x5000, stubs).search(0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1005}));
  EXPECT_THAT(found.tail_call_slots, ElementsAre(0x600a));
  EXPECT_EQ(found.unresolved_tail_calls, 1u);
  EXPECT_THAT(Code().function(0x5000, stubs).search(0x500a).tail_call_slots, ElementsAre(0x7010));
}

TEST(ReturnExtents, CountsWhatItCannotFollow) {
  // jmp rax; jmp [rax+8]; and a jump to nowhere
  std::vector<std::uint8_t> bytes = {0xff, 0xe0, 0xff, 0x60, 0x08};
  const std::vector<std::uint8_t> away = Code::jump({0xe9}, 0x1005, 0xdead0000);
  bytes.insert(bytes.end(), away.begin(), away.end());
  const ReturnExtents found = Code().function(0x1000, bytes).search(0x1000);
  EXPECT_EQ(found.indirect_jumps, 2u);
  EXPECT_EQ(found.unresolved_tail_calls, 1u);
  EXPECT_FALSE(found.incomplete);
}

TEST(ReturnExtents, KnowsTheKernelsThunks) {
  Code code;
  code.classify([](std::uint64_t target) {
    if (target == 0x8000) return JumpTarget::return_thunk;
    return target == 0x9000 ? JumpTarget::indirect_thunk : JumpTarget::code;
  });
  code.function(0x8000, {kRet}).function(0x9000, {kRet});
  code.jumper(0x1000, 0x8000).jumper(0x2000, 0x9000);
  EXPECT_THAT(code.search(0x1000).ranges, ElementsAre(Extent{0x1000, 0x1005}));
  EXPECT_EQ(code.search(0x1000).unresolved_tail_calls, 0u);
  EXPECT_EQ(code.search(0x2000).unresolved_tail_calls, 1u);
}

TEST(ReturnExtents, GivesThePlacesThatReturn) {
  Code code;
  code.classify([](std::uint64_t target) {
    return target == 0x8000 ? JumpTarget::return_thunk : JumpTarget::code;
  });
  code.function(0x8000, {kRet});
  // je +1; ret; mov eax, 0xc3c3c3c3; ret, and behind it what is never run.
  code.function(0x1000, {0x74, 0x01, kRet, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, kRet, 0xcc, 0xcc});
  code.jumper(0x2000, 0x8000);
  EXPECT_THAT(code.search(0x1000).places, ElementsAre(0x1002, 0x1008));
  EXPECT_THAT(code.search(0x2000).places, ElementsAre(0x2000));
}

TEST(ReturnExtents, GivesNoPlacesWhereDecodingDoesNotComeOutEven) {
  // je +2, into the middle of the mov.
  EXPECT_THAT(
      Code().function(0x1000, {0x74, 0x02, kNop, 0xb8, 0, 0, 0, 0, kRet}).search(0x1000).places,
      IsEmpty());
  // An instruction that the end cuts.
  EXPECT_THAT(Code().function(0x1000, {0x74, 0x01, kRet, kRet, 0xb8, 0}).search(0x1000).places,
              IsEmpty());
}

TEST(ReturnExtents, RunsOnIntoTheNextFunction) {
  const ReturnExtents found = Code()
                                  .function(0x1000, {0x31, 0xc0})  // xor eax, eax
                                  .function(0x1002, {kRet})
                                  .search(0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1002}, Extent{0x1002, 0x1003}));
  const ReturnExtents padded =
      Code().function(0x1000, {kRet, 0xcc, 0xcc}).function(0x1003, {kRet}).search(0x1000);
  EXPECT_THAT(padded.ranges, ElementsAre(Extent{0x1000, 0x1003})) << "padding does not run";
}

TEST(ReturnExtents, DoesNotRunOnBehindALastCall) {
  // call __stack_chk_fail; nop
  std::vector<std::uint8_t> ending = Code::jump({0xe8}, 0x1000, 0x9000);
  ending.push_back(kNop);
  EXPECT_THAT(Code().function(0x1000, ending).function(0x1006, {kRet}).search(0x1000).ranges,
              ElementsAre(Extent{0x1000, 0x1006}));
  std::vector<std::uint8_t> going_on = Code::jump({0xe8}, 0x1000, 0x9000);
  going_on.insert(going_on.end(), {0x31, 0xc0});  // xor eax, eax
  EXPECT_THAT(Code().function(0x1000, going_on).function(0x1007, {kRet}).search(0x1000).ranges,
              ElementsAre(Extent{0x1000, 0x1007}, Extent{0x1007, 0x1008}));
}

TEST(ReturnExtents, SaysWhenCodeIsMissing) {
  Code code;
  code.function(0x1000, {kNop, kNop, kRet});
  code.lose(0x1001);
  const ReturnExtents found = code.search(0x1000);
  EXPECT_THAT(found.ranges, ElementsAre(Extent{0x1000, 0x1003}));
  EXPECT_TRUE(found.incomplete);
}

TEST(ReturnExtents, SaysWhenCodeIsNone) {
  EXPECT_TRUE(Code().function(0x1000, {0x06, kRet}).search(0x1000).incomplete);
  const ReturnExtents nowhere = Code().search(0x1000);
  EXPECT_THAT(nowhere.ranges, IsEmpty());
  EXPECT_EQ(nowhere.unresolved_tail_calls, 1u);
}

TEST(ReturnExtents, SurvivesExtentsThatLie) {
  CodeView view;
  view.read = [](std::uint64_t, std::span<std::byte> out) {
    std::ranges::fill(out, std::byte{kNop});
    return true;
  };
  view.function_at = [](std::uint64_t) { return std::optional(Extent{0, ~std::uint64_t{0}}); };
  EXPECT_TRUE(find_return_extents(view, 0x1000).incomplete) << "too long to look at";
  view.function_at = [](std::uint64_t a) { return std::optional(Extent{a + 1, a + 2}); };
  EXPECT_THAT(find_return_extents(view, 0x1000).ranges, IsEmpty());
}

}  // namespace
}  // namespace glasshook::elf
