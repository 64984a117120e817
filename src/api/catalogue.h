// All API signatures of one platform, loaded from a folder of .api files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/parser.h"
#include "api/signature.h"
#include "api/vocabulary.h"
#include "base/result.h"

namespace glasshook::api {

/// One file to parse: what it is called in messages, and its text.
struct SourceFile {
  std::string name;
  std::string text;
  /// What a lower layer declares hides what a higher one declares under the same name. Files are
  /// given in order of layers.
  std::size_t layer = 0;
};

/// Immutable after loading; safe from any thread. Signatures keep their address for its life.
class ApiCatalogue {
 public:
  /// Parses every `*.api` file directly inside `directory` (apis/linux), in order of name.
  [[nodiscard]] static Result<ApiCatalogue> load(const std::filesystem::path& directory);
  /// The same for several directories, a layer each (SourceFile): what people wrote before what was
  /// generated (apis/windows).
  [[nodiscard]] static Result<ApiCatalogue> load(
      std::span<const std::filesystem::path> directories);
  /// Parses texts. Sets and structures declared in one may be used in all.
  [[nodiscard]] static Result<ApiCatalogue> parse(std::span<const SourceFile> files);

  /// The signature of `function` in a module. `module` is a module name ("libc") or the file name
  /// or path of one of its shared objects ("libc.so.6", "C:\\windows\\system32\\KERNELBASE.dll").
  /// Null when there is none.
  [[nodiscard]] const Signature* find(std::string_view module, std::string_view function) const;
  /// All that match: a glob over "function", or "module!function" when it holds a '!'.
  [[nodiscard]] std::vector<const Signature*> find_all(std::string_view glob) const;
  /// All whose module, name, category or parameters contain `text`, whatever its case.
  [[nodiscard]] std::vector<const Signature*> search(std::string_view text) const;
  [[nodiscard]] std::vector<const Signature*> in_category(std::string_view category) const;
  /// Categories in alphabetical order.
  [[nodiscard]] std::vector<std::string> categories() const;
  /// "module!function" names nearest to a misspelt one, best first. `name` may lack the module.
  [[nodiscard]] std::vector<std::string> nearest(std::string_view name, std::size_t count) const;

  /// The module a shared object belongs to, or null; the first one if it has the functions of
  /// several (kernelbase). `file_name` may be a path.
  [[nodiscard]] const Module* module_of(std::string_view file_name) const;
  [[nodiscard]] const std::vector<Module>& modules() const { return modules_; }
  [[nodiscard]] const std::vector<Signature>& all() const { return signatures_; }
  [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Result<> add(const SourceFile& file);
  Result<> add_modules(std::vector<Module> modules, std::string_view file);
  Result<> add_functions(std::vector<Signature> functions, std::size_t layer);
  Result<> add_vocabulary(Vocabulary vocabulary, const SourceFile& file);
  Result<> check_references() const;

  std::vector<Signature> signatures_;
  std::vector<Module> modules_;
  Vocabulary vocabulary_;
  std::unordered_map<std::string, std::size_t> by_name_;  ///< "module!function"
  // While loading:
  std::vector<std::pair<std::string_view, Reference>> references_;  ///< by file
  std::vector<std::size_t> layers_;                                 ///< of signatures_
  std::unordered_map<std::string, std::size_t> name_layers_;        ///< of sets and structures
};

/// "libc" of "libc.so.6", "libc-2.31.so" or "/usr/lib/libc.so.6": a file name up to ".so", without
/// a version after '-'. "KERNEL32" of "C:\\windows\\KERNEL32.DLL".
[[nodiscard]] std::string_view module_stem(std::string_view file_name);

/// A signature as one line of the signature language, without its category.
[[nodiscard]] std::string to_text(const Signature& signature);

}  // namespace glasshook::api
