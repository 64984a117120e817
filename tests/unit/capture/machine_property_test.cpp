// Whatever passes the verifier ends, stays inside its buffer and leaves a well-formed record.
#include "capture/machine_fixture.h"
#include "capture/random_program.h"

namespace glasshook::capture {
namespace {

class MachinePropertyTest : public MachineTest {
 protected:
  MachinePropertyTest() {
    std::mt19937_64 random(3);
    for (const Gpa page : {first_page, second_page, kernel_page})
      for (std::size_t i = 0; i < kPageSize; i += 8)
        guest.store(page + i, i % 512 == 0 ? 0 : random());
    for (std::size_t i = 0; i < cpu.gpr.size(); ++i) cpu.gpr[i] = kText.value + i * 500;
    for (std::uint32_t i = 0; i < kLimiterCount; i += 2) limiters.configure(i, 1, 1);
  }
};

TEST_F(MachinePropertyTest, RandomProgramsEndInsideTheirBuffer) {
  RandomPrograms programs(11);
  int outcomes[4] = {};
  for (int round = 0; round < 20'000; ++round) {
    const ProgramRole role = round % 2 ? ProgramRole::entry : ProgramRole::exit;
    const Program program = programs.next(role);
    const RunResult result = run_program(program);
    ++outcomes[static_cast<int>(result.outcome)];
    ASSERT_LE(result.record_size, kMaxRecordBytes);
    ASSERT_FALSE(HasFailure()) << disassemble(program);
  }
  for (const int count : outcomes) EXPECT_GT(count, 10) << "the programs are too tame";
}

TEST_F(MachinePropertyTest, RandomPageTablesDoNoHarm) {
  RandomPrograms programs(12);
  std::mt19937_64 random(4);
  for (int round = 0; round < 2000; ++round) {
    // One wild word somewhere in the tables.
    guest.store(Gpa{random() % (16 * kPageSize) & ~7ull}, random() | 1);
    run_program(programs.next(ProgramRole::entry));
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace glasshook::capture
