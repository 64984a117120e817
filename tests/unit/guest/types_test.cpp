#include "guest/linux/types.h"

#include <gmock/gmock.h>

#include "btf_builder.h"
#include "guest/linux/btf_check.h"

namespace glasshook::linux_guest {
namespace {

KernelTypes parsed(const BtfBuilder& builder) {
  auto types = KernelTypes::parse(builder.blob());
  EXPECT_TRUE(types) << types.error().message;
  return std::move(*types);
}

/// int, char, and the types a test hangs on them.
class KernelTypesTest : public testing::Test {
 protected:
  BtfBuilder btf_;
  std::uint32_t int_ = btf_.integer("int", 4, BTF_INT_SIGNED);
  std::uint32_t char_ = btf_.integer("char", 1);
  std::uint32_t long_ = btf_.integer("unsigned long", 8);
};

TEST_F(KernelTypesTest, FindsMembersThroughAnonymousStructsAndPaths) {
  const auto path = btf_.structure("path", 16, {{"mnt", long_, 0}, {"dentry", long_, 64}});
  const auto inner = btf_.structure("", 12, {{"pad", int_, 0}, {"f_path", path, 32}});
  btf_.structure("file", 100, {{"flags", int_, 0}, {"", inner, 256}});
  const KernelTypes types = parsed(btf_);
  EXPECT_EQ(types.offset("file", "f_path").value(), 36u);
  EXPECT_EQ(types.offset("file", "f_path.dentry").value(), 44u);
  EXPECT_EQ(types.offset("file", "f_path.nothing").error().code, ErrorCode::not_found);
  EXPECT_FALSE(types.offset("file", ""));
  EXPECT_FALSE(types.offset("file", "flags.x"));
  EXPECT_FALSE(types.offset("inode", "i_ino"));
}

TEST_F(KernelTypesTest, AnAnonymousStructMayBeConst) {
  const auto inner = btf_.structure("", 8, {{"vma", long_, 0}});
  const auto constant = btf_.alias(BTF_KIND_CONST, "", inner);
  btf_.structure("vm_fault", 100, {{"", constant, 64}});
  EXPECT_EQ(parsed(btf_).offset("vm_fault", "vma").value(), 8u);
}

TEST_F(KernelTypesTest, TakesTheLargestOfStructsWithOneName) {
  btf_.structure("module", 8, {{"a", int_, 0}});
  btf_.structure("module", 64, {{"b", int_, 32}});
  btf_.structure("module", 16, {{"c", int_, 0}});
  EXPECT_EQ(parsed(btf_).offset("module", "b").value(), 4u);
}

TEST_F(KernelTypesTest, ReadsBitFields) {
  btf_.structure("flags", 4, {{"low", int_, 3u << 24 | 5}, {"plain", int_, 32}}, true);
  const KernelTypes types = parsed(btf_);
  const auto low = types.member(*types.find_struct("flags"), "low");
  ASSERT_TRUE(low);
  EXPECT_EQ(low->bit_offset, 5u);
  EXPECT_EQ(low->bit_size, 3u);
  EXPECT_EQ(types.member(*types.find_struct("flags"), "plain")->bit_size, 0u);
}

TEST_F(KernelTypesTest, KnowsFunctionsAndEnumerators) {
  const auto text = btf_.pointer(btf_.alias(BTF_KIND_CONST, {}, char_));
  btf_.function("do_open", btf_.prototype(int_, {{"name", text}, {"flags", int_}}));
  btf_.enumeration("pid_type", {{"PIDTYPE_PID", 0}, {"PIDTYPE_MAX", -4}});
  const KernelTypes types = parsed(btf_);
  const auto function = types.find_function("do_open");
  ASSERT_TRUE(function);
  ASSERT_EQ(function->parameters.size(), 2u);
  EXPECT_EQ(function->parameters[0].name, "name");
  EXPECT_TRUE(types.is_char_pointer(function->parameters[0].type));
  EXPECT_TRUE(types.is_signed_integer(function->result));
  EXPECT_EQ(types.find_enumerator("PIDTYPE_MAX"), -4);
  EXPECT_FALSE(types.find_enumerator(""));
  EXPECT_FALSE(types.find_function("do_close"));
}

TEST_F(KernelTypesTest, SpellsTypesAsC) {
  const auto task = btf_.structure("task_struct", 8, {{"pid", int_, 0}});
  const auto const_char = btf_.alias(BTF_KIND_CONST, {}, char_);
  const auto text = btf_.pointer(const_char);
  const auto const_text = btf_.alias(BTF_KIND_CONST, {}, text);
  const auto texts = btf_.array(const_text, 4);
  const auto call_back = btf_.pointer(btf_.prototype(int_, {}));
  const auto to_array = btf_.pointer(btf_.array(int_, 2));
  const auto named = btf_.alias(BTF_KIND_TYPEDEF, "pid_t", int_);
  const auto twice = btf_.pointer(btf_.pointer(task));
  const KernelTypes types = parsed(btf_);
  EXPECT_EQ(types.spelling({twice}), "struct task_struct **");
  EXPECT_EQ(types.spelling({text}), "const char *");
  EXPECT_EQ(types.spelling({texts}), "const char *const [4]");
  EXPECT_EQ(types.spelling({call_back}), "int (*)()");
  EXPECT_EQ(types.spelling({to_array}), "int (*)[2]");
  EXPECT_EQ(types.spelling({named}), "pid_t");
  EXPECT_EQ(types.spelling({0}), "void");
  EXPECT_EQ(types.size({texts}), 32u);
  EXPECT_EQ(types.size({named}), 4u);
  EXPECT_EQ(types.resolve({named}).value, int_);
}

TEST_F(KernelTypesTest, AnswersForIdsThatDoNotExist) {
  const KernelTypes types = parsed(btf_);
  const TypeId wild{0xffffffff};
  EXPECT_EQ(types.spelling(wild), "void");
  EXPECT_EQ(types.size(wild), 0u);
  EXPECT_FALSE(types.member(wild, "x"));
  EXPECT_FALSE(types.pointee(wild));
}

TEST_F(KernelTypesTest, RefusesEndlessChains) {
  btf_.alias(BTF_KIND_TYPEDEF, "a", 5);
  btf_.alias(BTF_KIND_CONST, {}, 4);
  EXPECT_THAT(KernelTypes::parse(btf_.blob()).error().message, testing::HasSubstr("endless"));
  BtfBuilder arrays;
  arrays.integer("int", 4);
  arrays.array(2, 1);
  EXPECT_FALSE(KernelTypes::parse(arrays.blob()));
}

TEST_F(KernelTypesTest, BoundsAStructThatHoldsItself) {
  btf_.structure("loop", 8, {{"", 4, 0}, {"", 4, 64}, {"", 4, 128}, {"last", int_, 0}});
  const KernelTypes types = parsed(btf_);
  EXPECT_FALSE(types.member(*types.find_struct("loop"), "absent"));
}

TEST_F(KernelTypesTest, HugeArraysHaveNoSize) {
  auto id = btf_.array(long_, 0xffffffff);
  for (int i = 0; i < 4; ++i) id = btf_.array(id, 0xffffffff);
  EXPECT_EQ(parsed(btf_).size({id}), 0u);
}

TEST_F(KernelTypesTest, RefusesReferencesOutsideTheBlob) {
  const auto broken = [](auto&& add) {
    BtfBuilder btf;
    btf.integer("int", 4);
    add(btf);
    const bool refused = !check_btf(btf.blob());
    EXPECT_FALSE(KernelTypes::parse(btf.blob()));
    return refused;
  };
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.pointer(3); }));
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.structure("s", 8, {{"m", 9, 0}}); }));
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.prototype(77, {}); }));
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.function("f", 1); })) << "not a prototype";
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.array(50, 1); }));
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.record(31, {}, 0, false, 0, {}); })) << "unknown kind";
  EXPECT_TRUE(broken([](BtfBuilder& b) { b.record(BTF_KIND_STRUCT, {}, 9, false, 8, {}); }))
      << "members behind the end";
  EXPECT_TRUE(broken([](BtfBuilder& b) {
    b.record(BTF_KIND_STRUCT, {}, 1, false, 8, {999, 1, 0});
  })) << "name behind the strings";
}

TEST_F(KernelTypesTest, RefusesEveryTruncation) {
  btf_.structure("s", 8, {{"m", int_, 0}});
  const auto whole = btf_.blob();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(KernelTypes::parse(std::span{whole}.first(size))) << size;
}

TEST_F(KernelTypesTest, SurvivesEverySingleByteFlip) {
  btf_.structure("s", 8, {{"m", int_, 0}, {"", char_, 32}});
  btf_.function("f", btf_.prototype(int_, {{"p", long_}}));
  const auto whole = btf_.blob();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    auto bent = whole;
    bent[at] ^= std::byte{0xff};
    const auto types = KernelTypes::parse(bent);
    if (!types) continue;
    for (std::uint32_t id = 0; id < types->type_count(); ++id) {
      (void)types->spelling({id});
      (void)types->size({id});
      (void)types->member({id}, "m");
    }
  }
}

}  // namespace
}  // namespace glasshook::linux_guest
