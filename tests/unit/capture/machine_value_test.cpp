// Registers, arithmetic, memory loads and jumps.
#include "capture/machine_fixture.h"
#include "memory/page_walk.h"

namespace glasshook::capture {
namespace {

using MachineValueTest = MachineTest;

TEST_F(MachineValueTest, LoadsProcessorState) {
  cpu.rip = 0x1111;
  cpu.fs_base = 0x2222;
  cpu.gs_base = 0x3333;
  cpu.kernel_gs = 0x4444;
  cpu.vcpu = 3;
  cpu.user_mode = true;
  cpu.lstar = 0x5555;
  cpu.idt_base = 0x6666;
  cpu.operand = 0x7777;
  EXPECT_EQ(value_of("load_cpu r0, rax"), 0x1000u);
  EXPECT_EQ(value_of("load_cpu r0, r15"), 0x100fu);
  EXPECT_EQ(value_of("load_cpu r0, rip"), 0x1111u);
  EXPECT_EQ(value_of("load_cpu r0, cr3"), cpu.space.root.value);
  EXPECT_EQ(value_of("load_cpu r0, fs_base"), 0x2222u);
  EXPECT_EQ(value_of("load_cpu r0, gs_base"), 0x3333u);
  EXPECT_EQ(value_of("load_cpu r0, kernel_gs"), 0x4444u);
  EXPECT_EQ(value_of("load_cpu r0, vcpu"), 3u);
  EXPECT_EQ(value_of("load_cpu r0, user_mode"), 1u);
  EXPECT_EQ(value_of("load_cpu r0, lstar"), 0x5555u);
  EXPECT_EQ(value_of("load_cpu r0, idt_base"), 0x6666u);
  EXPECT_EQ(value_of("load_cpu r0, operand"), 0x7777u);
}

TEST_F(MachineValueTest, RegistersStartAtZero) { EXPECT_EQ(value_of(""), 0u); }

TEST_F(MachineValueTest, Calculates) {
  EXPECT_EQ(value_of("move r1, 7\n move r0, r1"), 7u);
  EXPECT_EQ(value_of("move r0, 5\n add r0, 3"), 8u);
  EXPECT_EQ(value_of("move r0, 5\n sub r0, 6"), ~0ull);
  EXPECT_EQ(value_of("move r0, 0xff\n bit_and r0, 0x0f"), 0x0fu);
  EXPECT_EQ(value_of("move r0, 0xf0\n bit_or r0, 0x0f"), 0xffu);
  EXPECT_EQ(value_of("move r0, 0xff\n bit_xor r0, 0x0f"), 0xf0u);
  EXPECT_EQ(value_of("move r0, 1\n shift_left r0, 63"), 1ull << 63);
  EXPECT_EQ(value_of("move r0, 0x8000000000000000\n shift_right r0, 63"), 1u);
  EXPECT_EQ(value_of("move r0, 1\n shift_left r0, 65"), 2u) << "counts are taken modulo 64";
  EXPECT_EQ(value_of("move r0, 6\n move r1, 7\n multiply r0, r1"), 42u);
}

TEST_F(MachineValueTest, ExtendsSigns) {
  EXPECT_EQ(value_of("move r0, 0x80\n sign_extend r0, 1"), 0xffff'ffff'ffff'ff80u);
  EXPECT_EQ(value_of("move r0, 0x1234567f\n sign_extend r0, 1"), 0x7fu);
  EXPECT_EQ(value_of("move r0, 0x8000\n sign_extend r0, 2"), 0xffff'ffff'ffff'8000u);
  EXPECT_EQ(value_of("move r0, 0xfffffffe\n sign_extend r0, 4"), ~0ull - 1);
  EXPECT_EQ(value_of("move r0, 0xfffffffe\n sign_extend r0, 8"), 0xffff'fffeu);
}

TEST_F(MachineValueTest, LoadsMemoryOfEverySize) {
  guest.store(first_page + 16, std::uint64_t{0x8877'6655'4433'2211});
  EXPECT_EQ(value_of("move r1, 0x400010\n load_memory r0, [r1], 8"), 0x8877'6655'4433'2211u);
  EXPECT_EQ(value_of("move r1, 0x400000\n load_memory r0, [r1 + 16], 4"), 0x4433'2211u);
  EXPECT_EQ(value_of("move r1, 0x400018\n load_memory r0, [r1 - 8], 2"), 0x2211u);
  EXPECT_EQ(value_of("move r1, 0x400010\n load_memory r0, [r1 + 7], 1"), 0x88u);
}

TEST_F(MachineValueTest, LoadsAcrossPages) {
  guest.store(first_page + (kPageSize - 3), std::uint8_t{1});
  guest.store(first_page + (kPageSize - 2), std::uint16_t{0x0302});
  guest.store(second_page, std::uint64_t{0x0807'0605'04});
  EXPECT_EQ(value_of("move r1, 0x400ffd\n load_memory r0, [r1], 8"), 0x0807'0605'0403'0201u);
  EXPECT_EQ(value_of("move r1, 0x400ffd\n load_memory r0, [r1], 4"), 0x0403'0201u);
}

/// The work of runs keeps what they learnt of page tables.
class ChangingTables : public MachineTest {
 protected:
  static constexpr const char* kLoad = "move r1, 0x400010\n load_memory r0, [r1], 8";

  ChangingTables() {
    guest.store(first_page + 16, std::uint64_t{1});
    guest.store(guest.map_new(other, Gva{0x40'0000}) + 16, std::uint64_t{2});
  }
  /// Of an entry that is not in the lowest two levels.
  Gpa entry(AddressSpace space, int shift) {
    Gpa table = space.root;
    for (int at = root_shift(space); at > shift; at -= 9)
      table = Gpa{guest.load(table + entry_offset(Gva{0x40'0000}, at)) & kCr3RootMask};
    return table + entry_offset(Gva{0x40'0000}, shift);
  }

  AddressSpace other = guest.new_space();
};

TEST_F(ChangingTables, AreSeenByTheNextRun) {
  for (const int shift : {39, 30}) {
    EXPECT_EQ(value_of(kLoad), 1u);
    const std::uint64_t before = guest.load(entry(cpu.space, shift));
    guest.store(entry(cpu.space, shift), guest.load(entry(other, shift)));
    EXPECT_EQ(value_of(kLoad), 2u) << shift;
    guest.store(entry(cpu.space, shift), std::uint64_t{0});
    EXPECT_EQ(value_of(std::string(kLoad) + "\n jump_fault none\n move r0, 3\nnone:\n"), 0u);
    guest.store(entry(cpu.space, shift), before);
    EXPECT_EQ(value_of(kLoad), 1u) << shift;
  }
}

TEST_F(ChangingTables, DoNotMixSpaces) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(value_of(kLoad), 1u);
    std::swap(cpu.space, other);
    EXPECT_EQ(value_of(kLoad), 2u);
    std::swap(cpu.space, other);
  }
}

TEST_F(MachineValueTest, FaultsGiveZeroAndTheFlag) {
  EXPECT_EQ(value_of("move r0, 5\n load_memory r0, [r15], 8"), 0u);
  EXPECT_EQ(value_of("load_memory r1, [r15], 8\n jump_fault bad\n jump end\n"
                     "bad:\n move r0, 1\nend:\n"),
            1u);
  guest.store(second_page + (kPageSize - 4), ~0u);
  EXPECT_EQ(value_of("move r1, 0x401ffc\n load_memory r0, [r1], 8\n"
                     "jump_fault bad\n move r0, 99\nbad:\n"),
            0u)
      << "half a value is no value";
}

TEST_F(MachineValueTest, TheFaultFlagStaysUntilTested) {
  EXPECT_EQ(value_of("move r2, 0x400000\n load_memory r1, [r15], 8\n load_memory r1, [r2], 8\n"
                     "jump_fault one\n stop\n"
                     "one:\n jump_fault two\n move r0, 1\ntwo:\n"),
            1u);
}

TEST_F(MachineValueTest, KeepsTheTwoSpacesApart) {
  guest.store(kernel_page, std::uint64_t{42});
  EXPECT_EQ(value_of("move r1, 0xffff888000000000\n load_memory r0, [r1], 8, kernel"), 42u);
  EXPECT_EQ(value_of("move r1, 0xffff888000000000\n load_memory r0, [r1], 8"), 0u);
  // The same address in both, as under page-table isolation.
  const Gpa other = guest.map_new(environment.kernel_space, kText);
  guest.store(first_page, std::uint64_t{1});
  guest.store(other, std::uint64_t{2});
  EXPECT_EQ(value_of("move r1, 0x400000\n load_memory r0, [r1], 8\n"
                     "load_memory r2, [r1], 8, kernel\n shift_left r2, 8\n add r0, r2"),
            0x201u);
}

TEST_F(MachineValueTest, ReadsThroughFiveLevelsAndLargePages) {
  cpu.space = guest.new_space(true);
  const Gpa far = guest.map_new(cpu.space, Gva{0x00ab'cdef'0123'4000});
  guest.store(far + 8, std::uint64_t{5});
  EXPECT_EQ(value_of("move r1, 0xabcdef01234008\n load_memory r0, [r1], 8"), 5u);
  guest.map(cpu.space, Gva{0x20'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.store(Gpa{0x31'2345}, std::uint32_t{6});
  EXPECT_EQ(value_of("move r1, 0x312345\n load_memory r0, [r1], 4"), 6u);
  guest.map(cpu.space, Gva{0x4000'0000}, Gpa{0}, 1 << 30);
  guest.store(Gpa{0x31'2345}, std::uint32_t{7});
  EXPECT_EQ(value_of("move r1, 0x40312345\n load_memory r0, [r1], 4"), 7u);
  EXPECT_EQ(value_of("move r1, 0x70000000\n load_memory r0, [r1], 4"), 0u) << "beyond RAM";
}

TEST_F(MachineValueTest, ManyPagesDoNotConfuseTheTranslationCache) {
  constexpr std::uint64_t kPages = 64;
  for (std::uint64_t i = 0; i < kPages; ++i) {
    const Gva address{0x7000'0000 + i * kPageSize};
    guest.store(guest.map_new(cpu.space, address), i + 1);
  }
  // Sums the first word of every page, twice over.
  EXPECT_EQ(value_of(".back_jumps 200\n move r3, 2\nround:\n move r1, 0x70000000\nagain:\n"
                     "load_memory r2, [r1], 8\n add r0, r2\n add r1, 4096\n"
                     "jump_ge r1, 0x70040000, out\n jump_back again\n"
                     "out:\n sub r3, 1\n jump_eq r3, 0, end\n jump_back round\nend:\n"),
            kPages * (kPages + 1));
}

TEST_F(MachineValueTest, PagesOfOneTableAreToldApart) {
  // The second and third page are found by the table of the first.
  guest.store(first_page, std::uint64_t{1});
  guest.store(second_page, std::uint64_t{2});
  EXPECT_EQ(value_of("move r1, 0x400000\n load_memory r0, [r1], 8\n"
                     "load_memory r2, [r1 + 4096], 8\n shift_left r2, 8\n add r0, r2\n"
                     "load_memory r2, [r1 + 8192], 8\n add r0, r2\n"
                     "jump_fault fault\n jump end\nfault:\n add r0, 0x10000\nend:\n"),
            0x10201u)
      << "the third is not there";
  guest.map(cpu.space, kText + 2 * kPageSize, Gpa{1ull << 40});
  EXPECT_EQ(value_of("move r1, 0x400000\n load_memory r0, [r1], 8\n"
                     "load_memory r2, [r1 + 8192], 8\n"
                     "jump_fault fault\n jump end\nfault:\n add r0, 0x10000\nend:\n"),
            0x10001u)
      << "the third lies beyond RAM";
}

TEST_F(MachineValueTest, LargePagesAreOnePiece) {
  guest.map(cpu.space, Gva{0x20'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.map(cpu.space, Gva{0x4000'0000}, Gpa{0}, 1 << 30);
  guest.store(Gpa{0x20'0000}, std::uint64_t{1});
  guest.store(Gpa{0x3f'fff8}, std::uint64_t{2});
  constexpr const char* kLoads =
      "load_memory r0, [r1], 8\n load_memory r2, [r1 + 0x1ffff8], 8\n shift_left r2, 8\n"
      "add r0, r2\n load_memory r2, [r1 + 0x200000], 8\n"
      "jump_fault fault\n jump end\nfault:\n add r0, 0x10000\nend:\n";
  guest.map(cpu.space, Gva{0x40'0000}, Gpa{0}, kPageSize, 0);
  EXPECT_EQ(value_of(std::string("move r1, 0x200000\n") + kLoads), 0x10201u) << "not mapped";
  EXPECT_EQ(value_of(std::string("move r1, 0x40200000\n") + kLoads), 0x10201u) << "beyond RAM";
}

TEST_F(MachineValueTest, ALargePageThatRamEndsInIsReadAsFarAsItGoes) {
  // RAM of one and a half large pages.
  GuestRam ram;
  ram.add({.begin = Gpa{0}, .size = 3 << 20, .host = guest.bytes().data()});
  environment.ram = &ram;
  guest.map(cpu.space, Gva{0x20'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.store(Gpa{0x2f'fff8}, std::uint64_t{3});
  EXPECT_EQ(value_of("move r1, 0x2ffff8\n load_memory r0, [r1], 8\n"
                     "load_memory r2, [r1 + 8], 8\n"
                     "jump_fault fault\n jump end\nfault:\n add r0, 0x10000\nend:\n"),
            0x10003u);
}

TEST_F(MachineValueTest, TablesOutsideRamLeaveWhatIsKnownAlone) {
  // Four GiB on, where the reader keeps its directories in the same place; its tables are nowhere.
  constexpr Gva kNear{0x20'0000}, kFar{0x1'0020'0000};
  const Gpa page = guest.new_page();
  guest.map(cpu.space, kNear, page);
  guest.map(cpu.space, kNear + (2 << 20), page);
  guest.map(cpu.space, kFar, page);
  guest.store(page, std::uint64_t{7});
  const Gpa upper{guest.load(cpu.space.root) & kCr3RootMask};
  guest.store(upper + 4 * 8, (1ull << 40) | test::TestGuest::kAllRights);
  EXPECT_EQ(value_of("move r1, 0x200000\n load_memory r0, [r1], 8\n move r3, 0x100200000\n"
                     "load_memory r2, [r3], 8\n jump_fault gone\n jump end\n"
                     "gone:\n shift_left r0, 8\n load_memory r2, [r1 + 0x200000], 8\n"
                     "add r0, r2\n jump_fault end\n add r0, 0x10000\nend:\n"),
            0x10707u);
}

TEST_F(MachineValueTest, ComparesUnsignedAndSigned) {
  const auto jumps = [&](std::string_view op, std::string_view left, std::string_view right) {
    return value_of(fmt::format("move r1, {}\n move r2, {}\n {} r1, r2, yes\n jump end\n"
                                "yes:\n move r0, 1\nend:\n",
                                left, right, op)) == 1;
  };
  constexpr std::string_view kMinusOne = "0xffffffffffffffff";
  EXPECT_TRUE(jumps("jump_eq", "3", "3"));
  EXPECT_FALSE(jumps("jump_eq", "3", "4"));
  EXPECT_TRUE(jumps("jump_ne", "3", "4"));
  EXPECT_FALSE(jumps("jump_ne", "3", "3"));
  EXPECT_TRUE(jumps("jump_lt", "3", kMinusOne));
  EXPECT_FALSE(jumps("jump_lt", "3", "3"));
  EXPECT_TRUE(jumps("jump_le", "3", "3"));
  EXPECT_FALSE(jumps("jump_le", "4", "3"));
  EXPECT_TRUE(jumps("jump_gt", kMinusOne, "3"));
  EXPECT_FALSE(jumps("jump_gt", "3", "3"));
  EXPECT_TRUE(jumps("jump_ge", "3", "3"));
  EXPECT_FALSE(jumps("jump_ge", "2", "3"));
  EXPECT_TRUE(jumps("jump_signed_lt", kMinusOne, "3"));
  EXPECT_FALSE(jumps("jump_signed_lt", "3", kMinusOne));
  EXPECT_TRUE(jumps("jump_signed_ge", "3", kMinusOne));
  EXPECT_FALSE(jumps("jump_signed_ge", kMinusOne, "3"));
  EXPECT_TRUE(jumps("jump_any_bit", "6", "2"));
  EXPECT_FALSE(jumps("jump_any_bit", "6", "8"));
}

TEST_F(MachineValueTest, ComparesWithImmediates) {
  EXPECT_EQ(value_of("jump_eq r1, 0, yes\n jump end\nyes:\n move r0, 1\nend:\n"), 1u);
}

TEST_F(MachineValueTest, EndsEndlessLoopsAsBudget) {
  const RunResult result = run_text(
      ".back_jumps 10\n emit_words 1, r0, 1\nagain:\n add r0, 1\n jump_gt r0, 100, end\n"
      "jump_back again\nend:\n emit_words 2, r0, 1\n send");
  EXPECT_EQ(result.outcome, Outcome::budget);
  EXPECT_EQ(view.header().flags, kRecordBudget);
  EXPECT_EQ(view.fields().size(), 1u) << "what was captured before is kept";
}

TEST_F(MachineValueTest, LoopsAsOftenAsTheBudgetAllows) {
  const RunResult result = run_text(
      ".back_jumps 10\nagain:\n add r0, 1\n jump_gt r0, 10, end\n jump_back again\n"
      "end:\n emit_words 1, r0, 1\n send");
  EXPECT_EQ(result.outcome, Outcome::sent);
  EXPECT_EQ(field(1).word(0), 11u);
}

TEST_F(MachineValueTest, CarriesValuesFromEntryToReturn) {
  EXPECT_TRUE(run_text("move r1, 11\n save 0, r1\n move r1, 22\n save 7, r1\n arm_return\n stop")
                  .return_armed);
  EXPECT_EQ(saved[0], 11u);
  EXPECT_EQ(saved[7], 22u);
  const RunResult result =
      run_text("load_saved r0, 7\n emit_words 1, r0, 1\n send", ProgramRole::exit);
  EXPECT_EQ(result.outcome, Outcome::sent);
  EXPECT_FALSE(result.return_armed);
  EXPECT_EQ(field(1).word(0), 22u);
}

}  // namespace
}  // namespace glasshook::capture
