// From C text to signatures, with libclang, on headers small enough to see what comes of what.
#include "apigen/generator.h"

#include <gmock/gmock.h>

#include "api/catalogue.h"
#include "apigen/header_reader.h"

namespace glasshook::apigen {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHeader = R"(
typedef unsigned long DWORD; typedef DWORD ACCESS; typedef int BOOL; typedef void *HANDLE;
typedef unsigned short WCHAR; typedef long NTSTATUS; typedef unsigned char BYTE;
typedef struct HWND__ *HWND;
typedef struct _TEXT { unsigned short Length; unsigned short Max; WCHAR *Buffer; } TEXT, *PTEXT;
typedef struct _NODE { DWORD Reserved; DWORD Kind; union { DWORD a; HANDLE b; }; PTEXT Name;
                       struct _NODE *Next; WCHAR Short[14]; DWORD bits : 3; } NODE;
typedef struct { DWORD cbData; BYTE *pbData; } BLOB;
typedef struct _BIG { char bytes[5000]; } BIG;
typedef enum _COLOUR { Red, Green = 5, Verdant = 5, Blue = -1 } COLOUR;
#define ACCESS_READ 1
#define ACCESS_WRITE 2
#define ACCESS_ALL (ACCESS_READ | ACCESS_WRITE)
#define ACCESS_TEXT "text"
#define ACCESS_OPEN {
#define STATUS_BAD ((NTSTATUS)0xC0000001L)
#ifndef IN
#define IN
#endif
#define ACCESS_R 1
BOOL Open(const WCHAR *name, ACCESS access, HANDLE *result);
BOOL Read(HANDLE file, void *data, DWORD size, DWORD *bytes_Return);
NTSTATUS Marked(IN BLOB *blob, OUT DWORD *count, IN OUT NODE *node);
void Colours(COLOUR colour, HWND window, BIG *big, void (*callback)(int));
double Floating(double x);
DWORD Put(const BYTE *data, DWORD cbData, ...);
NODE Whole(NODE by_value);
)";

constexpr const char* kRules = R"(
module m thing = m other
category opening: Open
flags access = ACCESS_READ ACCESS_*
enum status_names = STATUS_*
use access: *(:ACCESS)
type BOOL = bool32
type HANDLE = handle
follow TEXT
)";

Declarations read() {
  Declarations declarations;
  const TranslationUnit unit{.options = {"-nostdinc", "-I."},
                             .headers = {"small.h"},
                             .constants = {"ACCESS_*", "STATUS_*"},
                             .texts = {{"./small.h", kHeader}}};
  if (const Result<> done = read_headers(unit, declarations); !done)
    ADD_FAILURE() << done.error().message;
  return declarations;
}

const Generated& made() {
  static const Generated generated = [] {
    std::vector<ImportedFunction> exports;
    for (const char* name :
         {"Colours", "Floating", "Marked", "Open", "Put", "Read", "Undeclared", "Whole"})
      exports.push_back({name, name});
    const Result<Rules> rules = parse_rules(kRules, "r");
    Result<Generated> done = generate(*rules, read(), {{"m", exports}}, "here");
    if (done) return std::move(*done);
    ADD_FAILURE() << done.error().message;
    return Generated{};
  }();
  return generated;
}

std::string line_of(const std::string& function) {
  const std::string& text = made().files.at("m.api");
  const std::size_t at = text.find(": " + function + "(");
  if (at == text.npos) return {};
  const std::size_t begin = text.rfind('\n', at) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

TEST(ApigenGenerator, WritesSignatures) {
  EXPECT_EQ(line_of("Open"),
            "opening: Open(name: utf16, access: flags<access>, out result: handle*) -> bool32 ! "
            "null, last_error");
  EXPECT_EQ(line_of("Read"),
            "thing: Read(file: handle, out data: bytes[*bytes_Return], size: uint, inout "
            "bytes_Return: uint*) -> bool32 ! null, last_error");
  EXPECT_EQ(line_of("Put"), "thing: Put(data: bytes[cbData], cbData: uint, ...) -> uint");
}

TEST(ApigenGenerator, DirectionsComeFromMarks) {
  EXPECT_EQ(line_of("Marked"),
            "thing: Marked(blob: BLOB*, out count: uint*, inout node: NODE*) -> int");
}

TEST(ApigenGenerator, PassesByTheCallingConvention) {
  EXPECT_EQ(line_of("Colours"),
            "thing: Colours(colour: enum<COLOUR>, window: handle, big: pointer, callback: pointer) "
            "-> void");
  EXPECT_EQ(line_of("Floating"), "") << "its argument is in xmm0";
  EXPECT_EQ(line_of("Whole"), "") << "its result comes through a hidden parameter";
  EXPECT_EQ(line_of("Undeclared"), "");
  EXPECT_EQ(made().counts.functions, 5u);
  EXPECT_EQ(made().counts.exports, 8u);
}

TEST(ApigenGenerator, WritesStructures) {
  const std::string& text = made().files.at("generated_structures.api");
  EXPECT_THAT(text,
              HasSubstr("struct BLOB 16 {\n  cbData: uint @ 0\n  pbData: bytes[cbData] @ 8\n}"));
  EXPECT_THAT(text,
              HasSubstr("struct NODE 64 {\n  Kind: uint @ 4\n  a: uint @ 8\n  Name: TEXT* @ 16\n"
                        "  Next: pointer @ 24\n  Short: utf16[14] @ 32\n}"));
  EXPECT_THAT(text, Not(HasSubstr("BIG")));
}

TEST(ApigenGenerator, WritesNames) {
  const std::string& text = made().files.at("generated_names.api");
  EXPECT_THAT(text, HasSubstr("flags access {\n  ACCESS_ALL = 0x3\n  ACCESS_READ = 0x1\n"
                              "  ACCESS_WRITE = 0x2\n}"));
  EXPECT_THAT(text, HasSubstr("enum status_names {\n  STATUS_BAD = 0xc0000001\n}"));
  EXPECT_THAT(text, HasSubstr("enum COLOUR {\n  Red = 0\n  Green = 5\n  Blue = -1\n}"));
}

TEST(ApigenGenerator, WhatItWritesIsTheSignatureLanguage) {
  std::vector<api::SourceFile> files;
  for (const auto& [name, text] : made().files) files.push_back({.name = name, .text = text});
  const auto parsed = api::ApiCatalogue::parse(files);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_NE(parsed->find("other.dll", "Open"), nullptr);
}

TEST(ApigenGenerator, SaysWhatIsMissing) {
  Declarations declarations;
  const TranslationUnit unit{
      .options = {"-nostdinc"}, .headers = {"absent.h"}, .constants = {}, .texts = {}};
  const Result<> read = read_headers(unit, declarations);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("absent.h"));

  const Result<Rules> rules = parse_rules("flags nothing = NOTHING_*\n", "r");
  const Result<Generated> done = generate(*rules, {}, {}, "here");
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("nothing"));
}

}  // namespace
}  // namespace glasshook::apigen
