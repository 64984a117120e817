// Who could have written to the kernel's memory, where nobody saw the write itself.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "behaviour/event.h"

namespace glasshook::behaviour {

/// How somebody came to be able to write to the kernel's code and tables, which are read-only. From
/// the weakest evidence to the strongest.
enum class Means : std::uint8_t {
  module_load,      ///< loaded a module
  write_protect,    ///< cleared CR0.WP: read-only pages are written to
  page_attributes,  ///< set_memory_rw() of the very place
};

struct Suspect {
  Means means = Means::module_load;
  std::shared_ptr<const Process> process;
  std::uint64_t begin = 0, end = ~std::uint64_t{0};  ///< addresses that could be written to
  std::chrono::system_clock::time_point time;
};

/// Remembers those of the last minute: longer than it takes until all code was compared.
class Suspects {
 public:
  static constexpr std::chrono::seconds kMemory{60};
  static constexpr std::size_t kMost = 256;

  void note(Suspect suspect) {
    if (!suspect.process) return;
    if (suspects_.size() >= kMost) suspects_.erase(suspects_.begin());
    suspects_.push_back(std::move(suspect));
  }
  /// The last one of those with the strongest evidence; null when nobody is suspected.
  [[nodiscard]] const Suspect* of(std::uint64_t address,
                                  std::chrono::system_clock::time_point now) {
    std::erase_if(suspects_, [&](const Suspect& s) { return s.time + kMemory < now; });
    const Suspect* best = nullptr;
    for (const Suspect& s : suspects_)
      if (address >= s.begin && address < s.end && (best == nullptr || s.means >= best->means))
        best = &s;
    return best;
  }

 private:
  std::vector<Suspect> suspects_;  ///< in order of time
};

/// As events have it.
[[nodiscard]] constexpr std::string_view name_of(Means means) {
  switch (means) {
    case Means::module_load:
      return "module_load";
    case Means::write_protect:
      return "cr0_write_protect";
    case Means::page_attributes:
      return "set_memory_rw";
  }
  return {};
}

}  // namespace glasshook::behaviour
