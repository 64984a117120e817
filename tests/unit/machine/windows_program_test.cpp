#include "machine/windows_program.h"

#include <gmock/gmock.h>

#include <random>

#include "scratch.h"

namespace glasshook::machine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <class T>
void put(std::string& bytes, std::size_t at, T value) {
  bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
}

/// Headers of a program for `machine`; `clr` is the address of its .NET header.
std::string headers(std::uint16_t machine, bool wide, std::uint16_t characteristics = 0x22,
                    std::uint32_t clr = 0) {
  constexpr std::uint32_t kPe = 0x80;
  std::string bytes(0x400, '\0');
  bytes.replace(0, 2, "MZ");
  put(bytes, 0x3c, kPe);
  bytes.replace(kPe, 2, "PE");
  put(bytes, kPe + 4, machine);
  put(bytes, kPe + 22, characteristics);
  const std::size_t optional = kPe + 24;
  put<std::uint16_t>(bytes, optional, wide ? 0x20b : 0x10b);
  put<std::uint32_t>(bytes, optional + (wide ? 108 : 92), 16);
  put(bytes, optional + (wide ? 112 : 96) + 14 * 8, clr);
  return bytes;
}

class WindowsProgramTest : public ::testing::Test {
 protected:
  /// Why the file is refused; empty: it is not.
  std::string refusal(std::string_view content) const {
    const auto ok = check_windows_program(scratch_.write("a.exe", content));
    if (ok) return {};
    EXPECT_FALSE(ok.error().remedy.empty());
    return ok.error().message;
  }

  Scratch scratch_;
};

TEST_F(WindowsProgramTest, IsKnownByNameOrContent) {
  EXPECT_TRUE(is_windows_program(scratch_.write("empty.exe", "")));
  EXPECT_TRUE(is_windows_program(scratch_.write("LOUD.EXE", "x")));
  EXPECT_TRUE(is_windows_program(scratch_.write("sample.bin", "MZ and more")));
  EXPECT_FALSE(is_windows_program(scratch_.write("script.sh", "#!/bin/sh")));
  EXPECT_FALSE(is_windows_program(scratch_.write("short", "M")));
  EXPECT_FALSE(is_windows_program(scratch_.path() / "missing.exe"));
  fs::create_directory(scratch_.path() / "folder.exe");
  EXPECT_FALSE(is_windows_program(scratch_.path() / "folder.exe"));
}

TEST_F(WindowsProgramTest, AcceptsA64BitProgram) { EXPECT_EQ(refusal(headers(0x8664, true)), ""); }

TEST_F(WindowsProgramTest, SaysWhatElseAFileIs) {
  EXPECT_THAT(refusal(""), HasSubstr("does not begin with MZ"));
  EXPECT_THAT(refusal("#!/bin/sh\n" + std::string(100, 'x')), HasSubstr("does not begin with MZ"));
  EXPECT_THAT(refusal("MZ" + std::string(200, '\0')), HasSubstr("no PE header"));
  EXPECT_THAT(refusal(headers(0x14c, false)), HasSubstr("32 bit"));
  EXPECT_THAT(refusal(headers(0xaa64, true)), HasSubstr("ARM64"));
  EXPECT_THAT(refusal(headers(0x1c4, false)), HasSubstr("0x1c4"));
  EXPECT_THAT(refusal(headers(0x8664, true, 0x2022)), HasSubstr("is a DLL"));
  EXPECT_THAT(refusal(headers(0x8664, true, 0x22, 0x2008)), HasSubstr(".NET"));
  EXPECT_THAT(refusal(headers(0x14c, false, 0x22, 0x2008)), HasSubstr(".NET"));
}

TEST_F(WindowsProgramTest, TruncatedAndRandomHeadersAreRefusedOrAccepted) {
  const std::string good = headers(0x8664, true);
  for (std::size_t size = 0; size < 0x98; ++size)
    EXPECT_NE(refusal(good.substr(0, size)), "") << size;
  std::string far = good;
  put<std::uint32_t>(far, 0x3c, 0xffffffff);
  EXPECT_THAT(refusal(far), HasSubstr("no PE header"));
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 8; ++i)
      bytes[2 + random() % (bytes.size() - 2)] = static_cast<char>(random());
    refusal(bytes);  // whatever it says: no fault
  }
}

TEST_F(WindowsProgramTest, AMissingFileIsAnError) {
  const auto ok = check_windows_program(scratch_.path() / "missing.exe");
  ASSERT_FALSE(ok);
  EXPECT_THAT(ok.error().message, HasSubstr("cannot read"));
}

}  // namespace
}  // namespace glasshook::machine
