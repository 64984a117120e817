// Fields of the record: words, strings, UTF-16, bytes, lists; cuts and faults.
#include <fmt/format.h>

#include <random>

#include "capture/machine_fixture.h"

namespace glasshook::capture {
namespace {

class MachineFieldTest : public MachineTest {
 protected:
  void write_text(Gpa to, std::string_view text) {
    guest.write(to, text);
    guest.store(to + text.size(), std::uint8_t{0});
  }
  void write_utf16(Gpa to, std::u16string_view text) {
    guest.write(to, std::as_bytes(std::span{text}));
    guest.store(to + text.size() * 2, std::uint16_t{0});
  }
  const FieldView& emitted(std::string_view text) {
    EXPECT_EQ(run_text(std::string(text) + "\n send").outcome, Outcome::sent);
    return field(1);
  }
};

TEST_F(MachineFieldTest, FillsTheHeader) {
  header.kind = RecordKind::exit;
  header.vcpu = 2;
  const RunResult result = run_text("send");
  EXPECT_EQ(result.record_size, sizeof(RecordHeader));
  EXPECT_EQ(view.header().size, sizeof(RecordHeader));
  EXPECT_EQ(view.header().version, kRecordVersion);
  EXPECT_EQ(view.header().kind, RecordKind::exit);
  EXPECT_EQ(view.header().hook, 77u);
  EXPECT_EQ(view.header().vcpu, 2u);
  EXPECT_EQ(view.header().timestamp, 123456u);
  EXPECT_EQ(view.header().call, 9u);
  EXPECT_EQ(view.header().flags, 0u);
}

TEST_F(MachineFieldTest, EmitsWords) {
  const FieldView& words = emitted("move r3, 7\n move r4, 8\n emit_words 1, r3, 2");
  EXPECT_EQ(words.kind, FieldKind::words);
  EXPECT_EQ(words.data.size(), 16u);
  EXPECT_EQ(words.word(0), 7u);
  EXPECT_EQ(words.word(1), 8u);
  EXPECT_EQ(words.word(2), 0u) << "beyond the field";
}

TEST_F(MachineFieldTest, EmitsStrings) {
  write_text(first_page, "hello");
  const FieldView& text = emitted("move r1, 0x400000\n emit_string 1, r1, 100");
  EXPECT_EQ(text.kind, FieldKind::string);
  EXPECT_EQ(text.text(), "hello");
  EXPECT_EQ(text.flags, 0u);
  EXPECT_EQ(view.header().size, sizeof(RecordHeader) + sizeof(FieldHeader) + 8);
}

TEST_F(MachineFieldTest, PadsWithZeros) {
  write_text(first_page, "hi");
  const FieldView& text = emitted("move r1, 0x400000\n emit_string 1, r1, 100");
  for (std::size_t i = 2; i < 8; ++i) EXPECT_EQ(text.data.data()[i], std::byte{0});
}

TEST_F(MachineFieldTest, CutsStringsAtTheirCap) {
  write_text(first_page, "0123456789");
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_string 1, r1, 10").flags, 0u);
  EXPECT_EQ(field(1).text(), "0123456789");
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_string 1, r1, 9").flags, kFieldTruncated);
  EXPECT_EQ(field(1).text(), "012345678");
  EXPECT_EQ(view.header().flags, 0u) << "a cap is no loss of the record";
}

TEST_F(MachineFieldTest, EmitsStringsOfEveryLengthAtEveryPlace) {
  for (const std::size_t length : {0u, 1u, 7u, 8u, 63u, 64u, 65u, 127u, 128u, 200u, 1000u}) {
    for (const std::size_t before : {0u, 1u, 63u, 64u, 100u, 999u}) {
      if (before > length) continue;
      std::string text(length, 'x');
      for (std::size_t i = 0; i < length; ++i) text[i] = static_cast<char>('a' + i % 26);
      guest.write(first_page + (kPageSize - before), std::string_view(text).substr(0, before));
      write_text(second_page, std::string_view(text).substr(before));
      const FieldView& field = emitted(fmt::format("move r1, {:#x}\n emit_string 1, r1, 2000",
                                                   kText.value + kPageSize - before));
      EXPECT_EQ(field.text(), text);
      EXPECT_EQ(field.flags, 0u);
    }
  }
}

TEST_F(MachineFieldTest, StringsEndWhereMemoryEnds) {
  EXPECT_EQ(emitted("emit_string 1, r15, 100").flags, kFieldFaulted);
  EXPECT_EQ(field(1).data.size(), 0u);
  guest.write(second_page + (kPageSize - 3), std::string_view("abc"));
  EXPECT_EQ(emitted("move r1, 0x401ffd\n emit_string 1, r1, 100").flags, kFieldTruncated);
  EXPECT_EQ(field(1).text(), "abc");
}

TEST_F(MachineFieldTest, EmptyStringsAreNoFault) {
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_string 1, r1, 100").flags, 0u);
  EXPECT_EQ(field(1).data.size(), 0u);
}

TEST_F(MachineFieldTest, EmitsUtf16UpToItsEnd) {
  // 0x0100 0x0001: zero bytes inside units do not end the text.
  write_utf16(first_page, u"\u0100\u0001ab");
  const FieldView& text = emitted("move r1, 0x400000\n emit_utf16 1, r1, -, 100");
  EXPECT_EQ(text.kind, FieldKind::utf16);
  EXPECT_EQ(text.text(), std::string_view("\0\1\1\0a\0b\0", 8));
  EXPECT_EQ(text.flags, 0u);
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_utf16 1, r1, -, 8").flags, 0u);
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_utf16 1, r1, -, 7").flags, kFieldTruncated);
  EXPECT_EQ(field(1).data.size(), 6u);
}

TEST_F(MachineFieldTest, EmitsUtf16AtOddAddressesAcrossPages) {
  std::u16string text(100, u'z');
  const std::string bytes(reinterpret_cast<const char*>(text.data()), text.size() * 2);
  guest.write(first_page + (kPageSize - 33), std::string_view(bytes).substr(0, 33));
  guest.write(second_page, std::string_view(bytes).substr(33));
  const FieldView& field = emitted("move r1, 0x400fdf\n emit_utf16 1, r1, -, 1000");
  EXPECT_EQ(field.text(), bytes);
  EXPECT_EQ(field.flags, 0u);
}

TEST_F(MachineFieldTest, EmitsUtf16OfAGivenLength) {
  write_utf16(first_page, u"abcdef");
  EXPECT_EQ(emitted("move r1, 0x400000\n move r2, 6\n emit_utf16 1, r1, r2, 100").text(),
            std::string_view("a\0b\0c\0", 6));
  EXPECT_EQ(field(1).flags, 0u);
  EXPECT_EQ(emitted("move r1, 0x400000\n move r2, 6\n emit_utf16 1, r1, r2, 5").flags,
            kFieldTruncated);
  EXPECT_EQ(field(1).data.size(), 4u);
}

TEST_F(MachineFieldTest, EmitsBytes) {
  guest.write(first_page, std::string_view("a\0b\0c", 5));
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_bytes 1, r1, -, 5").text(),
            std::string_view("a\0b\0c", 5));
  EXPECT_EQ(field(1).kind, FieldKind::bytes);
  EXPECT_EQ(emitted("move r1, 0x400000\n move r2, 3\n emit_bytes 1, r1, r2, 5").text(),
            std::string_view("a\0b", 3));
  EXPECT_EQ(field(1).flags, 0u);
  EXPECT_EQ(emitted("move r1, 0x400000\n move r2, 9\n emit_bytes 1, r1, r2, 5").flags,
            kFieldTruncated);
  EXPECT_EQ(emitted("move r1, 0x400000\n emit_bytes 1, r1, r2, 5").data.size(), 0u);
  EXPECT_EQ(field(1).flags, 0u);
}

TEST_F(MachineFieldTest, HostileLengthsAreCapped) {
  EXPECT_EQ(emitted("move r1, 0x400000\n sub r2, 1\n emit_bytes 1, r1, r2, 64").flags,
            kFieldTruncated);
  EXPECT_EQ(field(1).data.size(), 64u);
  EXPECT_EQ(emitted("sub r2, 1\n emit_bytes 1, r15, r2, 64").flags, kFieldFaulted);
  EXPECT_EQ(emitted("move r1, 0x401ff0\n emit_bytes 1, r1, -, 64").flags, kFieldTruncated);
  EXPECT_EQ(field(1).data.size(), 16u);
  EXPECT_EQ(emitted("sub r1, 1\n emit_bytes 1, r1, -, 64").flags, kFieldFaulted)
      << "the last byte of the address space";
}

TEST_F(MachineFieldTest, EmitsLists) {
  write_text(first_page, "file");
  write_text(first_page + 100, "dir");
  const FieldView& list = emitted(
      "move r1, 0x400000\n move r2, 0x400064\n move r3, 0x102\n begin_list 1\n"
      "append_string r1, 64\n append_string r2, 64\n end_list r3");
  EXPECT_EQ(list.kind, FieldKind::list);
  EXPECT_EQ(list.text(), std::string_view("file\0dir\0", 9));
  EXPECT_EQ(list.detail, 2u);
  EXPECT_EQ(list.flags, 0u);
}

TEST_F(MachineFieldTest, ListsKeepTheirShapeWhenPartsAreMissing) {
  write_text(first_page, "abcdef");
  const FieldView& list = emitted(
      "move r1, 0x400000\n begin_list 1\n append_string r15, 64\n append_string r1, 3\n"
      "append_string r1, 6\n end_list r0");
  EXPECT_EQ(list.text(), std::string_view("\0abc\0abcdef\0", 12));
  EXPECT_EQ(list.flags, kFieldTruncated);
}

TEST_F(MachineFieldTest, ListsStopAtTheLargestField) {
  guest.write(first_page, std::string_view(std::string(4000, 'a')));
  const FieldView& list = emitted(
      "move r1, 0x400000\n begin_list 1\n append_string r1, 4000\n append_string r1, 4000\n"
      "append_string r1, 4000\n append_string r1, 4000\n end_list r0");
  EXPECT_EQ(list.data.size(), kMaxFieldBytes);
  EXPECT_EQ(list.data.back(), std::byte{0});
  EXPECT_EQ(list.flags, kFieldTruncated);
  EXPECT_EQ(view.header().flags, kRecordTruncated);
}

TEST_F(MachineFieldTest, ListsAreTheSameWhereverTheirStringsLie) {
  // The same memory twice, in one piece and in pages; it ends with the first.
  constexpr std::uint64_t kSize = 2 << 20, kWhole = 0x80'0000, kPages = 0xc0'0000;
  guest.map(cpu.space, Gva{kWhole}, Gpa{kSize}, kSize);
  for (std::uint64_t at = 0; at < kSize; at += kPageSize)
    guest.map(cpu.space, Gva{kPages + at}, Gpa{kSize + at});
  std::mt19937_64 random(3);
  for (int round = 0; round < 500; ++round) {
    std::string strings(1 << 14, 'x');
    for (char& c : strings) c = random() % (1 + round % 300) == 0 ? '\0' : 'a';
    guest.write(Gpa{kSize}, std::string_view(strings));
    guest.write(Gpa{2 * kSize - strings.size()}, std::string_view(strings));
    std::string whole = "begin_list 1\n", pages = whole;
    for (int i = 0; i < 64; ++i) {
      const std::uint64_t from = random() % strings.size();
      const std::uint64_t at = random() % 2 == 0 ? from : kSize - 1 - from % 500;
      const std::uint64_t max = random() % 4 == 0 ? 1 + random() % 40 : 255;
      whole += fmt::format("move r1, {}\n append_string r1, {}\n", kWhole + at, max);
      pages += fmt::format("move r1, {}\n append_string r1, {}\n", kPages + at, max);
    }
    const FieldView& in_pages = emitted(pages + "end_list r0");
    const std::string text(in_pages.text());
    const std::uint8_t flags = in_pages.flags, record_flags = view.header().flags;
    const FieldView& in_whole = emitted(whole + "end_list r0");
    ASSERT_EQ(in_whole.text(), text) << whole;
    ASSERT_EQ(in_whole.flags, flags) << whole;
    ASSERT_EQ(view.header().flags, record_flags) << whole;
  }
}

TEST_F(MachineFieldTest, AListOpenAtTheEndOfTheBudgetIsClosed) {
  write_text(first_page, "x");
  const RunResult result = run_text(
      ".back_jumps 3\n move r1, 0x400000\n begin_list 1\nagain:\n append_string r1, 10\n"
      "jump_back again");
  EXPECT_EQ(result.outcome, Outcome::budget);
  EXPECT_EQ(field(1).text(), std::string_view("x\0x\0x\0x\0", 8));
  EXPECT_TRUE(field(1).truncated());
  EXPECT_EQ(view.header().flags, kRecordBudget);
}

TEST_F(MachineFieldTest, AFullRecordLeavesFieldsOutAndSaysSo) {
  guest.map(cpu.space, Gva{0x80'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.write(Gpa{0x20'0000}, std::string_view(std::string(20000, 'a')));
  const RunResult result = run_text(
      "move r1, 0x800000\n emit_string 1, r1, 8192\n emit_string 2, r1, 8192\n"
      "emit_string 3, r1, 8192\n emit_bytes 4, r1, -, 100\n emit_words 5, r1, 1\n"
      "begin_list 6\n append_string r1, 10\n end_list r0\n send");
  EXPECT_EQ(result.outcome, Outcome::sent);
  EXPECT_LE(result.record_size, kMaxRecordBytes);
  EXPECT_EQ(view.header().flags, kRecordTruncated);
  EXPECT_EQ(field(1).data.size(), kMaxFieldBytes);
  EXPECT_EQ(field(2).flags, kFieldTruncated);
  EXPECT_EQ(view.find(5), nullptr);
}

TEST_F(MachineFieldTest, ARecordHasALimitedNumberOfFields) {
  const RunResult result = run_text(
      ".back_jumps 1000\nagain:\n add r0, 1\n emit_words 1, r0, 1\n"
      "jump_ge r0, 100, end\n jump_back again\nend:\n send");
  EXPECT_EQ(result.outcome, Outcome::sent);
  EXPECT_EQ(view.fields().size(), RecordView::kMaxFields);
  EXPECT_EQ(view.header().flags, kRecordTruncated);
}

}  // namespace
}  // namespace glasshook::capture
