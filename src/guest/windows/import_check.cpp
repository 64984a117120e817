#include "guest/windows/import_check.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "guest/windows/limits.h"
#include "guest/windows/pe_module.h"

namespace glasshook::windows {
namespace {

/// Forwarders behind each other.
constexpr int kMaxHops = 8;
/// Modules whose exports are read, and exports of all of them: a process needs those of the
/// system's few modules that forward.
constexpr std::size_t kMaxReadModules = 32, kMaxReadExports = 65536;
constexpr std::size_t kSlotsAtOnce = 64;

/// A module's memory; offset 0 is its base.
class ModuleMemory final : public ByteSource {
 public:
  ModuleMemory(const ProcessMemory& memory, Gva base) : memory_(memory), base_(base) {}

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    return offset <= ~base_.value && memory_.read(base_.value + offset, out);
  }

 private:
  const ProcessMemory& memory_;
  Gva base_;
};

/// A name that stands for no module of its own; the loader has a table of what it means.
bool is_api_set(std::string_view stem) {
  return stem.starts_with("api-ms-") || stem.starts_with("ext-ms-");
}

class Check {
 public:
  Check(const ProcessMemory& memory, const std::vector<LoadedModule>& modules)
      : memory_(memory), modules_(modules) {
    for (const LoadedModule& module : modules_) by_stem_.emplace(module_stem(module.name), &module);
  }

  std::vector<ReplacedImport> run() {
    for (const LoadedModule& importer : modules_) {
      const auto parsed =
          PeModule::parse(source_of(importer), Layout::memory, PeModule::Parts::without_exports);
      if (!parsed) continue;
      for (const ImportTable::Module& from : parsed->imports().modules()) {
        if (slots_left_ == 0 || found_.size() >= kMaxReplacedImports) return std::move(found_);
        check(importer, parsed->image(), from);
      }
    }
    return std::move(found_);
  }

 private:
  [[nodiscard]] std::shared_ptr<const ByteSource> source_of(const LoadedModule& module) const {
    return std::make_shared<ModuleMemory>(memory_, module.base);
  }

  [[nodiscard]] const LoadedModule* module_at(std::uint64_t address) const {
    for (const LoadedModule& module : modules_)
      if (address - module.base.value < module.size) return &module;
    return nullptr;
  }

  [[nodiscard]] bool is_in(std::string_view stem, std::uint64_t address) const {
    const auto [first, last] = by_stem_.equal_range(std::string(stem));
    return std::any_of(first, last, [&](const auto& item) {
      return address - item.second->base.value < item.second->size;
    });
  }

  /// Null when the module cannot be read.
  const ExportTable* exports_of(const LoadedModule& module) {
    auto known = parsed_.find(&module);
    if (known == parsed_.end()) {
      if (parsed_.size() >= kMaxReadModules || exports_read_ >= kMaxReadExports) return nullptr;
      auto parsed = PeModule::parse(source_of(module), Layout::memory);
      if (parsed) exports_read_ += parsed->exports().all().size();
      known =
          parsed_.emplace(&module, parsed ? std::optional{std::move(*parsed)} : std::nullopt).first;
    }
    return known->second ? &known->second->exports() : nullptr;
  }

  void check(const LoadedModule& importer, const Image& image, const ImportTable::Module& from) {
    const auto name = image.read_string(from.name, kMaxNameBytes);
    if (!name || name->empty()) return;
    const std::string stem = module_stem(*name);
    std::array<std::uint64_t, kSlotsAtOnce> addresses, lookups;
    for (std::uint64_t first = 0; first < kMaxExports; first += kSlotsAtOnce) {
      const std::uint64_t offset = first * sizeof(std::uint64_t);
      // What lies behind the end of the array may not be there.
      std::size_t count = kSlotsAtOnce;
      const auto read = [&](std::uint64_t rva, auto& into) {
        return image.read(rva + offset, std::as_writable_bytes(std::span{into}.first(count)));
      };
      while (count > 0 && (!read(from.lookups, lookups) || !read(from.addresses, addresses)))
        count /= 2;
      for (std::size_t i = 0; i < count; ++i) {
        if (lookups[i] == 0 || slots_left_ == 0 || found_.size() >= kMaxReplacedImports) return;
        --slots_left_;
        if (addresses[i] == 0 || addresses[i] == lookups[i] || is_in(stem, addresses[i])) continue;
        check_slot(importer, image, from, from.addresses + offset + i * sizeof(std::uint64_t),
                   addresses[i]);
      }
      if (count == 0) return;
      first -= kSlotsAtOnce - count;
    }
  }

  void check_slot(const LoadedModule& importer, const Image& image, const ImportTable::Module& from,
                  std::uint64_t slot, std::uint64_t address) {
    const bool waits = from.delayed && address - importer.base.value < importer.size;
    const auto import = waits ? std::nullopt : ImportTable::at(image, from, slot);
    if (!import || may_lead_to(*import, address)) return;
    const LoadedModule* target = module_at(address);
    found_.push_back({.importer = module_stem(importer.name),
                      .import = *import,
                      .slot = importer.base + slot,
                      .target = Gva{address},
                      .target_module = target == nullptr ? "" : module_stem(target->name),
                      .target_offset = target == nullptr ? 0 : address - target->base.value});
  }

  /// True also when nobody can say.
  bool may_lead_to(ExportName import, std::uint64_t address) {
    const LoadedModule* target = module_at(address);
    for (int hop = 0; hop < kMaxHops; ++hop) {
      const auto named = by_stem_.find(import.module);
      if (named == by_stem_.end()) {
        if (!is_api_set(import.module)) return true;
        // Whatever module stands behind it has the export under that name.
        return target != nullptr && has(*target, import, address);
      }
      const LoadedModule& module = *named->second;
      const ExportTable* exports = exports_of(module);
      const Export* entry = exports == nullptr ? nullptr : exports->find(import);
      // Missing ones get a stub that says so when it is called.
      if (entry == nullptr) return true;
      if (entry->forwarder.empty())
        return module.base.value + entry->rva == address || &module == target;
      const auto next = parse_forwarder(entry->forwarder);
      if (!next) return true;
      import = *next;
    }
    return true;
  }

  bool has(const LoadedModule& module, const ExportName& import, std::uint64_t address) {
    const ExportTable* exports = exports_of(module);
    const Export* entry = exports == nullptr ? nullptr : exports->find(import);
    return exports == nullptr || (entry != nullptr && (!entry->forwarder.empty() ||
                                                       module.base.value + entry->rva == address));
  }

  const ProcessMemory& memory_;
  const std::vector<LoadedModule>& modules_;
  std::multimap<std::string, const LoadedModule*> by_stem_;
  std::map<const LoadedModule*, std::optional<PeModule>> parsed_;
  std::vector<ReplacedImport> found_;
  std::size_t slots_left_ = kMaxCheckedSlots, exports_read_ = 0;
};

}  // namespace

std::vector<ReplacedImport> replaced_imports(const ProcessMemory& memory,
                                             const std::vector<LoadedModule>& modules) {
  return Check(memory, modules).run();
}

}  // namespace glasshook::windows
