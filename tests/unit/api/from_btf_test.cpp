#include "api/from_btf.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "api/call.h"
#include "guest/btf_builder.h"

namespace glasshook::api {
namespace {

using linux_guest::BtfBuilder;
using linux_guest::KernelTypes;

class FromBtf : public ::testing::Test {
 protected:
  std::uint32_t struct_pointer(std::string_view name) {
    return btf_.pointer(btf_.structure(name, 64, {{"x", int_, 0}}));
  }
  Signature convert(std::uint32_t result, std::initializer_list<BtfBuilder::Field> parameters,
                    std::string_view name = "f") {
    btf_.function(name, btf_.prototype(result, parameters));
    const Result<KernelTypes> types = KernelTypes::parse(btf_.blob());
    EXPECT_TRUE(types) << types.error().message;
    if (!types) return {};
    const Result<Signature> signature = signature_from_btf(*types, name);
    EXPECT_TRUE(signature) << signature.error().message;
    return signature ? *signature : Signature{};
  }

  BtfBuilder btf_;
  std::uint32_t int_ = btf_.integer("int", 4, BTF_INT_SIGNED);
  std::uint32_t char_ = btf_.integer("char", 1);
  std::uint32_t long_ = btf_.integer("long int", 8, BTF_INT_SIGNED);
  std::uint32_t ulong_ = btf_.integer("long unsigned int", 8);
  std::uint32_t bool_ = btf_.integer("_Bool", 1, BTF_INT_BOOL);
  std::uint32_t chars_ = btf_.pointer(char_);
  std::uint32_t const_chars_ = btf_.pointer(btf_.alias(BTF_KIND_CONST, "", char_));
};

TEST_F(FromBtf, KernelObjects) {
  const Signature s = convert(struct_pointer("file"), {{"file", struct_pointer("file")},
                                                       {"path", struct_pointer("path")},
                                                       {"dentry", struct_pointer("dentry")},
                                                       {"name", struct_pointer("filename")},
                                                       {"task", struct_pointer("task_struct")},
                                                       {"inode", struct_pointer("inode")}});
  ASSERT_EQ(s.parameters.size(), 6u);
  EXPECT_EQ(s.parameters[0].type.kind, TypeKind::kernel_file);
  EXPECT_EQ(s.parameters[0].type.spelling, "struct file *");
  EXPECT_EQ(s.parameters[1].type.kind, TypeKind::kernel_path);
  EXPECT_EQ(s.parameters[2].type.kind, TypeKind::kernel_dentry);
  EXPECT_EQ(s.parameters[3].type.kind, TypeKind::kernel_filename);
  EXPECT_EQ(s.parameters[4].type.kind, TypeKind::kernel_task);
  EXPECT_EQ(s.parameters[5].type.kind, TypeKind::pointer);
  EXPECT_EQ(s.module, "kernel");
  EXPECT_EQ(s.result.kind, TypeKind::pointer);
  EXPECT_EQ(s.convention, ResultConvention::error_pointer);
}

TEST_F(FromBtf, Integers) {
  const std::uint32_t mode = btf_.alias(BTF_KIND_TYPEDEF, "umode_t", btf_.integer("short", 2));
  const std::uint32_t pid = btf_.alias(BTF_KIND_TYPEDEF, "pid_t", int_);
  const Signature s = convert(
      int_, {{"dfd", int_}, {"mode", mode}, {"pid", pid}, {"flags", ulong_}, {"on", bool_}});
  EXPECT_EQ(s.parameters[0].type.kind, TypeKind::descriptor);
  EXPECT_EQ(s.parameters[1].type.kind, TypeKind::mode);
  EXPECT_EQ(s.parameters[1].type.size, 2);
  EXPECT_EQ(s.parameters[2].type.kind, TypeKind::process_id);
  EXPECT_EQ(s.parameters[3].type.kind, TypeKind::hex);
  EXPECT_EQ(s.parameters[4].type.kind, TypeKind::boolean);
  EXPECT_EQ(s.convention, ResultConvention::errno_if_negative);
  EXPECT_TRUE(s.result.is_signed);
}

TEST_F(FromBtf, StringsAndBuffers) {
  const Signature read =
      convert(long_, {{"name", const_chars_}, {"buf", chars_}, {"count", ulong_}});
  EXPECT_EQ(read.parameters[0].type.kind, TypeKind::path);
  EXPECT_EQ(read.parameters[1].type.kind, TypeKind::buffer);
  EXPECT_EQ(read.parameters[1].direction, Direction::out);
  EXPECT_EQ(read.parameters[1].type.length_from, "ret");
  const Signature write = convert(long_, {{"buf", const_chars_}, {"len", ulong_}}, "g");
  EXPECT_EQ(write.parameters[0].type.kind, TypeKind::buffer);
  EXPECT_EQ(write.parameters[0].direction, Direction::in);
  EXPECT_EQ(write.parameters[0].type.length_from, "len");
  const Signature text = convert(0, {{"text", const_chars_}, {"x", ulong_}}, "h");
  EXPECT_EQ(text.parameters[0].type.kind, TypeKind::string);
  EXPECT_EQ(text.result.kind, TypeKind::nothing);
  EXPECT_EQ(text.convention, ResultConvention::plain);
}

TEST_F(FromBtf, StructuresByValueKeepTheRegistersInStep) {
  const std::uint32_t uid = btf_.structure("kuid_t", 4, {{"val", int_, 0}});
  const std::uint32_t two = btf_.structure("two", 16, {{"a", long_, 0}, {"b", long_, 64}});
  const std::uint32_t big = btf_.structure("big", 24, {{"a", long_, 0}});
  const Signature s =
      convert(0, {{"uid", uid}, {"two", two}, {"n", int_}, {"big", big}, {"m", int_}});
  ASSERT_EQ(s.parameters.size(), 4u);
  EXPECT_EQ(s.parameters[0].type.kind, TypeKind::hex);
  EXPECT_EQ(s.parameters[1].name, "two");
  EXPECT_EQ(s.parameters[2].name, "two_high");
  EXPECT_EQ(s.parameters[3].name, "n");
  EXPECT_TRUE(s.variadic) << "what stands behind a structure in memory is not located";
}

TEST_F(FromBtf, VarArgsAndNoNames) {
  const Signature s = convert(int_, {{"", int_}, {"", 0}});
  ASSERT_EQ(s.parameters.size(), 1u);
  EXPECT_EQ(s.parameters[0].name, "arg0");
  EXPECT_TRUE(s.variadic);
  EXPECT_FALSE(convert(0, {{"code", long_}}, "do_exit").returns);
}

TEST_F(FromBtf, CapsParameters) {
  std::vector<std::uint32_t> words;
  for (int i = 0; i < 100; ++i) words.insert(words.end(), {0, int_});
  const std::uint32_t proto = btf_.record(BTF_KIND_FUNC_PROTO, {}, 100, false, int_, words);
  btf_.function("wide", proto);
  const Result<KernelTypes> types = KernelTypes::parse(btf_.blob());
  ASSERT_TRUE(types);
  EXPECT_EQ(signature_from_btf(*types, "wide")->parameters.size(), kMaxParameters);
}

TEST_F(FromBtf, SaysWhatIsMissing) {
  const Result<KernelTypes> types = KernelTypes::parse(btf_.blob());
  ASSERT_TRUE(types);
  EXPECT_EQ(signature_from_btf(*types, "nothing").error().code, ErrorCode::not_found);
}

TEST(RealBtf, OfThisMachinesKernel) {
  std::ifstream stream("/sys/kernel/btf/vmlinux", std::ios::binary);
  const std::string blob{std::istreambuf_iterator<char>(stream), {}};
  if (blob.empty()) GTEST_SKIP() << "this kernel shows no BTF";
  const Result<KernelTypes> types = KernelTypes::parse(std::as_bytes(std::span(blob)));
  ASSERT_TRUE(types) << types.error().message;
  const Result<Signature> read = signature_from_btf(*types, "vfs_read");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->parameters.size(), 4u);
  EXPECT_EQ(read->parameters[0].type.kind, TypeKind::kernel_file);
  EXPECT_EQ(read->parameters[1].type.kind, TypeKind::buffer);
  EXPECT_EQ(read->parameters[1].direction, Direction::out);
  EXPECT_EQ(read->parameters[2].name, "count");
  EXPECT_EQ(read->convention, ResultConvention::errno_if_negative);
}

}  // namespace
}  // namespace glasshook::api
