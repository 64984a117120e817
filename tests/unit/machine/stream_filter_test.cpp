#include "machine/stream_filter.h"

#include <gtest/gtest.h>

namespace glasshook::machine {
namespace {

/// Feeds `text` in pieces of `size` bytes.
std::string feed_in_pieces(StreamFilter& filter, std::string_view text, std::size_t size) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += size) out += filter.feed(text.substr(at, size));
  return out;
}

TEST(StreamFilter, FindsTheMarkHoweverItIsCut) {
  for (std::size_t size = 1; size < 12; ++size) {
    StreamFilter filter;
    filter.reset("MARK");
    EXPECT_EQ(feed_in_pieces(filter, "one MAR two MMARK three", size), "one MAR two M") << size;
    EXPECT_TRUE(filter.ended());
    EXPECT_EQ(filter.feed("more"), "");
  }
}

TEST(StreamFilter, HoldsBackOnlyWhatMayBeTheMark) {
  StreamFilter filter;
  filter.reset("aab");
  EXPECT_EQ(filter.feed("xaa"), "x");
  EXPECT_EQ(filter.feed("a"), "a");
  EXPECT_EQ(filter.feed("c"), "aac");
  EXPECT_EQ(filter.feed("a"), "");
  EXPECT_EQ(filter.flush(), "a");
  EXPECT_FALSE(filter.ended());
}

TEST(StreamFilter, PassesZeroBytesAndCanBeUsedAgain) {
  StreamFilter filter;
  EXPECT_TRUE(filter.ended());
  filter.reset("MARK");
  EXPECT_EQ(filter.feed(std::string_view("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(filter.feed("MARK"), "");
  filter.reset("NEXT");
  EXPECT_EQ(filter.feed("MARKNEXT"), "MARK");
  EXPECT_TRUE(filter.ended());
}

}  // namespace
}  // namespace glasshook::machine
