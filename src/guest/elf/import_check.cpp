#include "guest/elf/import_check.h"

#include <algorithm>
#include <array>
#include <optional>

namespace glasshook::elf {
namespace {

constexpr std::uint64_t kPage = 4096;

class Check {
 public:
  Check(std::span<const LoadedModule> modules, const ReadProcess& read,
        const std::function<bool(std::uint64_t)>& is_kernels)
      : modules_(modules), read_(read), is_kernels_(is_kernels) {}

  std::vector<ReplacedImport> run() {
    for (const LoadedModule& importer : modules_)
      for (const Import& import : *importer.imports) {
        if (slots_left_ == 0 || found_.size() >= kMaxReplacedImports) return std::move(found_);
        --slots_left_;
        check(importer, import);
      }
    return std::move(found_);
  }

 private:
  void check(const LoadedModule& importer, const Import& import) {
    const std::uint64_t slot = importer.bias + import.slot;
    const auto address = word(slot);
    if (!address || *address == 0 || holds(importer, *address)) return;
    const LoadedModule* target = module_at(*address);
    if (target != nullptr ? may_lead_into(*target, import.name, *address)
                          : is_data_or_unknown(import.name) || is_kernels_(*address))
      return;
    found_.push_back({.importer = importer.name,
                      .function = import.name,
                      .slot = slot,
                      .target = *address,
                      .target_module = target == nullptr ? "" : target->name,
                      .target_offset = target == nullptr ? 0 : *address - start_of(*target)});
  }

  [[nodiscard]] static bool holds(const LoadedModule& module, std::uint64_t address) {
    return module.module->bounds().contains(address - module.bias);
  }
  [[nodiscard]] static std::uint64_t start_of(const LoadedModule& module) {
    return module.bias + module.module->bounds().begin;
  }
  [[nodiscard]] const LoadedModule* module_at(std::uint64_t address) const {
    for (const LoadedModule& module : modules_)
      if (holds(module, address)) return &module;
    return nullptr;
  }

  /// The symbols of that name, of all versions.
  [[nodiscard]] static auto named(const LoadedModule& module, std::string_view name) {
    return std::ranges::equal_range(module.module->exports().symbols(), name, {}, &Symbol::name);
  }

  [[nodiscard]] bool may_lead_into(const LoadedModule& target, std::string_view name,
                                   std::uint64_t address) const {
    // Programs that are not relocated hand out addresses of their own procedure linkage table.
    if (!target.module->is_position_independent() || !target.module->exports_complete())
      return true;
    for (const Symbol& symbol : named(target, name))
      // A resolver gives any function of its module.
      if (symbol.kind != SymbolKind::function || symbol.value + target.bias == address) return true;
    return is_data_or_unknown(name);
  }

  /// Also when no module that could export it is known, while one is not all known.
  [[nodiscard]] bool is_data_or_unknown(std::string_view name) const {
    bool exported = false, unknown = false;
    for (const LoadedModule& module : modules_) {
      unknown |= !module.module->exports_complete();
      for (const Symbol& symbol : named(module, name)) {
        if (symbol.kind == SymbolKind::object || symbol.kind == SymbolKind::other) return true;
        exported = true;
      }
    }
    return unknown && !exported;
  }

  std::optional<std::uint64_t> word(std::uint64_t address) {
    std::uint64_t value = 0;
    if (address % kPage > kPage - sizeof value) return std::nullopt;
    if (address / kPage != page_) {
      page_ = address / kPage;
      has_page_ = read_(page_ * kPage, bytes_);
    }
    if (!has_page_) return std::nullopt;
    std::copy_n(bytes_.data() + address % kPage, sizeof value,
                reinterpret_cast<std::byte*>(&value));
    return value;
  }

  std::span<const LoadedModule> modules_;
  const ReadProcess& read_;
  const std::function<bool(std::uint64_t)>& is_kernels_;
  std::vector<ReplacedImport> found_;
  std::size_t slots_left_ = kMaxCheckedSlots;
  std::array<std::byte, kPage> bytes_;  ///< of the page read last: slots lie side by side
  std::uint64_t page_ = ~std::uint64_t{0};
  bool has_page_ = false;
};

}  // namespace

std::vector<ReplacedImport> replaced_imports(std::span<const LoadedModule> modules,
                                             const ReadProcess& read,
                                             const std::function<bool(std::uint64_t)>& is_kernels) {
  return Check(modules, read, is_kernels).run();
}

}  // namespace glasshook::elf
