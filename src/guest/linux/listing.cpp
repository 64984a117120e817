#include "guest/linux/listing.h"

#include <utility>

namespace glasshook::linux_guest {
namespace {

/// Deeper trees are not balanced: a red-black tree of 2^32 nodes has at most 64 levels.
constexpr std::size_t kMaxDepth = 64;

/// Cuts what a walk around a cycle of `period` has repeated.
void cut_repeats(std::vector<Gva>& items, std::size_t period) {
  std::size_t first = 0;
  while (first + period < items.size() && items[first] != items[first + period]) ++first;
  items.resize(std::min(items.size(), first + period));
}

std::unexpected<Error> too_many(std::size_t limit) {
  return fail(ErrorCode::limit, "a kernel list has more than {} entries", limit);
}

}  // namespace

Error ListingBudget::used_up() {
  return fail(ErrorCode::limit, "the guest's paths and arguments are too long to list them all")
      .error();
}

Listing<Gva> walk_list(const LinuxKernel& kernel, Gva head, Offset link, std::size_t limit) {
  Listing<Gva> walk;
  if (!link.present()) {
    walk.incomplete = fail(ErrorCode::unsupported, "this kernel has no such list").error();
    return walk;
  }
  // Brent's cycle detection: a marker stays behind and moves up at powers of two.
  Gva marker = head;
  std::size_t steps = 0, lap = 1;
  for (auto node = kernel.pointer(head);; node = kernel.pointer(*node)) {
    if (!node || node->is_null()) {
      walk.incomplete = fail(ErrorCode::guest_fault, "a kernel list breaks off").error();
      return walk;
    }
    if (*node == head) return walk;
    ++steps;
    if (*node == marker) {
      walk.incomplete = fail(ErrorCode::guest_fault, "a kernel list runs in a circle").error();
      cut_repeats(walk.items, steps);
      return walk;
    }
    if (walk.items.size() == limit) {
      walk.incomplete = too_many(limit).error();
      return walk;
    }
    if (steps == lap) {
      marker = *node;
      lap *= 2;
      steps = 0;
    }
    walk.items.push_back(*node - link.bytes());
  }
}

Listing<Gva> walk_tree(const LinuxKernel& kernel, Gva root, Offset link, std::size_t limit) {
  Listing<Gva> walk;
  const auto stop = [&walk](std::unexpected<Error> why) {
    walk.incomplete = std::move(why.error());
    return walk;
  };
  std::vector<Gva> path;  // nodes whose left side is being walked
  Gva node = root;
  while (!node.is_null() || !path.empty()) {
    if (!node.is_null()) {
      // A loop to the left is cut by the depth, a loop to the right by the limit.
      if (path.size() == kMaxDepth)
        return stop(fail(ErrorCode::guest_fault, "a kernel tree is not balanced"));
      path.push_back(node);
      const auto left = kernel.pointer(node, kernel.layout().rb.left);
      if (!left) return stop(fail(ErrorCode::guest_fault, "a kernel tree breaks off"));
      node = *left;
      continue;
    }
    node = path.back();
    path.pop_back();
    if (walk.items.size() == limit) return stop(too_many(limit));
    walk.items.push_back(node - link.bytes());
    const auto right = kernel.pointer(node, kernel.layout().rb.right);
    if (!right) return stop(fail(ErrorCode::guest_fault, "a kernel tree breaks off"));
    node = *right;
  }
  return walk;
}

}  // namespace glasshook::linux_guest
