#include "behaviour/memory/memory_family.h"

#include "behaviour/per_image.h"
#include "behaviour/support.h"
#include "behaviour/time_text.h"

namespace glasshook::behaviour {
namespace {

/// The first such page of a program is told at once, the number of all when the process ends:
/// a just-in-time compiler makes thousands.
class MemoryFamily final : public TimedFamily {
 public:
  [[nodiscard]] std::string_view name() const override { return "memory"; }
  [[nodiscard]] std::string_view description() const override {
    return "code run from memory that belongs to no file";
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

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override {
    if (!process) return;
    if (const Seen* seen = seen_.find(*process); seen != nullptr && seen->pages > 1)
      context.emit(describe(process, seen->lowest, seen->pages, std::max(seen->last, now())));
    seen_.forget(*process);
  }

 private:
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
};

}  // namespace

std::unique_ptr<Family> make_memory_family() { return std::make_unique<MemoryFamily>(); }

}  // namespace glasshook::behaviour
