// Runs capture programs, given as text, on a guest the test lays out.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "capture/assembler.h"
#include "capture/executable.h"
#include "capture/machine.h"
#include "capture/rate_limiter.h"
#include "capture/record.h"
#include "capture/set_table.h"
#include "capture/verifier.h"
#include "memory/test_guest.h"

namespace glasshook::capture {

class MachineTest : public ::testing::Test {
 protected:
  static constexpr Gva kText{0x40'0000};                ///< two pages, not adjacent in RAM
  static constexpr Gva kKernel{0xffff'8880'0000'0000};  ///< one page, kernel space only
  static constexpr Gva kUnmapped{0x6666'0000};

  MachineTest() {
    cpu.space = guest.new_space();
    environment.ram = &guest.ram();
    environment.kernel_space = guest.new_space();
    environment.sets = &sets;
    environment.limiters = &limiters;
    first_page = guest.map_new(cpu.space, kText);
    guest.new_page();
    second_page = guest.map_new(cpu.space, kText + kPageSize);
    kernel_page = guest.map_new(environment.kernel_space, kKernel);
    for (std::size_t i = 0; i < cpu.gpr.size(); ++i) cpu.gpr[i] = 0x1000 + i;
    header.hook = 77;
    header.timestamp = 123456;
    header.call = 9;
  }

  /// Verifies and runs; `view` shows the record of a run that was sent or ended by its budget.
  RunResult run_text(std::string_view text, ProgramRole role = ProgramRole::entry) {
    const auto program = assemble(text);
    if (!program) return ADD_FAILURE() << program.error().message, RunResult{};
    const auto verdict = verify(*program, role);
    if (!verdict) return ADD_FAILURE() << verdict.error().message, RunResult{};
    return run_program(*program);
  }

  RunResult run_program(const Program& program) {
    buffer.fill(std::byte{0xee});
    const RunResult result = run(Executable(program), cpu, environment, saved, header, work);
    for (std::size_t i = kMaxRecordBytes; i < buffer.size(); ++i)
      EXPECT_EQ(buffer[i], std::byte{0xee}) << "written behind the buffer";
    if (result.outcome == Outcome::sent || result.outcome == Outcome::budget) {
      EXPECT_TRUE(RecordView::parse(std::span{buffer}.first(result.record_size), view));
    }
    return result;
  }

  /// Register r0 at the end of `text`.
  std::uint64_t value_of(std::string_view text) {
    const RunResult result = run_text(std::string(text) + "\n emit_words 1, r0, 1\n send");
    EXPECT_EQ(result.outcome, Outcome::sent);
    return field(1).word(0);
  }

  const FieldView& field(std::uint16_t id) {
    static const FieldView kMissing;
    const FieldView* found = view.find(id);
    if (found == nullptr) ADD_FAILURE() << "no field " << id;
    return found ? *found : kMissing;
  }

  test::TestGuest guest;
  CpuState cpu;
  Environment environment;
  SetTable sets = SetTable::create(64).value();
  RateLimiterTable limiters{1000};
  SavedSlots saved{};
  RecordHeader header;
  RecordView view;
  Gpa first_page, second_page, kernel_page;
  alignas(8) std::array<std::byte, kMaxRecordBytes + 64> buffer;
  Workspace work{std::span{buffer}.first(kMaxRecordBytes)};
};

}  // namespace glasshook::capture
