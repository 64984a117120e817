#include "apigen/rules.h"

#include <algorithm>

#include "base/text.h"

namespace glasshook::apigen {
namespace {

using Words = std::vector<std::string>;

Words split(std::string_view text) {
  Words words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(" \t\r");
    if (begin == text.npos) return words;
    const std::size_t end = std::min(text.find_first_of(" \t\r", begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

/// Cuts `text` at the first `mark`, which is dropped; nothing when there is none.
std::optional<std::string> cut_after(std::string& text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  if (at == text.npos) return std::nullopt;
  std::string rest = text.substr(at + mark.size());
  text.resize(at);
  return rest;
}

Selector selector(std::string text) {
  Selector made;
  if (auto result = cut_after(text, "->")) made.result_type = *result;
  if (auto inside = cut_after(text, "(")) {
    if (inside->ends_with(')')) inside->pop_back();
    made.parameter = *inside;
    if (auto type = cut_after(made.parameter, ":")) made.parameter_type = *type;
    if (made.parameter.empty()) made.parameter.push_back('*');
  }
  if (auto function = cut_after(text, "!")) {
    made.module = text;
    text = *function;
  }
  if (!text.empty()) made.function = text;
  return made;
}

bool is_named_like(const HeaderType& type, std::string_view glob) {
  if (glob.empty()) return true;
  return std::ranges::any_of(type.names,
                             [&](const std::string& name) { return glob_match(glob, name); });
}

class RulesParser {
 public:
  RulesParser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<Rules> parse() {
    std::string statement;
    std::size_t line = 0, begins = 0;
    while (!text_.empty()) {
      const std::size_t end = std::min(text_.find('\n'), text_.size());
      std::string_view now = text_.substr(0, end);
      text_.remove_prefix(std::min(end + 1, text_.size()));
      ++line;
      now = now.substr(0, now.find('#'));
      const bool goes_on = now.starts_with(' ') || now.starts_with('\t');
      if (!goes_on) {
        if (Result<> done = finish(statement, begins); !done) return std::unexpected(done.error());
        statement.clear();
        begins = line;
      }
      statement += now;
      statement += ' ';
    }
    if (Result<> done = finish(statement, begins); !done) return std::unexpected(done.error());
    return std::move(rules_);
  }

 private:
  Result<> finish(const std::string& statement, std::size_t line) {
    const Words words = split(statement);
    if (words.empty() || take(words)) return {};
    return fail(ErrorCode::invalid_argument, "{}:{}: cannot read '{}'", file_, line,
                to_printable(statement));
  }

  bool take(const Words& words) {
    const std::string& keyword = words[0];
    if (keyword == "headers") return headers(words);
    if (keyword == "module") return module(words);
    if (keyword == "flags" || keyword == "enum") return set(words);
    if (keyword == "type") return type(words);
    if (keyword == "category") return selectors(words, 1, rules_.categories);
    if (keyword == "use") return selectors(words, 1, rules_.uses);
    if (keyword == "fails") return selectors(words, 1, rules_.failures);
    if (keyword == "in:" || keyword == "out:" || keyword == "inout:")
      return selectors(words, 0, rules_.directions);
    if (keyword != "follow" || words.size() < 2) return false;
    rules_.followed.insert(rules_.followed.end(), words.begin() + 1, words.end());
    return true;
  }

  /// headers [OPTION...] : HEADER...
  bool headers(const Words& words) {
    const auto colon = std::ranges::find(words, ":");
    if (colon == words.end() || colon + 1 == words.end()) return false;
    rules_.headers.push_back({{words.begin() + 1, colon}, {colon + 1, words.end()}});
    return true;
  }

  /// module NAME CATEGORY = OBJECT...
  bool module(const Words& words) {
    if (words.size() < 5 || words[3] != "=") return false;
    rules_.modules.push_back({words[1], words[2], {words.begin() + 4, words.end()}});
    return true;
  }

  bool set(const Words& words) {
    const auto equals = std::ranges::find(words, "=");
    const auto without = std::find(equals, words.end(), "without");
    const auto head = equals - words.begin();
    if (equals == words.end() || (head != 2 && (head != 3 || words[2] != "64"))) return false;
    SetRule made{.name = words[1],
                 .is_flags = words[0] == "flags",
                 .is_wide = head == 3,
                 .macros = {equals + 1, without},
                 .without = {}};
    if (without != words.end()) made.without.assign(without + 1, words.end());
    rules_.sets.push_back(std::move(made));
    return true;
  }

  bool type(const Words& words) {
    if (words.size() < 4 || words[words.size() - 2] != "=") return false;
    rules_.types.push_back({{words.begin() + 1, words.end() - 2}, words.back()});
    return true;
  }

  /// KEYWORD VALUE: SELECTOR... with the value in word `at`. Failures may have a ", " in them.
  static bool selectors(const Words& words, std::size_t at, std::vector<SelectorRule>& rules) {
    SelectorRule rule;
    for (; at < words.size() && !rule.value.ends_with(':'); ++at)
      rule.value += (rule.value.empty() ? "" : " ") + words[at];
    if (!rule.value.ends_with(':') || at == words.size()) return false;
    rule.value.pop_back();
    for (; at < words.size(); ++at) rule.selectors.push_back(selector(words[at]));
    rules.push_back(std::move(rule));
    return true;
  }

  std::string_view text_;
  std::string_view file_;
  Rules rules_;
};

}  // namespace

bool HeaderType::is_named(std::string_view name) const {
  return std::ranges::find(names, name) != names.end();
}

bool Selector::matches(std::string_view module_name, const HeaderFunction& function_) const {
  return glob_match(module, module_name) && glob_match(function, function_.name) &&
         is_named_like(function_.result, result_type);
}

bool Selector::matches(std::string_view module_name, const HeaderFunction& function_,
                       const HeaderParameter& parameter_) const {
  return !parameter.empty() && glob_match(parameter, parameter_.name) &&
         is_named_like(parameter_.type, parameter_type) && matches(module_name, function_);
}

Result<Rules> parse_rules(std::string_view text, std::string_view file) {
  return RulesParser(text, file).parse();
}

std::string_view first_match(const std::vector<SelectorRule>& rules, std::string_view module,
                             const HeaderFunction& function) {
  for (const SelectorRule& rule : rules)
    for (const Selector& selector : rule.selectors)
      if (selector.matches(module, function)) return rule.value;
  return {};
}

std::string_view first_match(const std::vector<SelectorRule>& rules, std::string_view module,
                             const HeaderFunction& function, const HeaderParameter& parameter) {
  for (const SelectorRule& rule : rules)
    for (const Selector& selector : rule.selectors)
      if (selector.matches(module, function, parameter)) return rule.value;
  return {};
}

}  // namespace glasshook::apigen
