#include "base/text.h"

#include <gtest/gtest.h>

#include <random>

#include "base/plain_text.h"

namespace glasshook {
namespace {

TEST(ValidUtf8, KeepsWhatIsWellFormed) {
  for (const std::string_view good :
       {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x90\x9f", "\xf4\x8f\xbf\xbf",
        "\xed\x9f\xbf", "\xee\x80\x80", "tab\tline\n\x01"}) {
    EXPECT_TRUE(is_valid_utf8(good)) << good;
    EXPECT_EQ(to_valid_utf8(good), good);
  }
}

TEST(ValidUtf8, ReplacesEachStrayByte) {
  const std::string_view bad[] = {
      "\x80",              // continuation alone
      "\xc0\xaf",          // overlong '/'
      "\xe0\x80\xaf",      // overlong, three bytes
      "\xf0\x80\x80\xaf",  // overlong, four bytes
      "\xed\xa0\x80",      // surrogate
      "\xf4\x90\x80\x80",  // above U+10FFFF
      "\xf8\x88\x80\x80\x80",
      "\xff",
      "\xe2\x82",  // cut off
  };
  for (const std::string_view bytes : bad) {
    EXPECT_FALSE(is_valid_utf8(bytes));
    std::string expected;
    for (std::size_t i = 0; i < bytes.size(); ++i) expected += "\xef\xbf\xbd";
    EXPECT_EQ(to_valid_utf8(bytes), expected);
  }
  EXPECT_EQ(to_valid_utf8("a\xff\xe2\x82\xac\xe2"), "a\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd");
}

TEST(ValidUtf8, IsValidForRandomBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_TRUE(is_valid_utf8(to_valid_utf8(bytes)));
    const std::string shown = to_printable(bytes);
    EXPECT_TRUE(is_valid_utf8(shown));
    for (const char c : shown) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }
}

TEST(Printable, EscapesWhatDrivesATerminal) {
  EXPECT_EQ(to_printable("a\nb\rc\td"), "a\\nb\\rc\\td");
  EXPECT_EQ(to_printable("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(to_printable("\x7f"), "\\x7f");
  EXPECT_EQ(to_printable("\xc2\x9b"), "\\x9b");  // C1: CSI
  EXPECT_EQ(to_printable("\xe2\x80\xae"
                         "exe"),
            "\\u202eexe");                             // right-to-left override
  EXPECT_EQ(to_printable("\xe2\x80\xa8"), "\\u2028");  // line separator
  EXPECT_EQ(to_printable("\xe2\x81\xa6"), "\\u2066");
  EXPECT_EQ(to_printable("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(to_printable("\xff"), "\\xff");
  EXPECT_EQ(to_printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Glob, Matches) {
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("/etc/*", "/etc/passwd"));
  EXPECT_TRUE(glob_match("*.so.?", "libc.so.6"));
  EXPECT_TRUE(glob_match("a*b*c", "a--b--b--c"));
  EXPECT_TRUE(glob_match("**a**", "a"));
  EXPECT_TRUE(glob_match("?", "*"));
}

TEST(Glob, DoesNotMatch) {
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_FALSE(glob_match("?", ""));
  EXPECT_FALSE(glob_match("/etc/*", "/etc"));
  EXPECT_FALSE(glob_match("a*b", "a-b-"));
  EXPECT_FALSE(glob_match("abc", "abcd"));
  EXPECT_FALSE(glob_match("[a]", "a"));  // no classes
}

TEST(Glob, EndsOnHostilePatterns) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(4000, 'a')));
}

TEST(EditDistance, CountsChangesAndSwaps) {
  EXPECT_EQ(edit_distance("", "", 9), 0u);
  EXPECT_EQ(edit_distance("open", "open", 9), 0u);
  EXPECT_EQ(edit_distance("open", "opne", 9), 1u);  // swap
  EXPECT_EQ(edit_distance("open", "opn", 9), 1u);
  EXPECT_EQ(edit_distance("open", "opens", 9), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 9), 3u);
  EXPECT_EQ(edit_distance("", "abc", 9), 3u);
}

TEST(PlainText, FindsEveryByteThatIsNotAtEveryPlace) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
    EXPECT_EQ(is_plain(static_cast<unsigned char>(byte)), plain);
    for (std::size_t size = 1; size <= 25; ++size)
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, at % 2 == 0 ? ' ' : '~');
        text[at] = static_cast<char>(byte);
        EXPECT_EQ(plain_length(text), plain ? size : at) << byte << " at " << at << " of " << size;
        EXPECT_EQ(is_plain_text(text), plain) << byte << " at " << at << " of " << size;
      }
  }
  EXPECT_EQ(plain_length(""), 0u);
  EXPECT_TRUE(is_plain_text(""));
}

TEST(PlainText, AllOfItStaysAsItIs) {
  std::string text;
  for (int byte = 0; byte < 128; ++byte)
    if (is_plain(static_cast<unsigned char>(byte))) text += static_cast<char>(byte);
  EXPECT_EQ(to_printable(text), text);
  EXPECT_EQ(to_valid_utf8(text), text);
  EXPECT_TRUE(is_valid_utf8(text));
}

TEST(EditDistance, StopsCountingAtTheLimit) {
  EXPECT_EQ(edit_distance("abc", "xyz", 2), 3u);
  EXPECT_EQ(edit_distance("a", "abcdefgh", 2), 3u);
}

}  // namespace
}  // namespace glasshook
