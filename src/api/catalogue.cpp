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
  if (std::filesystem::file_size(path, error) > kMaxFileBytes || error)
    return fail(ErrorCode::io, "cannot read {}: {}", path.string(),
                error ? error.message() : "it is larger than 4 MiB");
  std::ifstream stream(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) return fail(ErrorCode::io, "cannot read {}", path.string());
  return SourceFile{path.string(), std::move(text)};
}

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

/// What is wrong with a reference, or nothing.
Result<> check(const Vocabulary& vocabulary, const std::string& file, const Reference& reference) {
  if (reference.kind == Reference::Kind::structure) {
    if (vocabulary.find_structure(reference.name)) return {};
    return error_at(file, reference.place, fmt::format("unknown structure '{}'", reference.name),
                    did_you_mean(reference.name, keys(vocabulary.structures)));
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

}  // namespace

std::string_view module_stem(std::string_view file_name) {
  if (const std::size_t slash = file_name.rfind('/'); slash != file_name.npos)
    file_name.remove_prefix(slash + 1);
  if (const std::size_t suffix = file_name.find(".so"); suffix != file_name.npos)
    file_name = file_name.substr(0, suffix);
  const std::size_t dash = file_name.rfind('-');
  if (dash != file_name.npos && dash + 1 < file_name.size() && file_name[dash + 1] >= '0' &&
      file_name[dash + 1] <= '9')
    file_name = file_name.substr(0, dash);
  return file_name;
}

Result<ApiCatalogue> ApiCatalogue::load(const std::filesystem::path& directory) {
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
  std::vector<SourceFile> files;
  for (const std::filesystem::path& path : paths) {
    Result<SourceFile> file = read_source(path);
    if (!file) return std::unexpected(std::move(file.error()));
    files.push_back(std::move(*file));
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
  if (Result<> indexed = catalogue.index(); !indexed) return std::unexpected(indexed.error());
  catalogue.references_.clear();
  return catalogue;
}

Result<> ApiCatalogue::add(const SourceFile& file) {
  Result<ParsedFile> parsed = parse_api_file(file.text, file.name);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  for (Module& module : parsed->modules) {
    const auto known = std::ranges::find(modules_, module.name, &Module::name);
    if (known == modules_.end())
      modules_.push_back(std::move(module));
    else if (known->objects != module.objects)
      return fail(ErrorCode::invalid_argument, "{}: module {} names other objects than before",
                  file.name, module.name);
  }
  std::ranges::move(parsed->functions, std::back_inserter(signatures_));
  for (Reference& reference : parsed->references)
    references_.emplace_back(file.name, std::move(reference));
  return add_vocabulary(std::move(parsed->vocabulary), file.name);
}

Result<> ApiCatalogue::add_vocabulary(Vocabulary vocabulary, std::string_view file) {
  for (auto& [name, set] : vocabulary.sets)
    if (!vocabulary_.sets.emplace(name, std::move(set)).second)
      return fail(ErrorCode::invalid_argument, "{}: '{}' is declared in another file too", file,
                  name);
  for (auto& [name, layout] : vocabulary.structures) {
    const auto [known, added] = vocabulary_.structures.emplace(name, layout);
    if (!added && known->second != layout)
      return fail(ErrorCode::invalid_argument, "{}: '{}' is declared in another file too", file,
                  name);
  }
  return {};
}

Result<> ApiCatalogue::check_references() const {
  for (const auto& [file, reference] : references_)
    if (Result<> checked = check(vocabulary_, file, reference); !checked) return checked;
  return {};
}

Result<> ApiCatalogue::index() {
  for (std::size_t i = 0; i < signatures_.size(); ++i) {
    std::string name = key(signatures_[i].module, signatures_[i].name);
    if (!by_name_.emplace(name, i).second)
      return fail(ErrorCode::invalid_argument, "{} is declared twice", name);
  }
  return {};
}

const Module* ApiCatalogue::module_of(std::string_view file_name) const {
  const std::string_view stem = module_stem(file_name);
  for (const Module& module : modules_)
    if (module.name == file_name || std::ranges::find(module.objects, stem) != module.objects.end())
      return &module;
  return nullptr;
}

const Signature* ApiCatalogue::find(std::string_view module, std::string_view function) const {
  const Module* known = module_of(module);
  if (!known) return nullptr;
  const auto found = by_name_.find(key(known->name, function));
  return found == by_name_.end() ? nullptr : &signatures_[found->second];
}

std::vector<const Signature*> ApiCatalogue::find_all(std::string_view glob) const {
  const std::size_t bang = glob.find('!');
  const std::string_view module = bang == glob.npos ? "*" : glob.substr(0, bang);
  const std::string_view function = bang == glob.npos ? glob : glob.substr(bang + 1);
  const Module* named = module_of(module);
  std::vector<const Signature*> found;
  for (const Signature& s : signatures_)
    if ((named ? s.module == named->name : glob_match(module, s.module)) &&
        glob_match(function, s.name))
      found.push_back(&s);
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
