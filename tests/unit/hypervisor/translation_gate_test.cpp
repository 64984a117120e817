#include "hypervisor/qemu/translation_gate.h"

#include <gtest/gtest.h>
#include <setjmp.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace {
using glasshook::hypervisor::qemu::SetjmpCall;
std::vector<SetjmpCall>* told = nullptr;
}  // namespace

// What the plugin defines. A caller's frame is not this function's business, says AddressSanitizer.
extern "C" [[gnu::used, gnu::no_sanitize_address]] void glasshook_on_setjmp(
    const SetjmpCall* call) {
  if (told == nullptr) return;
  told->emplace_back();
  for (std::size_t i = 0; i <= SetjmpCall::kReturnAddress; ++i)
    told->back().words[i] = call->words[i];
}

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::uint64_t kTranslates = 0x5555'0000'1000, kInstruction = 0x5555'0000'2000;
constexpr std::size_t kAddressWord = 3, kCodeWord = 17;

bool wanted = true;
std::vector<std::pair<std::uint64_t, const std::byte*>> asked;

/// A vCPU of a QEMU that calls sigsetjmp() once a block and once an instruction, and shows blocks
/// as its mask says.
class FakeVcpu {
 public:
  explicit FakeVcpu(TranslationGate& gate) : gate_(gate) {
    words_[kPlace] = reinterpret_cast<std::uint64_t>(&mask);
    asked.clear();
    wanted = true;
  }

  /// Translates a block; true when the gate said that it works from now on.
  bool translate(std::size_t instructions = 3, bool fault = false, bool one_page = true) {
    const std::uint64_t address = 0x40'1000 + 64 * ++blocks_,
                        code = 0x7fff'0000'1000 + 64 * blocks_;
    call(kTranslates, address, code);
    shown = (mask & EventMask::kTranslation) != 0;
    for (std::size_t i = 0; i < instructions; ++i) call(kInstruction, address + i, 0);
    if (!shown || fault) return false;
    return gate_.on_shown({address, code, instructions, one_page}, env());
  }
  void learn() {
    int blocks = 0;
    while (!translate() && ++blocks < 2 * TranslationGate::kMostBlocks) continue;
  }
  [[nodiscard]] const std::uint64_t* env() const { return words_.data() + EventMask::kWordsBefore; }

  std::uint64_t mask = EventMask::kShowing;
  bool shown = false;

 private:
  static constexpr std::size_t kPlace = 200;
  void call(std::uint64_t caller, std::uint64_t address, std::uint64_t code) {
    SetjmpCall call;
    call.words[SetjmpCall::kReturnAddress] = caller;
    call.words[kAddressWord] = address;
    call.words[kCodeWord] = code;
    gate_.on_setjmp(call, env());
  }

  TranslationGate& gate_;
  std::uint64_t blocks_ = 0;
  std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(EventMask::kWordsBefore + 17);
};

/// Each test on a thread of its own, as the gate keeps some things a thread.
template <typename Test>
void on_a_thread(Test&& test) {
  std::thread(test).join();
}

bool answer(std::uint64_t address, const std::byte* code) {
  asked.emplace_back(address, code);
  return wanted;
}

[[gnu::noinline]] int set_and_jump(sigjmp_buf& buffer) {
  volatile int count = 0;
  if (sigsetjmp(buffer, 0) < 2) {
    count = count + 1;
    siglongjmp(buffer, count);
  }
  return count;
}

// Before the others: once a gate has learnt where to listen, the stub tells of those calls alone.
TEST(TranslationGate, StandsInTheProgramsCallsOfSigsetjmp) {
  std::vector<SetjmpCall> calls;
  ASSERT_TRUE(TranslationGate::install());
  told = &calls;
  sigjmp_buf buffer;
  const int count = set_and_jump(buffer);
  told = nullptr;
  EXPECT_EQ(count, 2);
  ASSERT_EQ(calls.size(), 1u);
  const auto& words = calls[0].words;
  constexpr std::size_t kRsi = 10, kRdi = 11;
  EXPECT_EQ(words[kRdi], reinterpret_cast<std::uint64_t>(&buffer));
  EXPECT_EQ(words[kRsi], 0u);
  const auto begin = reinterpret_cast<std::uint64_t>(&set_and_jump);
  EXPECT_GT(words[SetjmpCall::kReturnAddress], begin);
  EXPECT_LT(words[SetjmpCall::kReturnAddress], begin + 4096);
}

TEST(TranslationGate, ShowsWhatIsWantedOnceItHasLearnt) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    EXPECT_TRUE(asked.empty());
    wanted = false;
    vcpu.translate();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_GE(asked[0].first, 0x40'1000u);
    EXPECT_EQ(reinterpret_cast<std::uint64_t>(asked[0].second) - 0x7fff'0000'1000,
              asked[0].first - 0x40'1000);
    EXPECT_FALSE(vcpu.shown);
    EXPECT_EQ(vcpu.mask, EventMask::kHiding);
    wanted = true;
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
    EXPECT_EQ(asked.size(), 2u);
  });
}

TEST(TranslationGate, OtherVcpusNeedNotLearnAgain) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    on_a_thread([&] {
      FakeVcpu other(gate);
      wanted = false;
      // Its first block is shown: one that was begun before may not have been finished.
      other.translate();
      EXPECT_TRUE(other.shown);
      other.translate();
      EXPECT_FALSE(other.shown);
      EXPECT_EQ(vcpu.mask, EventMask::kShowing);
    });
  });
}

TEST(TranslationGate, AfterABlockThatAFaultEndedTheNextIsShown) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    vcpu.translate(3, true);
    wanted = false;
    vcpu.translate(3, true);
    EXPECT_TRUE(vcpu.shown);
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
    vcpu.translate();
    EXPECT_FALSE(vcpu.shown);
  });
}

TEST(TranslationGate, ShowsAllWhenABlockIsShownThatWasToBeHidden) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    wanted = false;
    vcpu.translate();
    ASSERT_FALSE(vcpu.shown);
    (void)gate.on_shown({0x1000, 0x2000, 3, true}, vcpu.env());
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
  });
}

TEST(TranslationGate, ShowsAllWhenABlockGoesBeyondItsPage) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    vcpu.translate(3, false, false);
    wanted = false;
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
  });
}

TEST(TranslationGate, LeavesAMaskAloneThatIsNotAsLearnt) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.learn();
    constexpr std::uint64_t kMore = EventMask::kShowing | 1 << 5;
    vcpu.mask = kMore;
    wanted = false;
    vcpu.translate();
    EXPECT_EQ(vcpu.mask, kMore);
    // And for good.
    vcpu.mask = EventMask::kShowing;
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
  });
}

TEST(TranslationGate, ShowsAllWhereNothingCanBeLearnt) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    vcpu.mask = EventMask::kTranslation;  // not what the probe has asked for
    vcpu.learn();
    wanted = false;
    vcpu.translate();
    EXPECT_TRUE(vcpu.shown);
    EXPECT_TRUE(asked.empty());
  });
}

TEST(TranslationGate, BlocksOfOneInstructionTeachNothing) {
  on_a_thread([] {
    TranslationGate gate(answer);
    FakeVcpu vcpu(gate);
    for (int i = 0; i < 2 * EventMask::kWanted; ++i) EXPECT_FALSE(vcpu.translate(1));
    EXPECT_TRUE(asked.empty());
  });
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
