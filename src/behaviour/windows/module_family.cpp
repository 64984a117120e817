#include "behaviour/windows/module_family.h"

#include <map>
#include <set>
#include <unordered_map>

#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::uint64_t kCurrentProcess = ~std::uint64_t{0};
constexpr std::uint64_t kSecImage = 0x1000000;  // SEC_IMAGE, winnt.h
constexpr std::uint64_t kExecutable = 0xf0;     // PAGE_EXECUTE ... PAGE_EXECUTE_WRITECOPY

/// The loader makes a section of the file and maps it to be executed; what only reads a file's
/// resources maps it otherwise.
class ModuleFamily final : public WindowsTableFamily<ModuleFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-module"; }
  [[nodiscard]] std::string_view description() const override {
    return "libraries that Windows programs load";
  }

  static std::vector<Rule> rules() {
    return {{"ntdll!NtCreateSection", &ModuleFamily::on_section},
            {"ntdll!NtMapViewOfSection", &ModuleFamily::on_mapped},
            {"ntdll!NtMapViewOfSectionEx", &ModuleFamily::on_mapped}};
  }

 private:
  /// Sections remembered; all are forgotten when there are more.
  static constexpr std::size_t kMostSections = 10'000;
  /// Libraries told of one process.
  static constexpr std::size_t kMostLibraries = 4096;

  void process_ended(const Process& process, Context&) override { told_.erase(process.entity_id); }

  void on_section(const UserCall& call, Context&) {
    if ((call.raw("AllocationAttributes") & kSecImage) == 0) return;
    const ObjectPtr section = objects().find(call, call.number("SectionHandle"));
    const ObjectPtr file = objects().find(call, call.raw("FileHandle"));
    if (section == nullptr || file == nullptr || file->name.empty()) return;
    if (images_.size() >= kMostSections) images_.clear();
    images_[section->id] = file->name;
  }

  void on_mapped(const UserCall& call, Context& context) {
    const char* protection = call.argument("Win32Protect") ? "Win32Protect" : "PageProtection";
    if (call.raw("ProcessHandle") != kCurrentProcess || (call.raw(protection) & kExecutable) == 0)
      return;
    const ObjectPtr section = objects().find(call, call.raw("SectionHandle"));
    const auto image = section != nullptr ? images_.find(section->id) : images_.end();
    if (image == images_.end()) return;
    auto& told = told_[call.process->entity_id];
    if (told.size() >= kMostLibraries || !told.insert(image->second).second) return;
    Event event = make_event("library_loaded");
    add(event, "dll.path", image->second);
    add(event, "dll.name", file_part(image->second));
    add(event, "glasshook.address", hex(call.number("BaseAddress")));
    context.emit(call, std::move(event));
  }

  std::unordered_map<std::uint64_t, std::string> images_;  ///< paths, by section object
  std::map<std::string, std::set<std::string>> told_;      ///< by entity id
};

}  // namespace

std::unique_ptr<Family> make_module_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<ModuleFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
