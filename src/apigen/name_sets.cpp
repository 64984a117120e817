#include "apigen/name_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "base/text.h"

namespace glasshook::apigen {
namespace {

bool matches_any(const std::vector<std::string>& globs, std::string_view name) {
  return std::ranges::any_of(globs,
                             [&](const std::string& glob) { return glob_match(glob, name); });
}

}  // namespace

std::string set_text(const SetRule& rule, const std::vector<HeaderConstant>& constants) {
  struct Member {
    std::string_view name;
    std::uint64_t value;
  };
  std::vector<Member> members;
  std::set<std::uint64_t> values;
  for (const std::string& glob : rule.macros) {
    for (const HeaderConstant& constant : constants) {
      if (!glob_match(glob, constant.name) || matches_any(rule.without, constant.name)) continue;
      const auto value = rule.is_wide ? static_cast<std::uint64_t>(constant.value)
                                      : static_cast<std::uint32_t>(constant.value);
      if (values.insert(value).second) members.push_back({constant.name, value});
    }
  }
  if (members.empty()) return {};
  if (rule.is_flags)
    std::ranges::stable_sort(members, [](const Member& a, const Member& b) {
      return std::popcount(a.value) > std::popcount(b.value);
    });
  std::string text = fmt::format("{} {} {{\n", rule.is_flags ? "flags" : "enum", rule.name);
  for (const Member& member : members)
    text += fmt::format("  {} = {:#x}\n", member.name, member.value);
  return text + "}\n\n";
}

}  // namespace glasshook::apigen
