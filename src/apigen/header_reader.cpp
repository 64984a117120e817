#include "apigen/header_reader.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

#include "apigen/clang_text.h"
#include "apigen/type_reader.h"
#include "base/text.h"

namespace glasshook::apigen {
namespace {

constexpr const char* kMainFile = "glasshook-headers.c";
constexpr std::string_view kConstantPrefix = "glasshook_constant_";
/// Headers that define what marks parameters; all of them guard against a second inclusion.
constexpr std::string_view kMarkHeaders[] = {"sal.h", "specstrings.h", "driverspecs.h"};

/// One parse: text in, cursors out.
class Parse {
 public:
  Parse(const TranslationUnit& unit, const std::string& source, unsigned flags)
      : index_(clang_createIndex(0, 0)) {
    std::vector<std::string> options = {"--target=x86_64-w64-mingw32", "-xc", "-std=gnu17", "-w",
                                        "-ferror-limit=0"};
    options.insert(options.end(), unit.options.begin(), unit.options.end());
    std::vector<const char*> arguments;
    for (const std::string& option : options) arguments.push_back(option.c_str());
    std::vector<CXUnsavedFile> files = {{kMainFile, source.c_str(), source.size()}};
    for (const auto& [name, content] : unit.texts)
      files.push_back({name.c_str(), content.c_str(), content.size()});
    unit_.reset(clang_parseTranslationUnit(index_.get(), kMainFile, arguments.data(),
                                           static_cast<int>(arguments.size()), files.data(),
                                           static_cast<unsigned>(files.size()), flags));
  }

  [[nodiscard]] bool ok() const { return unit_ != nullptr; }
  [[nodiscard]] CXCursor root() const { return clang_getTranslationUnitCursor(unit_.get()); }

  /// The first error that stops a parse (a header that is not there); empty when there is none.
  [[nodiscard]] std::string fatal_error() const {
    for (unsigned i = 0; i < clang_getNumDiagnostics(unit_.get()); ++i) {
      CXDiagnostic diagnostic = clang_getDiagnostic(unit_.get(), i);
      std::string message;
      if (clang_getDiagnosticSeverity(diagnostic) == CXDiagnostic_Fatal)
        message = text(clang_getDiagnosticSpelling(diagnostic));
      clang_disposeDiagnostic(diagnostic);
      if (!message.empty()) return message;
    }
    return {};
  }

 private:
  OwnedIndex index_;
  OwnedUnit unit_;
};

std::string include(std::string_view header) { return "#include <" + std::string(header) + ">\n"; }

/// True when the macro stands for something that may be an expression: it is not empty, and cannot
/// unbalance what is behind it.
bool may_be_constant(CXCursor macro) {
  const CXTranslationUnit unit = clang_Cursor_getTranslationUnit(macro);
  CXToken* tokens = nullptr;
  unsigned count = 0;
  clang_tokenize(unit, clang_getCursorExtent(macro), &tokens, &count);
  int open = 0;
  bool fits = count > 1;
  for (unsigned i = 1; i < count && fits; ++i) {  // the first is the name
    const std::string token = text(clang_getTokenSpelling(unit, tokens[i]));
    if (token == "(") ++open;
    if (token == ")") --open;
    fits = open >= 0 && token != "{" && token != "}" && token != ";" && token != "#" &&
           token != "extern" && token != "static";
  }
  clang_disposeTokens(unit, tokens, count);
  return fits && open == 0;
}

/// With parameters; without; of the latter, those that may be constants.
enum class MacroKind : std::uint8_t { function, object, constant };

/// The names of macros in order.
std::vector<std::string> macro_names(CXCursor root, MacroKind kind,
                                     const std::vector<std::string>& globs = {"*"}) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for_each_child(root, [&](CXCursor cursor) {
    if (cursor.kind != CXCursor_MacroDefinition || clang_Cursor_isMacroBuiltin(cursor)) return;
    const bool has_parameters = clang_Cursor_isMacroFunctionLike(cursor) != 0;
    if (has_parameters != (kind == MacroKind::function)) return;
    std::string name = spelling(cursor);
    const auto matches = [&](const std::string& glob) { return glob_match(glob, name); };
    if (std::ranges::none_of(globs, matches) || !seen.insert(name).second) return;
    if (kind == MacroKind::constant && !may_be_constant(cursor)) return;
    names.push_back(std::move(name));
  });
  return names;
}

/// "in", "out" or "inout" for a mark like _Out_writes_bytes_, __in_opt; empty for other macros.
std::string_view direction_of(std::string_view macro) {
  std::string lower(macro);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::size_t start = lower.find_first_not_of('_');
  if (start == lower.npos || start == 0 || start > 2) return {};
  std::string_view word = std::string_view(lower).substr(start);
  if (word.starts_with("deref_")) word.remove_prefix(6);
  for (const std::string_view direction : {"inout", "in", "out"}) {
    if (!word.starts_with(direction)) continue;
    word.remove_prefix(direction.size());
    if (word.starts_with("ptr")) word.remove_prefix(3);  // _Outptr_
    return word.empty() || word.front() == '_' ? direction : std::string_view{};
  }
  return {};
}

/// Text that makes the marks of parameters visible as attributes.
std::string marks(const TranslationUnit& unit) {
  std::string source;
  for (const std::string_view header : kMarkHeaders)
    source += "#if __has_include(<" + std::string(header) + ">)\n" + include(header) + "#endif\n";
  std::string defined = source;
  const Parse parse(unit, source, CXTranslationUnit_DetailedPreprocessingRecord);
  const auto define = [&](std::string_view name, std::string_view parameters,
                          std::string_view direction) {
    defined +=
        "#undef " + std::string(name) + "\n#define " + std::string(name) + std::string(parameters);
    const auto attribute = [](std::string_view mark) {
      return " __attribute__((annotate(\"" + std::string(mark) + "\")))";
    };
    if (direction != "out") defined += attribute("in");
    if (direction != "in") defined += attribute("out");
    defined += '\n';
  };
  if (parse.ok())
    for (const MacroKind kind : {MacroKind::object, MacroKind::function})
      for (const std::string& name : macro_names(parse.root(), kind))
        if (const std::string_view direction = direction_of(name); !direction.empty())
          define(name, kind == MacroKind::function ? "(...)" : "", direction);
  define("IN", "", "in");
  define("OUT", "", "out");
  return defined;
}

HeaderParameter read_parameter(CXCursor cursor, TypeReader& types) {
  HeaderParameter made{.name = spelling(cursor), .type = types.read(clang_getCursorType(cursor))};
  for_each_child(cursor, [&](CXCursor child) {
    if (child.kind != CXCursor_AnnotateAttr) return;
    const std::string mark = spelling(child);
    made.marked_in |= mark == "in";
    made.marked_out |= mark == "out";
  });
  return made;
}

std::size_t marked(const HeaderFunction& function) {
  return static_cast<std::size_t>(
      std::ranges::count_if(function.parameters, [](const HeaderParameter& parameter) {
        return parameter.marked_in || parameter.marked_out;
      }));
}

void read_function(CXCursor cursor, TypeReader& types, Declarations& declarations) {
  HeaderFunction made{.name = spelling(cursor),
                      .result = types.read(clang_getCursorResultType(cursor)),
                      .parameters = {},
                      .is_variadic = clang_Cursor_isVariadic(cursor) != 0};
  for (int i = 0; i < clang_Cursor_getNumArguments(cursor); ++i)
    made.parameters.push_back(
        read_parameter(clang_Cursor_getArgument(cursor, static_cast<unsigned>(i)), types));
  const auto [known, added] = declarations.functions.try_emplace(made.name, made);
  if (!added && marked(known->second) < marked(made)) known->second = std::move(made);
}

/// Evaluates macros as constants in a second parse that includes the same headers.
void read_constants(const TranslationUnit& unit, std::string source,
                    const std::vector<std::string>& macros, Declarations& declarations) {
  std::set<std::string, std::less<>> known;
  for (const HeaderConstant& constant : declarations.constants) known.insert(constant.name);
  for (const std::string& macro : macros)
    if (!known.contains(macro))
      source += "static const long long " + std::string(kConstantPrefix) + macro +
                " = (long long)(" + macro + ");\n";
  const Parse parse(unit, source, 0);
  if (!parse.ok()) return;
  for_each_child(parse.root(), [&](CXCursor cursor) {
    if (cursor.kind != CXCursor_VarDecl) return;
    const std::string name = spelling(cursor);
    if (!name.starts_with(kConstantPrefix)) return;
    CXEvalResult result = clang_Cursor_Evaluate(cursor);
    if (!result) return;
    if (clang_EvalResult_getKind(result) == CXEval_Int)
      declarations.constants.push_back(
          {name.substr(kConstantPrefix.size()), clang_EvalResult_getAsLongLong(result)});
    clang_EvalResult_dispose(result);
  });
}

}  // namespace

Result<> read_headers(const TranslationUnit& unit, Declarations& declarations) {
  std::string source = marks(unit);
  for (const std::string& header : unit.headers) source += include(header);
  const Parse parse(
      unit, source,
      CXTranslationUnit_DetailedPreprocessingRecord | CXTranslationUnit_SkipFunctionBodies);
  if (!parse.ok()) return fail(ErrorCode::io, "libclang cannot parse the headers");
  if (const std::string error = parse.fatal_error(); !error.empty())
    return fail(ErrorCode::not_found, "{}", error);
  TypeReader types(declarations);
  for_each_child(parse.root(), [&](CXCursor cursor) {
    if (cursor.kind == CXCursor_TypedefDecl) types.note_typedef(cursor);
  });
  for_each_child(parse.root(), [&](CXCursor cursor) {
    if (cursor.kind == CXCursor_FunctionDecl) read_function(cursor, types, declarations);
  });
  read_constants(unit, source, macro_names(parse.root(), MacroKind::constant, unit.constants),
                 declarations);
  return {};
}

}  // namespace glasshook::apigen
