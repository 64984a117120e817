// Signatures of Windows functions: their calling convention, last error, and pointers inside
// structures, from capture to text.
#include <gmock/gmock.h>

#include "api/call.h"
#include "api/catalogue.h"
#include "hook/fake_kernel.h"
#include "hook/signature_compiler.h"

namespace glasshook::hook {
namespace {

using capture::Outcome;
using test::FakeKernel;
using testing::HasSubstr;

constexpr std::uint64_t kUser = FakeKernel::kUser;

constexpr const char* kApis = R"(
enum win32_error_names { ERROR_SUCCESS = 0 ERROR_ACCESS_DENIED = 5 }
enum ntstatus_names { STATUS_SUCCESS = 0 STATUS_BAD = 0xc0000001 }
struct TEXT 16 { Length: u16 @ 0 Buffer: utf16[Length bytes] @ 8 }
struct OBJECT 48 { Root: handle @ 8 Name: TEXT* @ 16 }
struct STATUS 16 { Status: ntstatus @ 0 Information: u64 @ 8 }
struct INNER 16 { a: int @ 0 text: string @ 8 }
struct OUTER 32 { in: INNER @ 8 next: OUTER* @ 24 }
struct PAIR 16 { first: string @ 0 second: string @ 8 }
module m
x: eleven(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64, j: u64, k: string) -> bool32 ! null, last_error
x: open(name: utf16) -> handle ! last_error
x: create(out handle: handle*, object: OBJECT*, out status: STATUS*) -> ntstatus ! ntstatus
x: read(file: handle, out status: STATUS*, out data: bytes[status.Information], n: uint, p5: u64) -> ntstatus ! ntstatus
x: fetch(out data: bytes[*size], inout size: uint*) -> bool32 ! null, last_error
x: write(text: utf16[n], n: uint) -> bool32
x: chain(o: OUTER*) -> int
x: array(count: uint, p: PAIR*[count]) -> int
)";

class WindowsSignature : public testing::Test {
 protected:
  WindowsSignature() {
    const std::vector<api::SourceFile> files = {{.name = "m.api", .text = kApis}};
    auto parsed = api::ApiCatalogue::parse(files);
    EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message);
    if (parsed) catalogue = std::move(*parsed);
    kernel.cpu.user_mode = true;
    kernel.cpu.gs_base = kUser + 3 * kPageSize;
  }

  Outcome enter(std::string_view name, const std::vector<std::uint64_t>& arguments) {
    signature = catalogue.find("m", name);
    EXPECT_NE(signature, nullptr) << name;
    kernel.windows_arguments(arguments);
    auto compiled = compile_signature(*signature, catalogue.vocabulary(), Abi::win64_user,
                                      kernel.target(), options, {1});
    EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
    if (!compiled) return Outcome::stopped;
    programs = std::move(*compiled);
    const Outcome outcome = kernel.run(programs.entry);
    entry.assign(kernel.record.bytes().begin(), kernel.record.bytes().end());
    return outcome;
  }

  /// Returns with all registers but rax and rsp lost, and decodes the call.
  std::string leave(std::uint64_t result) {
    const std::uint64_t stack = kernel.cpu.gpr[4];
    kernel.cpu.gpr.fill(0xdead);
    kernel.cpu.gpr[0] = result;
    kernel.cpu.gpr[4] = stack;
    EXPECT_EQ(kernel.run(*programs.on_return), Outcome::sent);
    capture::RecordView before;
    EXPECT_TRUE(capture::RecordView::parse(entry, before));
    call = api::decode_call(catalogue.vocabulary(), *signature, &before, &kernel.record);
    return to_text(call);
  }

  std::uint64_t put(std::uint64_t offset, std::initializer_list<std::uint64_t> words) {
    const std::vector<std::uint64_t> all(words);
    return kernel.user_text(offset, {reinterpret_cast<const char*>(all.data()), 8 * all.size()});
  }
  std::uint64_t put_utf16(std::uint64_t offset, std::string_view ascii) {
    std::string wide;
    for (const char c : ascii) wide += {c, '\0'};
    return kernel.user_text(offset, wide + std::string(2, '\0'));
  }

  FakeKernel kernel;
  api::ApiCatalogue catalogue;
  SignatureOptions options;
  const api::Signature* signature = nullptr;
  hypervisor::HookPrograms programs;
  std::vector<std::byte> entry;
  api::ApiCall call;
};

TEST_F(WindowsSignature, ArgumentsAreInFourRegistersAndAboveTheHomeSpace) {
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < 10; ++i) values.push_back(100 + i);
  values.push_back(kernel.user_text(0, "last"));
  ASSERT_EQ(enter("eleven", values), Outcome::sent);
  EXPECT_EQ(leave(1), "eleven(100, 101, 102, 103, 104, 105, 106, 107, 108, 109, \"last\") = true");
}

TEST_F(WindowsSignature, LastErrorIsReadFromTheThreadsBlockAfterAFailure) {
  kernel.user_text(3 * kPageSize + 0x68, {"\x05\0\0\0\xff", 5});
  const std::uint64_t name = put_utf16(0, "a");
  ASSERT_EQ(enter("open", {name}), Outcome::sent);
  EXPECT_EQ(leave(~0ull), "open(\"a\") = INVALID_HANDLE_VALUE ERROR_ACCESS_DENIED");
  EXPECT_EQ(leave(0x30), "open(\"a\") = 0x30");
  EXPECT_EQ(kernel.word(api::kResultField, 1), api::kUnknownErrno) << "it did not fail";
  kernel.map_user_page(3, false);
  EXPECT_EQ(leave(~0ull), "open(\"a\") = INVALID_HANDLE_VALUE");
  EXPECT_THAT(call.incomplete, testing::Contains("the last error was not read"));
  std::vector<std::uint64_t> zeros(11);
  kernel.map_user_page(3, true);
  ASSERT_EQ(enter("eleven", zeros), Outcome::sent);
  EXPECT_THAT(leave(0xffff'ffff'0000'0000), HasSubstr("= false ERROR_ACCESS_DENIED"))
      << "the upper half of a BOOL is garbage";
}

TEST_F(WindowsSignature, PointersInStructuresAreFollowed) {
  const std::uint64_t text = put_utf16(0x300, "\\??\\C:\\x-and-more");
  const std::uint64_t name = put(0x200, {14, text});  // Length 14, without the rest
  const std::uint64_t object = put(0x100, {48, 8, name, 0, 0, 0});
  ASSERT_EQ(enter("create", {kUser + 0x40, object, kUser + 0x50}), Outcome::sent);
  put(0x40, {0x1c, 0, 0, 1});
  EXPECT_EQ(leave(0),
            "create([0x1c], {Root=0x8, Name=\"\\\\??\\\\C:\\\\\"}, {Status=STATUS_SUCCESS, "
            "Information=1}) = STATUS_SUCCESS");
  EXPECT_EQ(leave(0xc0000001).substr(0, 7), "create(");
  EXPECT_TRUE(call.failed);
}

TEST_F(WindowsSignature, HostilePointersInStructures) {
  const std::uint64_t unreadable = put(0x100, {48, 8, 0x123, 0, 0, 0});
  ASSERT_EQ(enter("create", {0, unreadable, 0}), Outcome::sent);
  EXPECT_THAT(leave(0), HasSubstr("Name=0x123"));
  const std::uint64_t null = put(0x100, {48, 8, 0, 0, 0, 0});
  ASSERT_EQ(enter("create", {0, null, 0}), Outcome::sent);
  EXPECT_THAT(leave(0), HasSubstr("Name=NULL"));
  const std::uint64_t itself = put(0x100, {48, 8, kUser + 0x100, 0, 0, 0});
  ASSERT_EQ(enter("create", {0, itself, 0}), Outcome::sent);
  leave(0);
  ASSERT_EQ(enter("create", {0, 0x10, 0}), Outcome::sent);
  EXPECT_EQ(leave(0), "create(NULL, 0x10, NULL) = STATUS_SUCCESS");

  options.max_text = 64;
  const std::uint64_t text = put_utf16(0x400, std::string(100, 'w'));
  const std::uint64_t huge = put(0x200, {0xffff, text});
  const std::uint64_t object = put(0x100, {48, 8, huge, 0, 0, 0});
  ASSERT_EQ(enter("create", {0, object, 0}), Outcome::sent);
  EXPECT_THAT(leave(0), HasSubstr("Name=\"" + std::string(32, 'w') + "\"..."));
}

TEST_F(WindowsSignature, WhatFaultedInAStructureIsReadAgainAtTheReturn) {
  const std::uint64_t text = put_utf16(kPageSize, "late");
  const std::uint64_t name = put(0x200, {8, text});
  const std::uint64_t object = put(0x100, {48, 8, name, 0, 0, 0});
  kernel.map_user_page(1, false);
  ASSERT_EQ(enter("create", {0, object, 0}), Outcome::sent);
  kernel.map_user_page(1, true);
  EXPECT_THAT(leave(0), HasSubstr("Name=\"late\""));
}

TEST_F(WindowsSignature, LengthsBehindPointers) {
  ASSERT_EQ(enter("read", {4, kUser + 0x40, kUser + 0x80, 100, 0}), Outcome::sent);
  put(0x40, {0, 3});
  kernel.user_text(0x80, "abcdef");
  EXPECT_EQ(leave(0),
            "read(0x4, {Status=STATUS_SUCCESS, Information=3}, \"abc\", 100, 0) = "
            "STATUS_SUCCESS");
  put(0x100, {2});
  ASSERT_EQ(enter("fetch", {kUser + 0x80, kUser + 0x100}), Outcome::sent);
  EXPECT_EQ(leave(1), "fetch(\"ab\", [2]) = true");
  ASSERT_EQ(enter("fetch", {kUser + 0x80, 0}), Outcome::sent);
  EXPECT_EQ(leave(1), fmt::format("fetch({:#x}, NULL) = true", kUser + 0x80)) << "how long?";
  ASSERT_EQ(enter("fetch", {kUser + 0x80, 0x10}), Outcome::sent);
  leave(1);
  put(0x100, {~0ull});
  ASSERT_EQ(enter("fetch", {kUser + 0x80, kUser + 0x100}), Outcome::sent);
  EXPECT_THAT(leave(1), HasSubstr("...")) << "4 GiB are not read";
}

TEST_F(WindowsSignature, CountedTextNeedsNoTerminator) {
  ASSERT_EQ(enter("write", {put_utf16(0, "hello"), 3}), Outcome::sent);
  EXPECT_EQ(leave(1), "write(\"hel\", 3) = true");
}

TEST_F(WindowsSignature, EmbeddedStructuresAndChainsEnd) {
  const std::uint64_t first = kUser + 0x100, second = kUser + 0x140;
  const std::uint64_t text = kernel.user_text(0x10, "t");
  put(0x100, {0, 7, text, second});
  put(0x140, {0, 9, 0, first});  // a ring
  ASSERT_EQ(enter("chain", {first}), Outcome::sent);
  EXPECT_THAT(leave(0),
              HasSubstr("{in={a=7, text=\"t\"}, next={in={a=9, text=NULL}, next={in={a=7"));
  EXPECT_LE(call.arguments[0].nested.size(), api::kMaxNested);
}

TEST_F(WindowsSignature, OnlyTheFirstElementOfAnArrayIsFollowed) {
  const std::uint64_t a = kernel.user_text(0x10, "a");
  const std::uint64_t array = put(0x100, {a, 0, 0x1234, 0});
  ASSERT_EQ(enter("array", {2, array}), Outcome::sent);
  EXPECT_EQ(leave(0), "array(2, [{first=\"a\", second=NULL}, {first=0x1234, second=NULL}]) = 0");
}

}  // namespace
}  // namespace glasshook::hook
