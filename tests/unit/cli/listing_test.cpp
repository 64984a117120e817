#include "cli/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

namespace glasshook::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Listing sample() {
  Listing listing({{"PID", "pid", true}, {"NAME", "name"}, {"", "hidden"}, {"AT", "at", true}});
  listing.add({std::uint64_t{7}, std::string("init"), true, Hex{0x1000}});
  listing.add({std::uint64_t{1234}, std::string("a\nb\x1b[2J\xff"), false, Cell{}});
  return listing;
}

TEST(Listing, AlignsColumnsAndKeepsGuestsFromForgingLines) {
  EXPECT_EQ(sample().table(false),
            " PID  NAME                 AT\n"
            "   7  init             0x1000\n"
            "1234  a\\nb\\x1b[2J\\xff       -\n");
}

TEST(Listing, ColoursOnlyWhenAsked) {
  EXPECT_THAT(sample().table(true), HasSubstr("\x1b["));
  EXPECT_THAT(sample().table(false), Not(HasSubstr("\x1b")));
}

TEST(Listing, WritesOneValidObjectALine) {
  const std::string lines = sample().json_lines();
  const auto newline = lines.find('\n');
  rapidjson::Document first, second;
  first.Parse(lines.substr(0, newline).c_str());
  second.Parse<rapidjson::kParseValidateEncodingFlag>(lines.substr(newline + 1).c_str());
  ASSERT_FALSE(first.HasParseError());
  ASSERT_FALSE(second.HasParseError()) << lines;
  EXPECT_EQ(first["pid"].GetUint64(), 7u);
  EXPECT_TRUE(first["hidden"].GetBool());
  EXPECT_STREQ(first["at"].GetString(), "0x1000");
  EXPECT_STREQ(second["name"].GetString(), "a\nb\x1b[2J\xef\xbf\xbd");
  EXPECT_FALSE(second.HasMember("at"));
}

}  // namespace
}  // namespace glasshook::cli
