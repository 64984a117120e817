#include "hook/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace glasshook::hook {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr const char* kApis = R"(module libc = libc libpthread
file: open | open64 (path: path, flags: int) -> fd ! errno
file: read(fd: fd, out buffer: bytes[ret], count: size) -> ssize ! errno
process: execve(path: path) -> int ! errno
module libssl = libssl
file: SSL_read(ssl: pointer) -> int
module libmath = libmath libpthread
math: fma(x: int) -> int
)";

class Selectors : public testing::Test {
 protected:
  Result<Selection> select(std::initializer_list<std::string_view> texts, bool kernel = true) {
    std::vector<Selector> selectors;
    for (const std::string_view text : texts) {
      auto parsed = parse_selector(text);
      if (!parsed) return std::unexpected(parsed.error());
      selectors.push_back(std::move(*parsed));
    }
    return resolve(selectors, catalogue, kernel ? &symbols : nullptr);
  }
  std::vector<std::string> apis(std::string_view text) {
    const auto selection = select({text});
    EXPECT_TRUE(selection.has_value()) << (selection ? "" : selection.error().message);
    std::vector<std::string> names;
    if (selection)
      for (const SelectedApi& api : selection->apis)
        names.push_back(api.signature->module + "!" + api.signature->name);
    return names;
  }
  std::string error(std::string_view text) {
    const auto selection = select({text});
    return selection ? "" : selection.error().message;
  }

  static api::ApiCatalogue parse_catalogue() {
    const api::SourceFile file{"test.api", kApis};
    auto parsed = api::ApiCatalogue::parse(std::span{&file, 1});
    if (!parsed) throw std::runtime_error(parsed.error().message);
    return std::move(*parsed);
  }
  api::ApiCatalogue catalogue = parse_catalogue();
  linux_guest::KernelSymbols symbols{{{Gva{0xffff800000001000}, 'T', "vfs_read"},
                                      {Gva{0xffff800000002000}, 't', "vfs_write"},
                                      {Gva{0xffff800000003000}, 'D', "vfs_data"}}};
};

TEST_F(Selectors, NameFunctionsByModuleAndGlob) {
  EXPECT_THAT(apis("libc!open"), ElementsAre("libc!open"));
  EXPECT_THAT(apis("libc.so.6!read"), ElementsAre("libc!read"));
  EXPECT_THAT(apis("/lib/x86_64-linux-gnu/libc.so.6!read/noret"), ElementsAre("libc!read"));
  EXPECT_THAT(apis("libc!open*"), UnorderedElementsAre("libc!open", "libc!open64"));
  EXPECT_THAT(apis("*!*read"), UnorderedElementsAre("libc!read", "libssl!SSL_read"));
  EXPECT_THAT(apis("execve"), ElementsAre("libc!execve"));
  EXPECT_THAT(apis("libpthread!fma"), ElementsAre("libmath!fma")) << "it is of both";
}

TEST_F(Selectors, NameCategories) {
  EXPECT_THAT(apis("libc:process"), ElementsAre("libc!execve"));
  EXPECT_THAT(apis("@file"), testing::SizeIs(4));
}

TEST_F(Selectors, NameKernelFunctions) {
  const auto selection = select({"kernel!vfs_*"});
  ASSERT_TRUE(selection.has_value());
  ASSERT_EQ(selection->kernel.size(), 2u) << "data is no function";
  EXPECT_EQ(selection->kernel[0].symbol.name, "vfs_read");
  EXPECT_EQ(select({"vfs_write"})->kernel.size(), 1u) << "no API has that name";
  EXPECT_THAT(error("kernel!vfs_raed"), HasSubstr("did you mean vfs_read?"));
  EXPECT_FALSE(select({"kernel!vfs_read"}, false).has_value());
}

TEST_F(Selectors, FunctionsWithoutSignatureAreHookedByName) {
  const auto selection = select({"libfoo.so!bar*/rate=5", "libc!opem"});
  ASSERT_TRUE(selection.has_value());
  ASSERT_EQ(selection->exports.size(), 2u);
  EXPECT_EQ(selection->exports[0].module, "libfoo");
  EXPECT_EQ(selection->exports[0].options.rate, 5u);
  ASSERT_EQ(selection->notes.size(), 1u);
  EXPECT_THAT(selection->notes[0], HasSubstr("open"));
}

TEST_F(Selectors, TheLastOneSaysHow) {
  const auto selection = select({"@file", "libc!open/rate=10/burst=3", "libc!read/noret"});
  ASSERT_TRUE(selection.has_value());
  EXPECT_EQ(selection->apis.size(), 4u);
  for (const SelectedApi& api : selection->apis) {
    const bool open = api.signature->name == "open", read = api.signature->name == "read";
    EXPECT_EQ(api.options,
              (WatchOptions{.rate = open ? 10u : 0u, .burst = open ? 3u : 0u, .returns = !read}));
  }
}

TEST_F(Selectors, CanBeAddedAndTakenAway) {
  Selection all = *select({"libc!open*", "kernel!vfs_read", "libfoo!bar*"});
  add_to(all, *select({"libc!open/noret", "libc!read", "kernel!vfs_*/rate=3"}));
  EXPECT_EQ(all.apis.size(), 3u);
  for (const SelectedApi& api : all.apis)
    EXPECT_EQ(api.options.returns, api.signature->name != "open") << api.signature->name;
  ASSERT_EQ(all.kernel.size(), 2u);
  EXPECT_EQ(all.kernel[0].options.rate, 3u);

  EXPECT_EQ(take_from(all, *select({"libc!open*"})), 2u);
  EXPECT_EQ(all.apis.size(), 1u);
  EXPECT_EQ(take_from(all, *select({"libc!open*"})), 0u);
  EXPECT_EQ(take_from(all, *select({"libfoo!bar"})), 0u) << "named otherwise";
  EXPECT_EQ(take_from(all, *select({"libfoo.so.2!bar*"})), 1u);
  EXPECT_EQ(take_from(all, *select({"kernel!vfs_*"})), 2u);
  EXPECT_TRUE(all.exports.empty());
  EXPECT_TRUE(all.kernel.empty());
}

TEST_F(Selectors, MistakesAreNamed) {
  EXPECT_THAT(error(""), HasSubstr("names no function"));
  EXPECT_THAT(error("libc!"), HasSubstr("names no function"));
  EXPECT_THAT(error("!open"), HasSubstr("module is missing"));
  EXPECT_THAT(error(":file"), HasSubstr("module is missing"));
  EXPECT_THAT(error("libc!open/fast"), HasSubstr("no modifier `fast`"));
  EXPECT_THAT(error("libc!open/rate=0"), HasSubstr("above 0"));
  EXPECT_THAT(error("libc!open/rate=9x"), HasSubstr("above 0"));
  EXPECT_THAT(error("libc!open/rate=99999999999"), HasSubstr("above 0"));
  EXPECT_THAT(error("@fiel"), HasSubstr("did you mean file?"));
  EXPECT_THAT(error("@zzzzzz"), HasSubstr("the categories are"));
  EXPECT_THAT(error("lbc:file"), HasSubstr("no module `lbc`; did you mean libc?"));
  EXPECT_THAT(error("exeve"), HasSubstr("execve"));
  EXPECT_THAT(error(std::string(600, 'a')), HasSubstr("longer than"));
}

}  // namespace
}  // namespace glasshook::hook
