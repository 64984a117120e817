#include "api/parser.h"

#include <gmock/gmock.h>

#include "support.h"

namespace glasshook::api {
namespace {

using ::testing::HasSubstr;

Error error_of(std::string_view source) {
  const Result<ParsedFile> parsed = parse_api_file(source, "x.api");
  if (parsed) return {ErrorCode::io, "no error", ""};
  return parsed.error();
}

Signature function(std::string_view line) {
  const Result<ParsedFile> parsed = parse_api_file("module m\n" + std::string(line), "x.api");
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed && !parsed->functions.empty() ? parsed->functions[0] : Signature{};
}

TEST(Parser, ReadsAFunction) {
  const Signature open =
      function("file: open(path: path, flags: flags<f>, mode: mode if flags & A|B) -> fd ! errno");
  EXPECT_EQ(open.module, "m");
  EXPECT_EQ(open.category, "file");
  EXPECT_EQ(open.name, "open");
  ASSERT_EQ(open.parameters.size(), 3u);
  EXPECT_EQ(open.parameters[0].type.kind, TypeKind::path);
  EXPECT_EQ(open.parameters[1].type.kind, TypeKind::flags);
  EXPECT_EQ(open.parameters[1].type.name, "f");
  EXPECT_EQ(open.parameters[2].only_if.parameter, "flags");
  EXPECT_THAT(open.parameters[2].only_if.names, ::testing::ElementsAre("A", "B"));
  EXPECT_EQ(open.result.kind, TypeKind::descriptor);
  EXPECT_EQ(open.convention, ResultConvention::errno_if_minus_one);
}

TEST(Parser, ReadsDirectionsLengthsAndVarArgs) {
  const Signature f = function(
      "x: f(out a: bytes[ret], inout b: stat*[n], c: bytes[n * size], n: int, size: size, ...)"
      " -> pointer ! null, errno");
  ASSERT_EQ(f.parameters.size(), 5u);
  EXPECT_EQ(f.parameters[0].direction, Direction::out);
  EXPECT_EQ(f.parameters[0].type.length_from, "ret");
  EXPECT_EQ(f.parameters[1].direction, Direction::inout);
  EXPECT_EQ(f.parameters[1].type.kind, TypeKind::structure);
  EXPECT_EQ(f.parameters[1].type.name, "stat");
  EXPECT_EQ(f.parameters[2].type.length_times, "size");
  EXPECT_TRUE(f.variadic);
  EXPECT_EQ(f.convention, ResultConvention::errno_if_null);
}

TEST(Parser, AParameterMayBeCalledOut) {
  const Signature f = function("x: f(out: int, out in: int*) -> void");
  ASSERT_EQ(f.parameters.size(), 2u);
  EXPECT_EQ(f.parameters[0].name, "out");
  EXPECT_EQ(f.parameters[0].direction, Direction::in);
  EXPECT_EQ(f.parameters[1].name, "in");
}

TEST(Parser, NeverReturns) { EXPECT_FALSE(function("x: exit(status: int) -> never").returns); }

TEST(Parser, AliasesShareASignature) {
  const Result<ParsedFile> parsed =
      parse_api_file("module m = m1 m2-a.b\nfile: open | open64 (path: path) -> fd", "x");
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->functions.size(), 2u);
  EXPECT_EQ(parsed->functions[1].name, "open64");
  EXPECT_EQ(parsed->functions[1].parameters, parsed->functions[0].parameters);
  EXPECT_THAT(parsed->modules[0].objects, ::testing::ElementsAre("m1", "m2-a.b"));
}

TEST(Parser, ParametersMayRunOverLines) {
  EXPECT_EQ(function("x: f(a: int,   # first\n\n     b: int\n  ) -> int").parameters.size(), 2u);
}

TEST(Parser, ReadsSetsAndStructures) {
  const Result<ParsedFile> parsed = parse_api_file(
      "flags f { A = 0 mask 3 B = 0x10\n C = 0o20 }\nenum e { X = -1 Y = 2 }\n"
      "struct s 24 { a: int @ 0 name: bytes[16] @ 8 }\n",
      "x");
  ASSERT_TRUE(parsed) << parsed.error().message;
  const ValueSet* flags = parsed->vocabulary.find_set("f");
  ASSERT_NE(flags, nullptr);
  EXPECT_EQ(flags->values[0], (NamedValue{"A", 0, 3}));
  EXPECT_EQ(flags->values[1], (NamedValue{"B", 0x10, 0x10}));
  EXPECT_EQ(flags->values[2].value, 16u);
  EXPECT_EQ(parsed->vocabulary.find_set("e")->values[0].value, ~std::uint64_t{0});
  const StructureLayout* s = parsed->vocabulary.find_structure("s");
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(s->size, 24u);
  EXPECT_EQ(s->fields[1].bytes, 16u);
  EXPECT_EQ(s->fields[1].type.kind, TypeKind::string);
}

TEST(Parser, ReadsStructuresWithPointers) {
  using Place = StructureField::Place;
  const Result<ParsedFile> parsed = parse_api_file(
      "struct text 16 { length: u16 @ 0 buffer: utf16[length bytes] @ 8 }\n"
      "struct s 80 { name: text* @ 0 own: text @ 8 wide: utf16[4] @ 24 narrow: string[4] @ 32\n"
      "  number: int* @ 40 plain: string @ 48 n: uint @ 56 many: text*[n] @ 64 left: pointer @ 72 "
      "}",
      "x");
  ASSERT_TRUE(parsed) << parsed.error().message;
  const Vocabulary& v = parsed->vocabulary;
  EXPECT_EQ(v.find_field("text", "length")->place, Place::hidden);
  EXPECT_EQ(v.find_field("text", "buffer")->place, Place::pointer);
  EXPECT_TRUE(v.find_field("text", "buffer")->type.length_in_bytes);
  EXPECT_EQ(v.find_field("s", "name")->place, Place::pointer);
  EXPECT_EQ(v.find_field("s", "own")->place, Place::embedded);
  EXPECT_EQ(v.find_field("s", "wide")->place, Place::array);
  EXPECT_EQ(v.find_field("s", "wide")->bytes, 8u);
  EXPECT_EQ(v.find_field("s", "narrow")->bytes, 4u);
  EXPECT_EQ(v.find_field("s", "number")->place, Place::pointer);
  EXPECT_EQ(v.find_field("s", "plain")->place, Place::pointer);
  EXPECT_EQ(v.find_field("s", "n")->place, Place::hidden);
  EXPECT_EQ(v.find_field("s", "left")->place, Place::value);
  EXPECT_EQ(v.find_field("s", "absent"), nullptr);
  EXPECT_EQ(v.find_field("absent", "s"), nullptr);
}

TEST(Parser, ReadsLengthsBehindPointers) {
  const Signature f = function(
      "x: f(out a: bytes[*n], inout n: uint*, out b: utf16[s.count bytes], s: thing*, "
      "c: reg_data[k, *n], k: uint) -> int ! last_error");
  EXPECT_EQ(f.parameters[0].type.length_from, "n");
  EXPECT_EQ(f.parameters[0].type.length_field, "*");
  EXPECT_EQ(f.parameters[2].type.length_from, "s");
  EXPECT_EQ(f.parameters[2].type.length_field, "count");
  EXPECT_EQ(f.parameters[4].type.name, "*n");
  EXPECT_EQ(f.convention, ResultConvention::last_error_if_minus_one);
}

struct BadSource {
  std::string_view source;
  std::string_view message;  ///< with its place
  std::string_view remedy;
};

class ParserErrors : public ::testing::TestWithParam<BadSource> {};

TEST_P(ParserErrors, SayWhereAndWhatToDo) {
  const Error error = error_of(GetParam().source);
  EXPECT_EQ(error.code, ErrorCode::invalid_argument);
  EXPECT_THAT(error.message, HasSubstr(GetParam().message));
  EXPECT_THAT(error.remedy, HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    All, ParserErrors,
    ::testing::Values(
        BadSource{"module m\nfile: f(a: fdd) -> int", "x.api:2:12: unknown type 'fdd'",
                  "did you mean fd"},
        BadSource{"file: f() -> int", "x.api:1:7: a function before any module", "module NAME"},
        BadSource{"module m\nfile f() -> int", "x.api:2:1: 'file' begins no statement", "CATEGORY"},
        BadSource{"module m\nx: f(a: int) int", "2:14: expected '->' before 'int'", ""},
        BadSource{"module m\nx: f(a: int) -> int ! errn", "2:23: 'errn' is no way to fail",
                  "errno"},
        BadSource{"module m\nx: f(a: int) -> int y", "2:21: expected the end of the line", ""},
        BadSource{"module m\nx: f(a: int, a: int) -> int", "two parameters are called 'a'", ""},
        BadSource{"module m\nx: f(out a: int) -> int", "cannot be out", "int*"},
        BadSource{"module m\nx: f(a: bytes) -> int", "bytes need a length", "bytes[n]"},
        BadSource{"module m\nx: f(a: bytes[m], n: int) -> int", "length from 'm'", ""},
        BadSource{"module m\nx: f(a: bytes[n], n: pointer) -> int", "no integer parameter", ""},
        BadSource{"module m\nx: f(a: bytes[ret]) -> int", "only an out parameter", ""},
        BadSource{"module m\nx: f(a: bytes[99999999]) -> int", "a length is 1 to 65536", ""},
        BadSource{"module m\nx: f(a: string*) -> int", "string* cannot be shown", "pointer"},
        BadSource{"module m\nx: f(a: int if b & C) -> int", "no flags parameter 'b'", ""},
        BadSource{"module m\nx: f(..., a: int) -> int", "'...' comes last", ""},
        BadSource{"module m\nx: f(a: int,) -> int", "expected a parameter after ','", ""},
        BadSource{"module m\nx: f(a: int", "expected ',' or ')' before 'end of file'", ""},
        BadSource{"module m\nx: f(a: void) -> int", "a parameter cannot be void", ""},
        BadSource{"module m\nx: f() -> string", "a result is a plain value", "pointer"},
        BadSource{"module", "a module needs a name", ""},
        BadSource{"module m x", "expected: module NAME = OBJECT", ""},
        BadSource{"flags f { A = 010 }", "x.api:1:18: ambiguous number 010", "0o10"},
        BadSource{"flags f { A = 99999999999999999999 }", "not a number of 64 bits", ""},
        BadSource{"flags f { A = 4 mask 3 }", "bits outside its mask", ""},
        BadSource{"flags f { A = 1 A = 2 }", "A is in the set twice", ""},
        BadSource{"flags f { A = 1 }\nenum f { B = 1 }", "'f' is declared twice", ""},
        BadSource{"flags f { A = 1", "expected a name or '}'", ""},
        BadSource{"struct s 8 { a: int @ 6 }", "a lies outside its structure", ""},
        BadSource{"struct s 8 { a: int @ 18446744073709551615 }", "outside its structure", ""},
        BadSource{"struct s 8 { a: strings @ 0 }", "a field has no such type", "pointer"},
        BadSource{"struct s 8 { a: bytes[ret] @ 0 }", "a field has no such type", ""},
        BadSource{"struct s 8 { a: void @ 0 }", "a field cannot be void", ""},
        BadSource{"struct s 8 { a: utf16[n] @ 0 }", "length from 'n', which is no integer field",
                  ""},
        BadSource{"struct s 8 { a: utf16[5] @ 0 }", "lies outside its structure", ""},
        BadSource{"struct s 8 { a: t @ 8 }", "lies outside its structure", ""},
        BadSource{"module m\nx: f(a: bytes[*n], n: int) -> int", "'n', which is no followed", ""},
        BadSource{"module m\nx: f(a: bytes[*3]) -> int", "expected a length before '3'", ""},
        BadSource{"module m\nx: f(a: bytes[n.], n: int) -> int", "expected a field", ""},
        BadSource{"module m\nx: f(a: reg_data[n, t], n: int) -> int", "type from 't'", ""},
        BadSource{"module m\nx: f(a: reg_data[n], n: int) -> int", "expected ','", ""},
        BadSource{"struct int 8 { }", "'int' is a built-in type", ""},
        BadSource{"struct s 0 { }", "1 to 4096 bytes", ""},
        BadSource{"module m\nx: f\x01(a: int) -> int", "unexpected character '\\x01'", ""}));

TEST(Parser, CapsParameters) {
  std::string line = "module m\nx: f(";
  for (int i = 0; i < 17; ++i) line += (i ? ", a" : "a") + std::to_string(i) + ": int";
  EXPECT_THAT(error_of(line + ") -> int").message, HasSubstr("more than 16 parameters"));
}

}  // namespace
}  // namespace glasshook::api
