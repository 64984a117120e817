#include "cli/missing_module.h"

#include <gtest/gtest.h>

namespace glasshook::cli {
namespace {

constexpr std::string_view kComplaint =
    "00c0:err:module:import_dll Library extra.dll (which is needed by "
    "L\"C:\\\\users\\\\root\\\\a.exe\") "
    "not found\n"
    "00c0:err:module:loader_init Importing dlls for L\"C:\\\\users\\\\root\\\\a.exe\" failed, "
    "status "
    "c0000135\n";

TEST(MissingModule, IsFoundWhateverThePiecesItArrivesIn) {
  for (std::size_t piece = 1; piece < 40; ++piece) {
    MissingModule missing;
    missing.feed("some output\n");
    for (std::size_t at = 0; at < kComplaint.size(); at += piece)
      missing.feed(kComplaint.substr(at, piece));
    EXPECT_EQ(missing.name(), "extra.dll");
  }
}

TEST(MissingModule, TheFirstOneCounts) {
  MissingModule missing;
  missing.feed(kComplaint);
  missing.feed(
      "00c0:err:module:import_dll Library other.dll (which is needed by L\"x\") not found\n");
  EXPECT_EQ(missing.name(), "extra.dll");
}

TEST(MissingModule, OtherTextIsNone) {
  MissingModule missing;
  missing.feed("Library extra.dll (which is needed by me) not found\n");
  missing.feed("0:err:module:import_dll Library without an end\n");
  missing.feed(std::string(100'000, 'x') + std::string(kComplaint));
  EXPECT_EQ(missing.name(), "");
}

}  // namespace
}  // namespace glasshook::cli
