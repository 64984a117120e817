#include "behaviour/memory/memory_family.h"

#include "behaviour/per_image.h"
#include "behaviour/support.h"
#include "behaviour/time_text.h"

namespace glasshook::behaviour {
namespace {

/// The first page without a file of a program is told at once, the number of all when the process
/// ends: a just-in-time compiler makes thousands. Changed pages of files are few, and each is told.
class MemoryFamily final : public TimedFamily {
 public:
  [[nodiscard]] std::string_view name() const override { return "memory"; }
  [[nodiscard]] std::string_view description() const override {
    return "code run from memory that belongs to no file, or changed since";
  }

  [[nodiscard]] std::vector<hook::HookSpec> hooks() const override { return {}; }
  void on_call(const Call&, Context&) override {}
  [[nodiscard]] bool wants_unbacked_code() const override { return true; }

  void on_unbacked_code(const std::shared_ptr<const Process>& process, std::uint64_t address,
                        std::chrono::system_clock::time_point time, Context& context) override {
    if (!process) return;
    Seen& seen = seen_.of(process);
    seen.lowest = std::min(seen.lowest, address);
    seen.last = time;
    if (++seen.pages == 1) context.emit(describe(process, address, 1, time));
  }

  void on_modified_code(const std::shared_ptr<const Process>& process, const ModifiedCode& code,
                        std::chrono::system_clock::time_point time, Context& context) override {
    if (!process || ++modified_.of(process) > kMostModified) return;
    Event event = make_event("code_modified");
    event.process = process;
    event.time = time;
    add(event, "dll.path", code.path);
    add(event, "dll.name", code.path.substr(code.path.rfind('/') + 1));
    add(event, "glasshook.address", hex(code.address));
    add_number(event, "glasshook.code.changed_bytes", code.bytes);
    if (!code.functions.empty()) add(event, "glasshook.code.functions", code.functions);
    context.emit(std::move(event));
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override {
    if (!process) return;
    if (const Seen* seen = seen_.find(*process); seen != nullptr && seen->pages > 1)
      context.emit(describe(process, seen->lowest, seen->pages, std::max(seen->last, now())));
    seen_.forget(*process);
    modified_.forget(*process);
  }

 private:
  /// Changed pages told of one program; a process that changes its code all the time says nothing
  /// new.
  static constexpr std::uint64_t kMostModified = 64;

  struct Seen {
    std::uint64_t pages = 0;
    std::uint64_t lowest = ~std::uint64_t{0};
    std::chrono::system_clock::time_point last;
  };

  static Event describe(const std::shared_ptr<const Process>& process, std::uint64_t address,
                        std::uint64_t pages, std::chrono::system_clock::time_point time) {
    Event event = make_event("code_executed_unbacked");
    event.process = process;
    event.time = time;
    add(event, "glasshook.address", hex(address));
    add_number(event, "glasshook.pages", pages);
    return event;
  }

  PerImage<Seen> seen_;
  PerImage<std::uint64_t> modified_;
};

}  // namespace

std::unique_ptr<Family> make_memory_family() { return std::make_unique<MemoryFamily>(); }

}  // namespace glasshook::behaviour
