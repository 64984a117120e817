// glasshook apis: the API signatures that can be hooked by name with typed arguments.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "cli/catalogue.h"
#include "cli/command.h"
#include "cli/diagnostics.h"
#include "cli/listing.h"

namespace glasshook::cli {
namespace {

using api::ApiCatalogue;
using api::Signature;

struct Options {
  std::string category;
  std::string name;
  std::string text;
  bool json = false;
  bool names = false;
};

/// All platforms' signatures, searched one after the other.
class Catalogues {
 public:
  static Result<Catalogues> load() {
    Catalogues made;
    for (const ApiPlatform platform : {ApiPlatform::linux, ApiPlatform::windows}) {
      auto loaded = load_catalogue(platform);
      if (!loaded) return std::unexpected(std::move(loaded.error()));
      made.all_.push_back(std::move(*loaded));
    }
    return made;
  }

  /// What `find` (from a catalogue to signatures or texts) returns for each, one behind the other.
  template <class Find>
  auto collect(Find find) const {
    decltype(find(all_.front())) found;
    for (const ApiCatalogue& catalogue : all_)
      std::ranges::move(find(catalogue), std::back_inserter(found));
    return found;
  }

  [[nodiscard]] const std::vector<ApiCatalogue>& all() const { return all_; }

  /// The names nearest to a misspelt one, of all platforms.
  [[nodiscard]] std::vector<std::string> nearest(const std::string& name, std::size_t count) const {
    auto names = collect([&](const ApiCatalogue& c) { return c.nearest(name, count); });
    std::ranges::stable_sort(names, {}, [&](const std::string& candidate) {
      const bool has_module = name.contains('!');
      const std::size_t begin = has_module ? 0 : candidate.find('!') + 1;
      return edit_distance(name, std::string_view(candidate).substr(begin), name.size());
    });
    names.resize(std::min(names.size(), count));
    return names;
  }

 private:
  std::vector<ApiCatalogue> all_;
};

std::string full_name(const Signature& signature) {
  return signature.module + "!" + signature.name;
}

Listing listing_of(const std::vector<const Signature*>& signatures) {
  Listing listing({{"API", "name"}, {"CATEGORY", "category"}, {"SIGNATURE", "signature"}});
  for (const Signature* s : signatures) listing.add({full_name(*s), s->category, api::to_text(*s)});
  return listing;
}

int print_signatures(const std::vector<const Signature*>& signatures, const Options& options,
                     ColorMode color) {
  if (options.names) {
    std::string lines;
    for (const Signature* s : signatures) lines += full_name(*s) + "\n";
    write_all(STDOUT_FILENO, lines);
  } else {
    listing_of(signatures).print(options.json, use_color(color, STDOUT_FILENO));
  }
  return kSuccess;
}

Result<int> list(const Options& options, ColorMode color) {
  const auto catalogues = Catalogues::load();
  if (!catalogues) return std::unexpected(catalogues.error());
  const auto chosen = catalogues->collect([&](const ApiCatalogue& catalogue) {
    if (!options.category.empty()) return catalogue.in_category(options.category);
    std::vector<const Signature*> all;
    for (const Signature& signature : catalogue.all()) all.push_back(&signature);
    return all;
  });
  if (!chosen.empty()) return print_signatures(chosen, options, color);
  auto categories = catalogues->collect([](const ApiCatalogue& c) { return c.categories(); });
  std::ranges::sort(categories);
  categories.erase(std::ranges::unique(categories).begin(), categories.end());
  return with_remedy(fail(ErrorCode::not_found, "there is no category '{}'", options.category),
                     fmt::format("one of {}", fmt::join(categories, ", ")));
}

Result<int> search(const Options& options, ColorMode color) {
  const auto catalogues = Catalogues::load();
  if (!catalogues) return std::unexpected(catalogues.error());
  const auto found =
      catalogues->collect([&](const ApiCatalogue& c) { return c.search(options.text); });
  if (found.empty())
    return with_remedy(fail(ErrorCode::not_found, "no API has to do with '{}'", options.text),
                       "glasshook apis list");
  return print_signatures(found, options, color);
}

std::string_view words(api::Direction direction) {
  switch (direction) {
    case api::Direction::in:
      return "in";
    case api::Direction::out:
      return "out";
    case api::Direction::inout:
      break;
  }
  return "in and out";
}

std::string_view failure_words(api::ResultConvention convention) {
  using enum api::ResultConvention;
  switch (convention) {
    case plain:
      return "has no failure value";
    case errno_if_minus_one:
      return "-1 on failure, with the reason in errno";
    case errno_if_null:
      return "NULL on failure, with the reason in errno";
    case errno_if_negative:
      return "a negative errno on failure";
    case error_pointer:
      return "an address in the last page, a negative errno, on failure";
    case errno_returned:
      return "an errno on failure, 0 on success";
    case null_fails:
      return "NULL on failure";
    case nonzero_fails:
      return "anything but 0 on failure";
    case last_error_if_minus_one:
      return "-1 on failure (INVALID_HANDLE_VALUE, SOCKET_ERROR), with the reason in the thread's "
             "last error";
    case last_error_if_null:
      return "0 on failure (FALSE, NULL), with the reason in the thread's last error";
    case ntstatus:
      return "an NTSTATUS, negative on failure";
    case hresult:
      return "an HRESULT, negative on failure";
    case win32_error:
      return "a Win32 error on failure, 0 on success";
  }
  return "";
}

std::string set_names(const api::ValueSet& set) {
  std::string names;
  for (const api::NamedValue& value : set.values) {
    if (!names.empty()) names += set.is_flags ? "|" : " ";
    names += value.name;
  }
  return names;
}

/// `{Length, Name: utf16}`: fields whose type says more than their size with it.
std::string field_names(const api::StructureLayout& layout) {
  std::string names;
  for (const api::StructureField& field : layout.fields) {
    if (field.place == api::StructureField::Place::hidden) continue;
    if (!names.empty()) names += ", ";
    names += field.name + ": " + field.type.spelling;
  }
  return "{" + names + "}";
}

/// What stands behind the names in a type: of a set, also behind a pointer; of a structure's
/// fields.
std::string value_names(const ApiCatalogue& catalogue, const api::Type& type) {
  const api::Vocabulary& vocabulary = catalogue.vocabulary();
  if (const api::ValueSet* set = vocabulary.find_set(type.name)) return set_names(*set);
  const api::StructureLayout* layout = vocabulary.find_structure(type.name);
  if (type.kind != api::TypeKind::structure || !layout || layout->fields.empty()) return "";
  if (!layout->fields[0].name.empty()) return field_names(*layout);
  const api::ValueSet* set = vocabulary.find_set(layout->fields[0].type.name);
  return set ? set_names(*set) : "";
}

std::string describe(const ApiCatalogue& catalogue, const Signature& s) {
  std::string out = fmt::format("{}\n  {}\n", full_name(s), api::to_text(s));
  out += fmt::format("  category  {}\n", s.category);
  if (const api::Module* module = catalogue.module_of(s.module))
    out += fmt::format("  in        {}\n", fmt::join(module->objects, ", "));
  for (const api::Parameter& p : s.parameters) {
    out += fmt::format("  {:<9} {}, {}", p.name, p.type.spelling, words(p.direction));
    if (!p.only_if.parameter.empty())
      out += fmt::format(", with {} in {}", fmt::join(p.only_if.names, "|"), p.only_if.parameter);
    out += '\n';
    if (const std::string names = value_names(catalogue, p.type); !names.empty())
      out += fmt::format("            {}\n", names);
  }
  if (s.returns)
    out += fmt::format("  result    {}, {}\n", s.result.spelling, failure_words(s.convention));
  else
    out += "  result    it never returns\n";
  return out;
}

std::string hook_hint(const std::string& name) {
  return fmt::format("  watch it  glasshook trace -e '{}' -- COMMAND\n", name);
}

Result<int> show(const Options& options, ColorMode color) {
  const auto catalogues = Catalogues::load();
  if (!catalogues) return std::unexpected(catalogues.error());
  const auto found =
      catalogues->collect([&](const ApiCatalogue& c) { return c.find_all(options.name); });
  if (found.empty()) {
    auto missing = fail(ErrorCode::not_found, "there is no API '{}'", options.name);
    if (options.name.starts_with("kernel!"))
      return with_remedy(std::move(missing),
                         "hook it as it is: the guest's own types say what its arguments are");
    const auto names = catalogues->nearest(options.name, 3);
    return with_remedy(std::move(missing), names.empty()
                                               ? "glasshook apis search TEXT"
                                               : fmt::format("{}", fmt::join(names, " or ")));
  }
  if (options.json) return print_signatures(found, options, color);
  std::string out;
  for (const ApiCatalogue& catalogue : catalogues->all())
    for (const Signature* s : catalogue.find_all(options.name))
      out += (out.empty() ? "" : "\n") + describe(catalogue, *s) + hook_hint(full_name(*s));
  write_all(STDOUT_FILENO, out);
  return kSuccess;
}

}  // namespace

void add_apis(CommandBuilder program) {
  const CommandBuilder command = program.add("apis", "List, show and search API signatures");
  command.needs_subcommand();
  auto options = std::make_shared<Options>();
  const auto add = [&](const char* name, const char* description, auto run) {
    const CommandBuilder sub = command.add(name, description);
    sub.flag("--json", options->json, "JSON Lines instead of a table");
    sub.runs([options, run](const Invocation& i) { return run(*options, i.color); });
    return sub;
  };
  const CommandBuilder lister = add("list", "All signatures", list);
  lister.value("--category", options->category, "Only that category", "NAME");
  lister.flag("--names", options->names, "Only the names, one a line");
  add("show", "Arguments, flags and result of an API", show)
      .value("NAME", options->name, "\"open\", \"libc!open\" or a glob: \"libc!*at\"", "API")
      .required();
  add("search", "Signatures that contain a text", search)
      .value("TEXT", options->text, "Part of a name, category or parameter")
      .required();
  command.footer(
      "Functions that are not listed can be hooked too: any exported function of any library as\n"
      "MODULE!FUNCTION (arguments as plain words), any kernel function as kernel!FUNCTION\n"
      "(arguments typed from the guest's own BTF).\n"
      "\n"
      "Examples:\n"
      "  glasshook apis list --category network\n"
      "  glasshook apis show libc!open\n"
      "  glasshook apis show 'kernelbase!CreateFile*'\n"
      "  glasshook apis search socket");
}

}  // namespace glasshook::cli
