#include "hook/signature_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/call.h"
#include "hook/fake_kernel.h"
#include "hook/path_components.h"

namespace glasshook::hook {
namespace {

using api::Direction;
using api::Parameter;
using api::Signature;
using api::Type;
using api::TypeKind;
using capture::Outcome;
using test::FakeKernel;
using testing::ElementsAre;

Type type(TypeKind kind, std::string name = {}, std::string length_from = {}) {
  Type made;
  made.kind = kind;
  made.name = std::move(name);
  made.length_from = std::move(length_from);
  return made;
}

Type int_type() {
  Type made = type(TypeKind::integer);
  made.size = 4;
  made.is_signed = true;
  return made;
}

Signature signature(std::vector<Parameter> parameters, Type result = int_type()) {
  Signature made;
  made.module = "libc";
  made.name = "function";
  made.parameters = std::move(parameters);
  made.result = std::move(result);
  return made;
}

class SignatureCompiler : public testing::Test {
 protected:
  SignatureCompiler() {
    vocabulary.structures["timespec"] = {.name = "timespec", .size = 16, .fields = {}};
  }

  Outcome enter(const Signature& made, Abi abi = Abi::sysv_user) {
    auto compiled = compile_signature(made, vocabulary, abi, kernel.target(), options, {1});
    EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().message);
    if (!compiled) return Outcome::stopped;
    programs = std::move(*compiled);
    kernel.cpu.user_mode = abi != Abi::linux_kernel;
    return kernel.run(programs.entry);
  }
  /// Returns with all registers but rax and rsp lost.
  Outcome leave(std::uint64_t result) {
    const std::uint64_t stack = kernel.cpu.gpr[4];
    kernel.cpu.gpr.fill(0xdead);
    kernel.cpu.gpr[0] = result;
    kernel.cpu.gpr[4] = stack;
    return kernel.run(*programs.on_return);
  }
  std::string pointed(std::size_t parameter) const {
    return kernel.string(static_cast<std::uint16_t>(api::kPointedField + parameter));
  }
  const capture::FieldView* pointed_field(std::size_t parameter) const {
    return kernel.record.find(static_cast<std::uint16_t>(api::kPointedField + parameter));
  }
  std::vector<std::uint64_t> words() const {
    std::vector<std::uint64_t> values;
    const capture::FieldView* field = kernel.record.find(api::kArgumentsField);
    for (std::size_t i = 0; field && i < field->data.size() / 8; ++i)
      values.push_back(field->word(i));
    return values;
  }

  FakeKernel kernel;
  api::Vocabulary vocabulary;
  SignatureOptions options;
  hypervisor::HookPrograms programs;
};

TEST_F(SignatureCompiler, CapturesWordsAndStrings) {
  kernel.arguments({kernel.user_text(8, "/etc/passwd"), 2, 0644});
  ASSERT_EQ(enter(signature({{"path", type(TypeKind::path)},
                             {"flags", type(TypeKind::flags, "open")},
                             {"mode", type(TypeKind::mode)}})),
            Outcome::sent);
  EXPECT_TRUE(kernel.last.return_armed);
  EXPECT_THAT(words(), ElementsAre(FakeKernel::kUser + 8, 2, 0644));
  EXPECT_EQ(pointed(0), "/etc/passwd");
  EXPECT_EQ(kernel.word(kContextField, kContextPid), (100ull << 32) | 100);
  ASSERT_EQ(leave(3), Outcome::sent);
  EXPECT_EQ(kernel.word(api::kResultField), 3u);
  EXPECT_EQ(kernel.word(api::kResultField, 1), api::kUnknownErrno);
  EXPECT_EQ(pointed_field(0), nullptr) << "it was read at entry";
}

TEST_F(SignatureCompiler, ReadsArgumentsBeyondTheRegisters) {
  std::vector<Parameter> parameters;
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < 16; ++i) {
    parameters.push_back({"p" + std::to_string(i), type(TypeKind::integer)});
    values.push_back(100 + i);
  }
  parameters[15].type = type(TypeKind::string);
  values[15] = kernel.user_text(0, "last");
  kernel.arguments(values);
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(words(), values);
  EXPECT_EQ(pointed(15), "last");
  parameters.push_back({"p16", type(TypeKind::string)});
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(words().size(), api::kMaxParameters);
}

TEST_F(SignatureCompiler, Win64PassesFourInRegisters) {
  kernel.cpu.gpr[1] = 1;
  kernel.cpu.gpr[2] = 2;
  kernel.cpu.gpr[8] = 3;
  kernel.cpu.gpr[9] = kernel.user_text(0, {"h\0i\0\0\0", 6});
  kernel.put(kernel.cpu.gpr[4] + 40, 5);
  const Type word = type(TypeKind::integer);
  ASSERT_EQ(
      enter(signature(
                {{"a", word}, {"b", word}, {"c", word}, {"d", type(TypeKind::utf16)}, {"e", word}}),
            Abi::win64_user),
      Outcome::sent);
  EXPECT_THAT(words(), ElementsAre(1, 2, 3, FakeKernel::kUser, 5));
  EXPECT_EQ(pointed(3), std::string("h\0i\0", 4));
}

TEST_F(SignatureCompiler, WindowsCallsTellTheirWin32IdsAndCaller) {
  const auto ids = [&] { return kernel.record.find(kWin32Field); };
  kernel.cpu.gs_base = FakeKernel::kUser + 0x100;
  kernel.put(FakeKernel::kUser + 0x140, std::uint64_t{0x20});
  kernel.put(FakeKernel::kUser + 0x148, std::uint64_t{0x24});
  kernel.put(kernel.cpu.gpr[4], std::uint64_t{0x140001627});
  ASSERT_EQ(enter(signature({}), Abi::win64_user), Outcome::sent);
  ASSERT_NE(ids(), nullptr);
  EXPECT_EQ(ids()->word(kWin32ProcessId), 0x20u);
  EXPECT_EQ(ids()->word(kWin32ThreadId), 0x24u);
  EXPECT_EQ(ids()->word(kWin32Caller), 0x140001627u);
  kernel.cpu.gs_base = 0x6000'0000;
  ASSERT_EQ(enter(signature({}), Abi::win64_user), Outcome::sent);
  EXPECT_EQ(ids(), nullptr) << "there is no TEB";
  kernel.cpu.gs_base = FakeKernel::kUser + 0x100;
  ASSERT_EQ(enter(signature({})), Outcome::sent);
  EXPECT_EQ(ids(), nullptr) << "not a Windows function";
}

TEST_F(SignatureCompiler, BuffersTakeTheirLengthFromArguments) {
  const std::vector<Parameter> parameters = {{"data", type(TypeKind::buffer, {}, "size")},
                                             {"size", type(TypeKind::integer)}};
  kernel.arguments({kernel.user_text(0, "abcdef"), 4});
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(pointed(0), "abcd");
  EXPECT_FALSE(pointed_field(0)->truncated());
  options.max_bytes = 3;
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(pointed(0), "abc");
  EXPECT_TRUE(pointed_field(0)->truncated());
  kernel.arguments({kernel.user_text(0, "abcdef"), ~0ull});
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(pointed(0), "abc") << "a hostile length";
  EXPECT_TRUE(pointed_field(0)->truncated());
}

TEST_F(SignatureCompiler, HostileCountsDoNotOverflow) {
  const std::vector<Parameter> parameters = {{"times", type(TypeKind::structure, "timespec", "n")},
                                             {"n", type(TypeKind::integer)}};
  kernel.arguments({kernel.user_text(0, std::string(64, 't')), 2});
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(pointed(0).size(), 32u);
  kernel.arguments({kernel.user_text(0, "t"), 1ull << 60});
  ASSERT_EQ(enter(signature(parameters)), Outcome::sent);
  EXPECT_EQ(pointed(0).size(), options.max_bytes);
  EXPECT_TRUE(pointed_field(0)->truncated());
}

TEST_F(SignatureCompiler, FactorMultipliesTheCount) {
  Type buffer = type(TypeKind::buffer, {}, "size");
  buffer.length_times = "n";
  kernel.arguments({kernel.user_text(0, "abcdefgh"), 3, 2});
  ASSERT_EQ(
      enter(signature(
          {{"data", buffer}, {"size", type(TypeKind::integer)}, {"n", type(TypeKind::integer)}})),
      Outcome::sent);
  EXPECT_EQ(pointed(0), "abcdef");
}

TEST_F(SignatureCompiler, OutputIsReadAtTheReturn) {
  const Signature read =
      signature({{"fd", int_type()},
                 {"data", type(TypeKind::buffer, {}, "ret"), Direction::out},
                 {"time", type(TypeKind::structure, "timespec"), Direction::inout}});
  kernel.arguments({3, FakeKernel::kUser + 0x100, kernel.user_text(0, "before..........")});
  ASSERT_EQ(enter(read), Outcome::sent);
  EXPECT_EQ(pointed_field(1), nullptr);
  EXPECT_EQ(pointed(2), "before..........");
  kernel.user_text(0x100, "hello");
  kernel.user_text(0, "after");
  ASSERT_EQ(leave(5), Outcome::sent);
  EXPECT_EQ(pointed(1), "hello");
  EXPECT_EQ(pointed(2).substr(0, 5), "after");
  ASSERT_EQ(leave(0xffff'ffff), Outcome::sent);
  EXPECT_EQ(pointed_field(1), nullptr) << "-1 bytes";
}

TEST_F(SignatureCompiler, NullPointersMakeNoField) {
  kernel.arguments({0, 0});
  ASSERT_EQ(enter(signature({{"path", type(TypeKind::path)},
                             {"data", type(TypeKind::buffer, {}, "8"), Direction::out}})),
            Outcome::sent);
  EXPECT_EQ(pointed_field(0), nullptr);
  ASSERT_EQ(leave(0), Outcome::sent);
  EXPECT_EQ(pointed_field(0), nullptr);
  EXPECT_EQ(pointed_field(1), nullptr);
}

TEST_F(SignatureCompiler, WhatFaultedAtEntryIsReadAgainAtTheReturn) {
  const Signature two = signature({{"a", type(TypeKind::path)},
                                   {"b", type(TypeKind::path)},
                                   {"v", type(TypeKind::string_array)}});
  kernel.user_text(0, "first");
  kernel.user_text(kPageSize, "second");
  kernel.map_user_page(1, false);
  kernel.arguments(
      {FakeKernel::kUser, FakeKernel::kUser + kPageSize, FakeKernel::kUser + kPageSize + 64});
  ASSERT_EQ(enter(two), Outcome::sent);
  EXPECT_EQ(pointed(0), "first");
  EXPECT_TRUE(pointed_field(1)->faulted());
  kernel.map_user_page(1, true);
  ASSERT_EQ(leave(0), Outcome::sent);
  EXPECT_EQ(pointed_field(0), nullptr);
  EXPECT_EQ(pointed(1), "second");
  ASSERT_NE(pointed_field(2), nullptr);
}

TEST_F(SignatureCompiler, StringArraysAreBounded) {
  const Signature exec = signature({{"argv", type(TypeKind::string_array)}});
  const std::uint64_t text = kernel.user_text(0x800, "arg");
  const auto array = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      kernel.user_text(8 * i, {reinterpret_cast<const char*>(&text), 8});
    const std::uint64_t end = 0;
    kernel.user_text(8 * count, {reinterpret_cast<const char*>(&end), 8});
  };
  kernel.arguments({FakeKernel::kUser});
  array(2);
  ASSERT_EQ(enter(exec), Outcome::sent);
  EXPECT_EQ(pointed(0), std::string("arg\0arg\0", 8));
  EXPECT_EQ(pointed_field(0)->detail, 0);
  array(kMaxArrayStrings);
  ASSERT_EQ(enter(exec), Outcome::sent);
  EXPECT_EQ(pointed_field(0)->detail, 0);
  array(kMaxArrayStrings + 1);
  ASSERT_EQ(enter(exec), Outcome::sent);
  EXPECT_EQ(pointed(0).size(), 4u * kMaxArrayStrings);
  EXPECT_EQ(pointed_field(0)->detail, kArrayTruncated);
  kernel.arguments({0x1000});
  ASSERT_EQ(enter(exec), Outcome::sent);
  EXPECT_EQ(pointed_field(0)->detail, kArrayFaulted);
}

TEST_F(SignatureCompiler, ErrnoIsReadThroughTheGot) {
  Signature open = signature({{"path", type(TypeKind::path)}});
  open.convention = api::ResultConvention::errno_if_minus_one;
  options.errno_slot_delta = 0x3000;
  kernel.cpu.rip = FakeKernel::kUser - 0x3000 + 0x40;
  kernel.cpu.fs_base = FakeKernel::kUser + 0x1000;
  const std::int64_t offset = -0x80;
  kernel.user_text(0x40, {reinterpret_cast<const char*>(&offset), 8});
  kernel.user_text(0x1000 - 0x80, {"\x02\0\0\0\xff", 5});
  ASSERT_EQ(enter(open), Outcome::sent);
  kernel.cpu.rip = 0;
  ASSERT_EQ(leave(0xffff'ffff), Outcome::sent);
  EXPECT_EQ(kernel.word(api::kResultField, 1), 2u);
  ASSERT_EQ(leave(3), Outcome::sent);
  EXPECT_EQ(kernel.word(api::kResultField, 1), api::kUnknownErrno) << "it did not fail";
  kernel.map_user_page(0, false);
  ASSERT_EQ(leave(~0ull), Outcome::sent);
  EXPECT_EQ(kernel.word(api::kResultField, 1), api::kUnknownErrno);
}

TEST_F(SignatureCompiler, RateLimitsCallsInScope) {
  options.rate_limiter = 7;
  kernel.limiters->configure(7, 1, 1);
  const Signature made = signature({});
  EXPECT_EQ(enter(made), Outcome::sent);
  EXPECT_EQ(enter(made), Outcome::rate_limited);
  EXPECT_FALSE(kernel.last.return_armed);
  kernel.now += 1000;
  kernel.target().filter.comms = {"nobody"};
  EXPECT_EQ(enter(made), Outcome::stopped);
  kernel.target().filter.comms.clear();
  EXPECT_EQ(enter(made), Outcome::sent) << "calls out of scope take no token";
}

TEST_F(SignatureCompiler, FunctionsThatDoNotReturnHaveNoReturnProgram) {
  Signature exit = signature({{"status", int_type()}});
  exit.returns = false;
  ASSERT_EQ(enter(exit), Outcome::sent);
  EXPECT_FALSE(programs.on_return.has_value());
  EXPECT_FALSE(kernel.last.return_armed);
  exit.returns = true;
  options.returns = false;
  ASSERT_EQ(enter(exit), Outcome::sent);
  EXPECT_FALSE(programs.on_return.has_value());
}

TEST_F(SignatureCompiler, KernelObjects) {
  const std::uint64_t etc = kernel.make_dentry("etc", kernel.root);
  const std::uint64_t passwd = kernel.make_dentry("passwd", etc);
  const std::uint64_t filename = kernel.allocate(32);
  kernel.set("filename", filename, "name", kernel.text("/tmp/x"));
  kernel.arguments({kernel.make_file(kernel.root_mount, passwd),
                    kernel.make_path(kernel.root_mount, etc), passwd, filename, kernel.task,
                    0xffff'0000'0000'0000});
  ASSERT_EQ(enter(signature({{"file", type(TypeKind::kernel_file)},
                             {"path", type(TypeKind::kernel_path)},
                             {"dentry", type(TypeKind::kernel_dentry)},
                             {"name", type(TypeKind::kernel_filename)},
                             {"task", type(TypeKind::kernel_task)},
                             {"wild", type(TypeKind::kernel_file)}}),
                  Abi::linux_kernel),
            Outcome::sent);
  EXPECT_EQ(PathComponents::decode(*pointed_field(0)).text(), "/etc/passwd");
  EXPECT_EQ(PathComponents::decode(*pointed_field(1)).text(), "/etc");
  EXPECT_EQ(PathComponents::decode(*pointed_field(2)).text(), "/etc/passwd");
  EXPECT_EQ(pointed(3), "/tmp/x");
  EXPECT_EQ(pointed_field(4)->word(0), 100u);
  EXPECT_EQ(kernel.string(api::kSecondField + 4), "shell");
  EXPECT_EQ(PathComponents::decode(*pointed_field(5)).status, kPathFaulted);
  EXPECT_EQ(kernel.word(kContextField, kContextSyscall), 257u) << "kernel-mode context";
}

TEST_F(SignatureCompiler, CapsAreChecked) {
  options.max_text = capture::kMaxFieldBytes + 1;
  EXPECT_FALSE(
      compile_signature(signature({}), vocabulary, Abi::sysv_user, kernel.target(), options, {1}));
  options.max_text = 0;
  EXPECT_FALSE(
      compile_signature(signature({}), vocabulary, Abi::sysv_user, kernel.target(), options, {1}));
}

}  // namespace
}  // namespace glasshook::hook
