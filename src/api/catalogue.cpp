#include "api/catalogue.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "api/nearest.h"
#include "api/structures.h"
#include "base/text.h"

namespace glasshook::api {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 4u << 20;

Result<SourceFile> read_source(const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kMaxFileBytes)
    return fail(ErrorCode::io, "cannot read {}: {}", path.string(),
                error ? error.message() : "it is larger than 4 MiB");
  std::ifstream stream(path, std::ios::binary);
  std::string text(size, '\0');
  if (!stream.read(text.data(), std::ssize(text)))
    return fail(ErrorCode::io, "cannot read {}", path.string());
  return SourceFile{.name = path.string(), .text = std::move(text)};
}

/// The `*.api` files of a directory in order of name; at least one.
Result<std::vector<std::filesystem::path>> api_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error))
    if (it->path().extension() == ".api") paths.push_back(it->path());
  if (error)
    return fail(ErrorCode::io, "cannot read the signatures in {}: {}", directory.string(),
                error.message());
  if (paths.empty()) return fail(ErrorCode::not_found, "no .api files in {}", directory.string());
  std::ranges::sort(paths);
  return paths;
}

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

/// True for a field that can say how long something is.
bool is_length(const StructureField& field) {
  return field.type.kind == TypeKind::integer && (field.place == StructureField::Place::value ||
                                                  field.place == StructureField::Place::hidden);
}

/// What is wrong with a reference, or nothing.
Result<> check(const Vocabulary& vocabulary, std::string_view file, const Reference& reference) {
  if (reference.kind == Reference::Kind::structure) {
    if (vocabulary.find_structure(reference.name)) return {};
    return error_at(file, reference.place, fmt::format("unknown structure '{}'", reference.name),
                    did_you_mean(reference.name, keys(vocabulary.structures)));
  }
  if (reference.kind == Reference::Kind::length) {
    const StructureField* field = vocabulary.find_field(reference.name, reference.names[0]);
    if (field && is_length(*field)) return {};
    return error_at(file, reference.place,
                    reference.names[0].empty() ? fmt::format("'{}' is no integer", reference.name)
                                               : fmt::format("'{}' has no integer '{}'",
                                                             reference.name, reference.names[0]));
  }
  const ValueSet* set = vocabulary.find_set(reference.name);
  if (!set)
    return error_at(file, reference.place, fmt::format("unknown set '{}'", reference.name),
                    did_you_mean(reference.name, keys(vocabulary.sets)));
  if (reference.kind == Reference::Kind::flags && !set->is_flags)
    return error_at(file, reference.place, fmt::format("'{}' is an enum", set->name),
                    fmt::format("write enum<{}>", set->name));
  if (reference.kind == Reference::Kind::enumeration && set->is_flags)
    return error_at(file, reference.place, fmt::format("'{}' is a flag set", set->name),
                    fmt::format("write flags<{}>", set->name));
  for (const std::string& wanted : reference.names) {
    if (std::ranges::find(set->values, wanted, &NamedValue::name) != set->values.end()) continue;
    std::vector<std::string> names;
    for (const NamedValue& value : set->values) names.push_back(value.name);
    return error_at(file, reference.place, fmt::format("'{}' is not in {}", wanted, set->name),
                    did_you_mean(wanted, names));
  }
  return {};
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string key(std::string_view module, std::string_view function) {
  return fmt::format("{}!{}", module, function);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    const auto lower_of = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : int{c}; };
    return lower_of(x) == lower_of(y);
  });
}

/// True when `name` is the module or one of its shared objects (file name or path). File names of
/// Windows have no case.
bool describes(const Module& module, std::string_view name) {
  const std::string_view stem = module_stem(name);
  return module.name == name || std::ranges::any_of(module.objects, [&](const std::string& object) {
           return equal_ignoring_case(object, stem);
         });
}

}  // namespace

std::string_view module_stem(std::string_view file_name) {
  constexpr std::string_view kDll = ".dll";
  if (const std::size_t slash = file_name.find_last_of("/\\"); slash != file_name.npos)
    file_name.remove_prefix(slash + 1);
  if (file_name.size() > kDll.size() &&
      equal_ignoring_case(file_name.substr(file_name.size() - kDll.size()), kDll))
    return file_name.substr(0, file_name.size() - kDll.size());
  if (const std::size_t suffix = file_name.find(".so"); suffix != file_name.npos)
    file_name = file_name.substr(0, suffix);
  const std::size_t dash = file_name.rfind('-');
  if (dash != file_name.npos && dash + 1 < file_name.size() && file_name[dash + 1] >= '0' &&
      file_name[dash + 1] <= '9')
    file_name = file_name.substr(0, dash);
  return file_name;
}

Result<ApiCatalogue> ApiCatalogue::load(const std::filesystem::path& directory) {
  return load({&directory, 1});
}

Result<ApiCatalogue> ApiCatalogue::load(std::span<const std::filesystem::path> directories) {
  std::vector<SourceFile> files;
  for (std::size_t layer = 0; layer < directories.size(); ++layer) {
    const Result<std::vector<std::filesystem::path>> paths = api_files(directories[layer]);
    if (!paths) return std::unexpected(paths.error());
    for (const std::filesystem::path& path : *paths) {
      Result<SourceFile> file = read_source(path);
      if (!file) return std::unexpected(std::move(file.error()));
      file->layer = layer;
      files.push_back(std::move(*file));
    }
  }
  return parse(files);
}

Result<ApiCatalogue> ApiCatalogue::parse(std::span<const SourceFile> files) {
  ApiCatalogue catalogue;
  add_builtin_structures(catalogue.vocabulary_);
  for (const SourceFile& file : files)
    if (Result<> added = catalogue.add(file); !added) return std::unexpected(added.error());
  if (Result<> checked = catalogue.check_references(); !checked)
    return std::unexpected(checked.error());
  for (Module& module : catalogue.modules_)
    if (module.objects.empty()) module.objects.push_back(module.name);
  catalogue.references_.clear();
  catalogue.layers_ = {};
  catalogue.name_layers_ = {};
  return catalogue;
}

Result<> ApiCatalogue::add(const SourceFile& file) {
  Result<ParsedFile> parsed = parse_api_file(file.text, file.name);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  if (Result<> added = add_modules(std::move(parsed->modules), file.name); !added) return added;
  if (Result<> added = add_functions(std::move(parsed->functions), file.layer); !added)
    return added;
  for (Reference& reference : parsed->references)
    references_.emplace_back(file.name, std::move(reference));
  return add_vocabulary(std::move(parsed->vocabulary), file);
}

Result<> ApiCatalogue::add_modules(std::vector<Module> modules, std::string_view file) {
  for (Module& module : modules) {
    const auto known = std::ranges::find(modules_, module.name, &Module::name);
    if (known == modules_.end()) {
      modules_.push_back(std::move(module));
    } else if (known->objects.empty()) {
      known->objects = std::move(module.objects);
    } else if (!module.objects.empty() && known->objects != module.objects) {
      return fail(ErrorCode::invalid_argument, "{}: module {} names other objects than before",
                  file, module.name);
    }
  }
  return {};
}

Result<> ApiCatalogue::add_functions(std::vector<Signature> functions, std::size_t layer) {
  for (Signature& function : functions) {
    const auto [known, added] =
        by_name_.emplace(key(function.module, function.name), signatures_.size());
    if (added) {
      signatures_.push_back(std::move(function));
      layers_.push_back(layer);
    } else if (layers_[known->second] == layer) {
      return fail(ErrorCode::invalid_argument, "{} is declared twice", known->first);
    }
  }
  return {};
}

Result<> ApiCatalogue::add_vocabulary(Vocabulary vocabulary, const SourceFile& file) {
  const auto twice = [&](const std::string& name) {
    return fail(ErrorCode::invalid_argument, "{}: '{}' is declared in another file too", file.name,
                name);
  };
  for (auto& [name, set] : vocabulary.sets) {
    const auto [known, added] = name_layers_.emplace("set " + name, file.layer);
    if (!added && known->second == file.layer) return twice(name);
    if (added) vocabulary_.sets.emplace(name, std::move(set));
  }
  for (auto& [name, layout] : vocabulary.structures) {
    const auto [known, added] = vocabulary_.structures.emplace(name, layout);
    const auto declared = name_layers_.emplace("struct " + name, file.layer).first;
    if (!added && known->second != layout && declared->second == file.layer) return twice(name);
  }
  return {};
}

Result<> ApiCatalogue::check_references() const {
  for (const auto& [file, reference] : references_)
    if (Result<> checked = check(vocabulary_, file, reference); !checked) return checked;
  return {};
}

const Module* ApiCatalogue::module_of(std::string_view file_name) const {
  const auto found = std::ranges::find_if(
      modules_, [&](const Module& module) { return describes(module, file_name); });
  return found == modules_.end() ? nullptr : &*found;
}

const Signature* ApiCatalogue::find(std::string_view module, std::string_view function) const {
  for (const Module& known : modules_) {
    if (!describes(known, module)) continue;
    if (const auto found = by_name_.find(key(known.name, function)); found != by_name_.end())
      return &signatures_[found->second];
  }
  return nullptr;
}

std::vector<const Signature*> ApiCatalogue::find_all(std::string_view glob) const {
  const std::size_t bang = glob.find('!');
  const std::string_view module = bang == glob.npos ? "*" : glob.substr(0, bang);
  const std::string_view function = bang == glob.npos ? glob : glob.substr(bang + 1);
  std::set<std::string_view> named;
  for (const Module& known : modules_)
    if (describes(known, module) || glob_match(module, known.name)) named.insert(known.name);
  std::vector<const Signature*> found;
  for (const Signature& s : signatures_)
    if (glob_match(function, s.name) && named.contains(s.module)) found.push_back(&s);
  return found;
}

std::vector<const Signature*> ApiCatalogue::search(std::string_view text) const {
  const std::string wanted = lower(text);
  std::vector<const Signature*> found;
  for (const Signature& s : signatures_)
    if (lower(fmt::format("{}: {}!{}", s.category, s.module, to_text(s))).contains(wanted))
      found.push_back(&s);
  return found;
}

std::vector<const Signature*> ApiCatalogue::in_category(std::string_view category) const {
  std::vector<const Signature*> found;
  for (const Signature& s : signatures_)
    if (s.category == category) found.push_back(&s);
  return found;
}

std::vector<std::string> ApiCatalogue::categories() const {
  std::set<std::string> names;
  for (const Signature& s : signatures_) names.insert(s.category);
  return {names.begin(), names.end()};
}

std::vector<std::string> ApiCatalogue::nearest(std::string_view name, std::size_t count) const {
  const std::size_t bang = name.find('!');
  std::vector<std::string> candidates;
  if (bang != name.npos) {
    for (const auto& [full, position] : by_name_) candidates.push_back(full);
    const Module* module = module_of(name.substr(0, bang));
    const std::string wanted =
        module ? key(module->name, name.substr(bang + 1)) : std::string(name);
    return nearest_names(wanted, candidates, count);
  }
  for (const Signature& s : signatures_) candidates.push_back(s.name);
  std::vector<std::string> best;
  for (const std::string& function : nearest_names(name, candidates, count))
    for (const Signature& s : signatures_)
      if (s.name == function && best.size() < count) best.push_back(key(s.module, s.name));
  return best;
}

std::string to_text(const Signature& signature) {
  std::string text = signature.name + "(";
  for (std::size_t i = 0; i < signature.parameters.size(); ++i) {
    const Parameter& p = signature.parameters[i];
    if (i > 0) text += ", ";
    if (p.direction != Direction::in) text += p.direction == Direction::out ? "out " : "inout ";
    text += p.name + ": " + p.type.spelling;
    if (p.only_if.parameter.empty()) continue;
    text += fmt::format(" if {} & {}", p.only_if.parameter, fmt::join(p.only_if.names, "|"));
  }
  if (signature.variadic) text += signature.parameters.empty() ? "..." : ", ...";
  text += ") -> ";
  text += signature.returns ? signature.result.spelling : "never";
  const std::string_view failure = failure_spelling(signature.convention);
  return failure.empty() ? text : fmt::format("{} ! {}", text, failure);
}

}  // namespace glasshook::api
