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

/// Walks a circular `struct list_head`. The items are the addresses of the objects that hold the
/// links at `link` bytes; `head` itself is not one. Ends at `limit` objects and when the list runs
/// into itself, in time linear in the number of different objects.
[[nodiscard]] Listing<Gva> walk_list(const LinuxKernel& kernel, Gva head, Offset link,
                                     std::size_t limit);

/// Walks a red-black tree (`struct rb_node *` root) in order, with the same promises.
[[nodiscard]] Listing<Gva> walk_tree(const LinuxKernel& kernel, Gva root, Offset link,
                                     std::size_t limit);

}  // namespace glasshook::linux_guest
