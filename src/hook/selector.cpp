#include "hook/selector.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "api/from_btf.h"
#include "api/nearest.h"
#include "base/text.h"
#include "guest/windows/exports.h"

namespace glasshook::hook {
namespace {

using api::ApiCatalogue;
using api::Signature;

constexpr std::size_t kMaxSelectorLength = 512;

Result<> parse_modifier(std::string_view text, Selector& selector) {
  const std::size_t equal = text.find('=');
  const std::string_view name = text.substr(0, equal);
  if (name == "noret" && equal == std::string_view::npos) {
    selector.options.returns = false;
    return {};
  }
  if (name != "rate" && name != "burst")
    return with_remedy(
        fail(ErrorCode::invalid_argument, "{}: there is no modifier `{}`", selector.text, text),
        "the modifiers are /rate=N, /burst=N and /noret");
  std::uint32_t number = 0;
  const std::string_view value = equal == std::string_view::npos ? "" : text.substr(equal + 1);
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || stop != value.data() + value.size() || number == 0)
    return fail(ErrorCode::invalid_argument, "{}: `{}` needs a number above 0", selector.text,
                name);
  (name == "rate" ? selector.options.rate : selector.options.burst) = number;
  return {};
}

std::string hint(const std::string& near) { return near.empty() ? near : "; " + near; }

/// Looks one selector up and adds what it names.
class Resolver {
 public:
  Resolver(const api::GuestApis& apis, const linux_guest::KernelSymbols* symbols,
           Selection& selection)
      : symbols_(symbols), selection_(selection) {
    platforms_.push_back({&apis.linux(), false});
    if (apis.windows() != nullptr) platforms_.push_back({apis.windows(), true});
  }

  Result<> add(const Selector& selector) {
    if (!selector.category.empty()) return add_category(selector);
    if (selector.module == api::kKernelModule) return add_kernel(selector);
    if (selector.module.empty()) return add_anywhere(selector);
    return add_user(selector);
  }

 private:
  struct Platform {
    const ApiCatalogue* catalogue = nullptr;
    bool windows = false;
  };

  void add_api(const Signature* signature, const WatchOptions& options, bool windows) {
    std::erase_if(selection_.apis, [&](const SelectedApi& a) { return a.signature == signature; });
    selection_.apis.push_back({.signature = signature, .options = options, .windows = windows});
  }

  Result<> add_category(const Selector& selector) {
    std::vector<std::string> modules, categories;
    bool any = false;
    for (const Platform& platform : platforms_) {
      for (const api::Module& module : platform.catalogue->modules())
        modules.push_back(module.name);
      std::ranges::move(platform.catalogue->categories(), std::back_inserter(categories));
      for (const Signature* signature : platform.catalogue->in_category(selector.category)) {
        if (!selector.module.empty() && signature->module != selector.module) continue;
        add_api(signature, selector.options, platform.windows);
        any = true;
      }
    }
    if (any) return {};
    if (!selector.module.empty() && std::ranges::find(modules, selector.module) == modules.end())
      return fail(ErrorCode::not_found, "{}: there is no module `{}`{}", selector.text,
                  selector.module, hint(api::did_you_mean(selector.module, modules)));
    std::ranges::sort(categories);
    categories.erase(std::ranges::unique(categories).begin(), categories.end());
    std::string near = api::did_you_mean(selector.category, categories);
    if (near.empty()) near = fmt::format("the categories are {}", fmt::join(categories, ", "));
    return fail(ErrorCode::not_found, "{}: there is no category `{}`{}", selector.text,
                selector.category, hint(std::move(near)));
  }

  Result<> add_kernel(const Selector& selector) {
    if (symbols_ == nullptr)
      return fail(ErrorCode::unsupported, "{}: the symbols of the guest's kernel are not known",
                  selector.text);
    const std::vector<linux_guest::Symbol> found = symbols_->find_functions(selector.function);
    if (found.empty())
      return fail(
          ErrorCode::not_found, "{}: the kernel has no function `{}`{}", selector.text,
          selector.function,
          hint(api::did_you_mean(selector.function, symbols_->nearest(selector.function, 3))));
    for (const linux_guest::Symbol& symbol : found) {
      std::erase_if(selection_.kernel, [&](const SelectedKernelFunction& function) {
        return function.symbol.address == symbol.address;
      });
      if (selection_.kernel.size() == kMaxKernelFunctions)
        return fail(ErrorCode::limit, "{}: more than {} kernel functions", selector.text,
                    kMaxKernelFunctions);
      selection_.kernel.push_back({symbol, selector.options});
    }
    return {};
  }

  /// A bare function: any signature that has the name, else a kernel function.
  Result<> add_anywhere(const Selector& selector) {
    bool any = false;
    for (const Platform& platform : platforms_)
      any |= add_all(platform, selector.function, selector.options);
    if (any) return {};
    if (symbols_ != nullptr && !symbols_->find_functions(selector.function).empty())
      return add_kernel(selector);
    return with_remedy(fail(ErrorCode::not_found, "{}: no known function has that name{}",
                            selector.text, hint(nearest(selector.function))),
                       "functions without a signature are named with their module: libfoo!bar");
  }

  /// What has signatures is shown with them; for anything else, modules are searched as they load.
  Result<> add_user(const Selector& selector) {
    bool any = false;
    std::string known;
    for (const Platform& platform : platforms_) {
      if (!may_be_of(platform, selector.module)) continue;
      any |= add_all(platform, selector.module + "!" + selector.function, selector.options);
      const api::Module* module = platform.catalogue->module_of(selector.module);
      if (module != nullptr) known = module->name;
    }
    if (any) return {};
    const bool by_ordinal = selector.function.starts_with('#');
    if (!known.empty() && !by_ordinal)
      selection_.notes.push_back(
          fmt::format("{} has no signature: it is hooked where {} exports it, with raw arguments{}",
                      selector.text, known, hint(nearest(known + "!" + selector.function))));
    selection_.exports.push_back({selector.module, std::string(api::module_stem(selector.module)),
                                  selector.function, selector.options});
    return {};
  }

  bool add_all(const Platform& platform, const std::string& pattern, const WatchOptions& options) {
    const std::vector<const Signature*> found = platform.catalogue->find_all(pattern);
    for (const Signature* signature : found) add_api(signature, options, platform.windows);
    return !found.empty();
  }

  /// A module given by its full file name says which platform it is of.
  static bool may_be_of(const Platform& platform, std::string_view module) {
    return platform.windows ? module.find(".so") == module.npos : !windows::is_file_name(module);
  }

  [[nodiscard]] std::string nearest(const std::string& name) const {
    constexpr std::size_t kMost = 3;
    std::vector<std::string> names;
    for (const Platform& platform : platforms_)
      std::ranges::move(platform.catalogue->nearest(name, kMost), std::back_inserter(names));
    std::ranges::stable_sort(names, {}, [&](const std::string& candidate) {
      const std::size_t begin = name.contains('!') ? 0 : candidate.find('!') + 1;
      return edit_distance(name, std::string_view(candidate).substr(begin), name.size());
    });
    names.resize(std::min(names.size(), kMost));
    std::string text;
    for (const std::string& near : names) text += (text.empty() ? "did you mean " : ", ") + near;
    return text.empty() ? text : text + "?";
  }

  std::vector<Platform> platforms_;
  const linux_guest::KernelSymbols* symbols_;
  Selection& selection_;
};

}  // namespace

Result<Selector> parse_selector(std::string_view text) {
  if (text.size() > kMaxSelectorLength)
    return fail(ErrorCode::limit, "a selector is longer than {} characters", kMaxSelectorLength);
  Selector selector;
  selector.text = text;
  // A module may be a path: modifiers stand behind the last '!'.
  const std::size_t bang = text.rfind('!');
  const std::size_t name_at = bang == std::string_view::npos ? 0 : bang + 1;
  std::string_view rest = text.substr(name_at);
  std::string_view name = rest.substr(0, rest.find('/'));
  rest.remove_prefix(name.size());
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view modifier = rest.substr(0, rest.find('/'));
    if (auto parsed = parse_modifier(modifier, selector); !parsed)
      return std::unexpected(parsed.error());
    rest.remove_prefix(modifier.size());
  }
  if (bang != std::string_view::npos) {
    selector.module = text.substr(0, bang);
    selector.function = name;
    if (selector.module.empty())
      return fail(ErrorCode::invalid_argument, "{}: a module is missing before `!`", text);
  } else if (name.starts_with('@')) {
    selector.category = name.substr(1);
  } else if (const std::size_t colon = name.find(':'); colon != std::string_view::npos) {
    selector.module = name.substr(0, colon);
    selector.category = name.substr(colon + 1);
    if (selector.module.empty())
      return fail(ErrorCode::invalid_argument, "{}: a module is missing before `:`", text);
  } else {
    selector.function = name;
  }
  if (selector.function.empty() && selector.category.empty())
    return with_remedy(fail(ErrorCode::invalid_argument, "`{}` names no function", text),
                       "write MODULE!FUNCTION, MODULE:CATEGORY or @CATEGORY");
  return selector;
}

std::size_t take_from(Selection& selection, const Selection& less) {
  std::size_t taken = 0;
  for (const SelectedApi& api : less.apis)
    taken += std::erase_if(selection.apis,
                           [&](const SelectedApi& a) { return a.signature == api.signature; });
  for (const SelectedExport& named : less.exports)
    taken += std::erase_if(selection.exports, [&](const SelectedExport& e) {
      return e.module == named.module && e.function == named.function;
    });
  for (const SelectedKernelFunction& function : less.kernel)
    taken += std::erase_if(selection.kernel, [&](const SelectedKernelFunction& k) {
      return k.symbol.address == function.symbol.address;
    });
  return taken;
}

void add_to(Selection& selection, const Selection& more) {
  take_from(selection, more);
  selection.apis.insert(selection.apis.end(), more.apis.begin(), more.apis.end());
  selection.exports.insert(selection.exports.end(), more.exports.begin(), more.exports.end());
  selection.kernel.insert(selection.kernel.end(), more.kernel.begin(), more.kernel.end());
  selection.notes.insert(selection.notes.end(), more.notes.begin(), more.notes.end());
}

Selection joined(const Selection& families, const Selection& user) {
  Selection all;
  for (SelectedApi api : families.apis) {
    api.audience = {.user = false, .families = true};
    all.apis.push_back(api);
  }
  for (const SelectedApi& api : user.apis) {
    const auto both = std::ranges::find(all.apis, api.signature, &SelectedApi::signature);
    if (both == all.apis.end())
      all.apis.push_back(api);
    else
      both->audience.user = true;
  }
  for (SelectedExport selected : families.exports) {
    selected.audience = {.user = false, .families = true};
    all.exports.push_back(std::move(selected));
  }
  for (const SelectedExport& selected : user.exports) {
    const auto both = std::ranges::find_if(all.exports, [&](const SelectedExport& e) {
      return e.module == selected.module && e.function == selected.function;
    });
    if (both == all.exports.end())
      all.exports.push_back(selected);
    else
      both->audience.user = true;
  }
  all.kernel = user.kernel;
  all.notes = user.notes;
  return all;
}

Result<Selection> resolve(std::span<const Selector> selectors, const api::GuestApis& apis,
                          const linux_guest::KernelSymbols* symbols) {
  Selection selection;
  Resolver resolver(apis, symbols, selection);
  for (const Selector& selector : selectors)
    if (auto added = resolver.add(selector); !added) return std::unexpected(added.error());
  return selection;
}

}  // namespace glasshook::hook
