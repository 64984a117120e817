#include "apigen/generator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "apigen/header_reader.h"
#include "apigen/name_sets.h"
#include "apigen/signature_writer.h"
#include "apigen/type_words.h"

namespace glasshook::apigen {
namespace {

/// The declaration of an export. Nt and Zw names are the same functions, and headers declare one of
/// them; K32 ones are psapi's in kernel32.
const HeaderFunction* find_declaration(const Declarations& declarations,
                                       const std::string& symbol) {
  std::vector<std::string> names = {symbol};
  if (symbol.starts_with("Nt")) names.insert(names.begin(), "Zw" + symbol.substr(2));
  if (symbol.starts_with("K32")) names.push_back(symbol.substr(3));
  for (const std::string& name : names)
    if (const auto found = declarations.functions.find(name); found != declarations.functions.end())
      return &found->second;
  return nullptr;
}

bool is_exported(const std::vector<ImportedFunction>& exports, const std::string& name) {
  return std::ranges::find(exports, name, &ImportedFunction::export_name) != exports.end();
}

std::string module_text(const ModuleRule& module, const std::vector<ImportedFunction>& exports,
                        const Declarations& declarations, SignatureWriter& writer, Counts& counts) {
  std::string text = fmt::format("module {} = {}\n\n", module.name, fmt::join(module.objects, " "));
  for (const ImportedFunction& exported : exports) {
    ++counts.exports;
    const std::string& name = exported.export_name;
    if (name.starts_with("Zw") && is_exported(exports, "Nt" + name.substr(2))) continue;
    const HeaderFunction* declared = find_declaration(declarations, exported.symbol);
    if (!declared) continue;
    HeaderFunction function = *declared;
    function.name = name;
    std::vector<std::string> names = {name};
    if (name.starts_with("Nt") && is_exported(exports, "Zw" + name.substr(2)))
      names.push_back("Zw" + name.substr(2));
    const std::string line = writer.line(module, function, names);
    if (line.empty()) continue;
    text += line;
    counts.functions += names.size();
  }
  return text;
}

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (text.empty()) return fail(ErrorCode::io, "cannot read {}", path.string());
  return text;
}

}  // namespace

Result<Generated> generate(const Rules& rules, const Declarations& declarations,
                           const std::map<std::string, std::vector<ImportedFunction>>& imports,
                           std::string_view origin) {
  const std::string banner =
      fmt::format("# Made by glasshook-apigen from {}; do not edit.\n\n", origin);
  Generated made;
  TypeWords types(declarations, rules);
  SignatureWriter writer(rules, types);
  for (const ModuleRule& module : rules.modules) {
    const auto exports = imports.find(module.name);
    if (exports == imports.end()) continue;
    ++made.counts.modules;
    made.files[module.name + ".api"] =
        banner + module_text(module, exports->second, declarations, writer, made.counts);
  }
  std::string names, empty;
  for (const SetRule& rule : rules.sets) {
    const std::string text = set_text(rule, declarations.constants);
    if (text.empty()) empty += " " + rule.name;
    names += text;
  }
  if (!empty.empty())
    return fail(ErrorCode::not_found, "no macros of the headers belong to these sets:{}", empty);
  made.files["generated_structures.api"] = banner + types.structures();
  made.files["generated_names.api"] = banner + names + types.enumerations();
  made.counts.structures = types.structure_count();
  made.counts.constants = declarations.constants.size();
  return made;
}

Result<Generated> generate(const Inputs& inputs) {
  const Result<std::string> text = read_text(inputs.rules);
  if (!text) return std::unexpected(text.error());
  const Result<Rules> rules = parse_rules(*text, inputs.rules.filename().string());
  if (!rules) return std::unexpected(rules.error());

  Declarations declarations;
  for (const HeaderSet& set : rules->headers) {
    TranslationUnit unit{.options = {"-resource-dir", inputs.clang_resources.string(), "-isystem",
                                     inputs.include_directory.string(), "-isystem",
                                     (inputs.include_directory / "ddk").string()},
                         .headers = set.headers,
                         .constants = {},
                         .texts = {}};
    for (const SetRule& rule : rules->sets)
      unit.constants.insert(unit.constants.end(), rule.macros.begin(), rule.macros.end());
    unit.options.insert(unit.options.end(), set.options.begin(), set.options.end());
    if (Result<> read = read_headers(unit, declarations); !read)
      return std::unexpected(read.error());
  }
  std::map<std::string, std::vector<ImportedFunction>> imports;
  for (const ModuleRule& module : rules->modules) {
    auto exports =
        read_import_library(inputs.library_directory / fmt::format("lib{}.a", module.name));
    if (!exports) return std::unexpected(exports.error());
    imports.emplace(module.name, std::move(*exports));
  }
  return generate(*rules, declarations, imports, inputs.origin);
}

}  // namespace glasshook::apigen
