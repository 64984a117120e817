// What a walk over guest structures gives: as much as could be read, and why it ended early.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/result.h"
#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

template <class T>
struct Listing {
  std::vector<T> items;
  std::optional<Error> incomplete;  ///< set when the guest's structures broke off or ran on
};

/// Work a listing may spend on the variable parts of its items, so that a guest whose every path is
/// long or endless costs seconds, not hours, and bounded memory.
class ListingBudget {
 public:
  /// Takes `bytes` of text; false when the budget is used up.
  [[nodiscard]] bool take(std::size_t bytes) {
    bytes_ = bytes < bytes_ ? bytes_ - bytes : 0;
    return bytes_ != 0;
  }
  [[nodiscard]] static Error used_up();

 private:
  std::size_t bytes_ = 32u << 20;
};

/// Walks a circular `struct list_head`. The items are the addresses of the objects that hold the
/// links at `link` bytes; `head` itself is not one. Ends at `limit` objects and when the list runs
/// into itself, in time linear in the number of different objects.
[[nodiscard]] Listing<Gva> walk_list(const LinuxKernel& kernel, Gva head, Offset link,
                                     std::size_t limit);

/// Walks a red-black tree (`struct rb_node *` root) in order, with the same promises.
[[nodiscard]] Listing<Gva> walk_tree(const LinuxKernel& kernel, Gva root, Offset link,
                                     std::size_t limit);

}  // namespace glasshook::linux_guest
