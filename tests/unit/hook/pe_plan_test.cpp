#include "hook/pe_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "windows/tiny_pe.h"

namespace glasshook::hook {
namespace {

using hypervisor::HookId;
using testing::ElementsAre;
using testing::IsEmpty;
using windows::TinyPe;

class PePlans : public testing::Test {
 protected:
  PePlans() {
    const std::array<api::SourceFile, 2> apis{{{"tiny.api", R"(module tiny = tiny
file: Open(path: utf16, flags: int) -> handle
file: Stub(path: utf16) -> handle
)"},
                                               {"kernelbase.api", R"(module kernelbase = kernelbase
file: CreateFileA(path: string) -> handle
)"}}};
    auto made = api::ApiCatalogue::parse(apis);
    if (!made) throw std::runtime_error(made.error().message);
    catalogue.emplace(std::move(*made));
  }
  PeSelection select(std::initializer_list<std::string_view> texts) {
    std::vector<Selector> selectors;
    for (const std::string_view text : texts) selectors.push_back(parse_selector(text).value());
    return {resolve(selectors, {no_linux, &*catalogue}, nullptr).value(), &*catalogue};
  }
  std::set<std::uint64_t> update(PePlan& plan, const TinyPe& pe, PeSelection& selection) {
    functions.clear();
    return plan.update(pe.good(), selection, [&](const ModuleFunction& function) {
      functions.push_back(function);
      return std::optional{HookId{static_cast<std::uint32_t>(functions.size())}};
    });
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const ModuleFunction& f : functions) found.push_back(f.module + "!" + f.name);
    return found;
  }

  api::ApiCatalogue no_linux;
  std::optional<api::ApiCatalogue> catalogue;
  std::vector<ModuleFunction> functions;
};

TEST_F(PePlans, PlaceFunctionsByFilePage) {
  PeSelection selection = select({"tiny!Open"});
  PePlan plan("tiny");
  EXPECT_TRUE(plan.is_behind(selection));
  EXPECT_THAT(update(plan, {}, selection), ElementsAre(1));
  EXPECT_FALSE(plan.is_behind(selection));
  ASSERT_THAT(names(), ElementsAre("tiny!Open"));
  EXPECT_NE(functions[0].signature, nullptr);
  ASSERT_NE(plan.page(1), nullptr);
  ASSERT_EQ(plan.page(1)->entries.size(), 1u);
  EXPECT_EQ(plan.page(1)->entries[0].offset, 0);
  ASSERT_EQ(plan.page(1)->returns.size(), 1u) << "both parts of the function, side by side";
  EXPECT_EQ(plan.page(1)->returns[0].begin, 0);
  EXPECT_EQ(plan.page(1)->returns[0].end, 0x20);
  EXPECT_EQ(plan.page(2), nullptr);
  EXPECT_THAT(plan.notes(), IsEmpty());
}

TEST_F(PePlans, OneHookIsForTheUserAndForFamilies) {
  // Two names of one function, each wanted by another.
  const auto resolved = [&](std::string_view text) {
    const Selector selector = parse_selector(text).value();
    return resolve(std::span{&selector, 1}, {no_linux, &*catalogue}, nullptr).value();
  };
  PeSelection selection(joined(resolved("tiny!Open"), resolved("tiny!#1")), &*catalogue);
  PePlan plan("tiny");
  update(plan, {}, selection);
  ASSERT_EQ(functions.size(), 2u);
  EXPECT_EQ(functions[0].audience, (Audience{.user = false, .families = true}));
  EXPECT_EQ(functions[0].also, std::nullopt);
  EXPECT_EQ(functions[1].audience, (Audience{.user = true, .families = false}));
  EXPECT_EQ(functions[1].also, (HookId{1}));
  EXPECT_EQ(plan.page(1)->entries.size(), 1u);
  // The same name: what families need counts.
  const Selection both = joined(resolved("tiny!Open"), resolved("tiny!Open/rate=5/noret"));
  ASSERT_EQ(both.apis.size(), 1u);
  EXPECT_EQ(both.apis[0].audience, (Audience{.user = true, .families = true}));
  EXPECT_EQ(both.apis[0].options, WatchOptions{});
}

TEST_F(PePlans, NamesOrdinalsAndGlobs) {
  const auto planned = [&](std::string_view text) {
    PeSelection selection = select({text});
    PePlan plan("tiny");
    update(plan, {}, selection);
    return names();
  };
  EXPECT_THAT(planned("tiny!#1"), ElementsAre("tiny!Open"));
  EXPECT_THAT(planned("TINY.dll!Read"), ElementsAre("tiny!Read"));
  EXPECT_THAT(planned("t*!R*"), ElementsAre("tiny!Read"));
  EXPECT_THAT(planned("*!?e*"), ElementsAre("tiny!Read"));
  EXPECT_THAT(planned("tiny!read"), IsEmpty());
  EXPECT_THAT(planned("tiny!#99"), IsEmpty());
  EXPECT_THAT(planned("other!Read"), IsEmpty());
}

TEST_F(PePlans, StubsAndForwardersLeadToOtherModules) {
  PeSelection selection = select({"tiny!Stub", "tiny!Forward", "tiny!#4"});
  PePlan plan("tiny");
  EXPECT_THAT(update(plan, {}, selection), IsEmpty());
  EXPECT_THAT(names(), IsEmpty()) << "none of them has code here";
  ASSERT_EQ(selection.size(), 6u);
  EXPECT_EQ(selection.item(3).module, "kernelbase");
  EXPECT_EQ(selection.item(3).function, "CreateFileW");
  EXPECT_EQ(selection.item(3).shown_name, "Stub");
  EXPECT_NE(selection.item(3).signature, nullptr);
  EXPECT_EQ(selection.item(4).module, "ntdll");
  EXPECT_EQ(selection.item(4).function, "RtlAllocateHeap");
  EXPECT_EQ(selection.item(4).shown_module, "tiny");
  EXPECT_EQ(selection.item(5).function, "#7");
}

TEST_F(PePlans, WhatALaterModuleLeadsToIsAdded) {
  TinyPe target;
  target.put_text(TinyPe::kTexts + 0x40, "RtlAllocateHeap");  // in the place of "Read"
  target.put_text(TinyPe::kTexts + 0x30, "Open");
  target.put(TinyPe::kNames + 12, TinyPe::kTexts + 0x40);
  PeSelection selection = select({"tiny!Forward"});
  PePlan plan("ntdll");
  EXPECT_FALSE(plan.is_behind(selection));
  update(plan, target, selection);
  EXPECT_THAT(names(), IsEmpty());
  PePlan other("tiny");
  update(other, {}, selection);
  EXPECT_TRUE(plan.is_behind(selection));
  EXPECT_THAT(update(plan, target, selection), ElementsAre(1)) << "page 1 changed";
  EXPECT_THAT(names(), ElementsAre("tiny!Forward"));
  EXPECT_EQ(plan.page(1)->entries[0].offset, 0x40);
}

TEST_F(PePlans, ForwarderLoopsEnd) {
  // Two modules that forward to each other.
  const auto forwards_to = [](std::string_view target) {
    TinyPe pe;
    pe.put_text(TinyPe::kTexts + 0x60, target);
    return pe;
  };
  PeSelection selection = select({"a!Forward"});
  PePlan a("a"), b("b");
  for (int round = 0; round < 20; ++round) {
    update(a, forwards_to("b.Forward"), selection);
    update(b, forwards_to("a.Forward"), selection);
  }
  EXPECT_EQ(selection.size(), 2u);

  // One that forwards ever on, to itself.
  PeSelection endless = select({"c!Forward"});
  PePlan c("c");
  for (int round = 0; round < 20; ++round)
    update(c, forwards_to("c.#" + std::to_string(5)), endless);
  EXPECT_LE(endless.size(), 3u);
}

TEST_F(PePlans, HopsHaveALimit) {
  PeSelection selection = select({"m0!Forward"});
  std::vector<std::string> notes;
  for (int i = 0; i < 12; ++i) {
    TinyPe pe;
    pe.put_text(TinyPe::kTexts + 0x60, "m" + std::to_string(i + 1) + ".Forward");
    PePlan plan("m" + std::to_string(i));
    update(plan, pe, selection);
    notes.insert(notes.end(), plan.notes().begin(), plan.notes().end());
  }
  EXPECT_EQ(selection.size(), 1u + PeSelection::kMaxHops);
  EXPECT_THAT(notes, ElementsAre(testing::HasSubstr("forwarded too often")));
}

TEST_F(PePlans, DataIsSaidAndNotHooked) {
  PeSelection selection = select({"tiny!Data"});
  PePlan plan("tiny");
  update(plan, {}, selection);
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_THAT(plan.notes(), ElementsAre("tiny!Data: it is data"));
}

TEST_F(PePlans, TailCallsIntoOtherModulesAreWatchedThere) {
  // Read ends in a jump through the import of kernelbase!CreateFileW.
  TinyPe pe;
  pe.put(0x1041, std::array<std::uint8_t, 2>{0xff, 0x25});
  pe.put(0x1043, std::uint32_t{TinyPe::kAddresses - 0x1047});
  pe.put(0x1040, std::uint8_t{0x51});  // push rcx: no mere stub
  PeSelection selection = select({"tiny!Read"});
  PePlan plan("tiny");
  update(plan, pe, selection);
  EXPECT_THAT(names(), ElementsAre("tiny!Read"));
  EXPECT_THAT(plan.notes(), IsEmpty());
  ASSERT_EQ(selection.size(), 2u);
  EXPECT_TRUE(selection.item(1).returns_only);

  TinyPe target;
  target.put(TinyPe::kNames + 8, TinyPe::kHint + 2);  // "CreateFileW" in the place of "Open"
  PePlan base("kernelbase");
  EXPECT_THAT(update(base, target, selection), ElementsAre(1));
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_THAT(base.page(1)->entries, IsEmpty());
  EXPECT_FALSE(base.page(1)->returns.empty());
}

TEST_F(PePlans, NamesThatTheModuleLacksAreSaid) {
  PeSelection selection = select({"tiny!Opne", "tiny!#99", "*!Nothing", "tiny!Z*"});
  PePlan plan("tiny");
  update(plan, {}, selection);
  EXPECT_THAT(plan.notes(),
              ElementsAre("tiny!Opne: it is not exported", "tiny!#99: it is not exported"));
}

TEST_F(PePlans, WithoutReturnsThereIsTheEntryAlone) {
  PeSelection selection = select({"tiny!Open/noret"});
  PePlan plan("tiny");
  update(plan, {}, selection);
  EXPECT_THAT(plan.page(1)->returns, IsEmpty());
}

}  // namespace
}  // namespace glasshook::hook
