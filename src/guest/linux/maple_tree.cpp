#include "guest/linux/maple_tree.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace glasshook::linux_guest {
namespace {

/// include/linux/maple_tree.h: nodes are 256-byte aligned; the type sits above the low bits.
constexpr std::uint64_t kNodeMask = 255;
constexpr int kTypeShift = 3;
constexpr std::uint64_t kTypeMask = 15;
/// include/linux/xarray.h: entries with these low bits are the tree's own, not the user's.
constexpr std::uint64_t kInternalMask = 3, kInternal = 2;
constexpr std::uint64_t kMaxReserved = 4096;
/// A tree of 2^64 entries has no more levels (MAPLE_HEIGHT_MAX).
constexpr int kMaxDepth = 31;
constexpr std::size_t kMaxSlots = 31;

/// enum maple_type
enum class NodeType : std::uint8_t { dense = 0, leaf64 = 1, range64 = 2, arange64 = 3 };

bool is_internal(std::uint64_t entry) { return (entry & kInternalMask) == kInternal; }
/// The root entry of a tree that has nodes. Slots of inner nodes lack the mark of a root.
bool is_root_node(std::uint64_t entry) { return is_internal(entry) && entry > kMaxReserved; }
bool is_child(std::uint64_t slot) { return Gva{slot}.is_kernel(); }
/// Something a user stored: neither empty nor a mark of the tree.
bool is_entry(std::uint64_t entry) { return Gva{entry}.is_kernel() && !is_internal(entry); }

/// A node copied out of the guest.
class Node {
 public:
  static std::optional<Node> read(const LinuxKernel& kernel, std::uint64_t encoded) {
    const Layout& l = kernel.layout();
    const auto type = static_cast<NodeType>((encoded >> kTypeShift) & kTypeMask);
    const bool augmented = type == NodeType::arange64;
    if (!augmented && type != NodeType::leaf64 && type != NodeType::range64) return std::nullopt;
    const auto& shape = augmented ? l.arange64 : l.range64;
    const std::uint32_t slots = shape.slots;
    if (!shape.pivot.present() || !shape.slot.present() || slots < 2 || slots > kMaxSlots)
      return std::nullopt;
    Node node;
    node.leaf_ = type == NodeType::leaf64;
    node.slots_ = slots;
    const Gva at{encoded & ~kNodeMask};
    const VirtualMemory memory = kernel.virtual_memory();
    if (!at.is_kernel() ||
        !memory.read(at + shape.pivot.bytes(),
                     std::as_writable_bytes(std::span{node.pivot_}.first(slots - 1))) ||
        !memory.read(at + shape.slot.bytes(),
                     std::as_writable_bytes(std::span{node.slot_}.first(slots))))
      return std::nullopt;
    return node;
  }

  [[nodiscard]] bool leaf() const { return leaf_; }
  [[nodiscard]] std::uint32_t slots() const { return slots_; }
  [[nodiscard]] std::uint64_t slot(std::uint32_t i) const { return slot_[i]; }
  /// Last index of slot `i` in a node that reaches up to `max`. A zero pivot behind the first
  /// slot ends the node.
  [[nodiscard]] std::uint64_t last(std::uint32_t i, std::uint64_t max) const {
    return i + 1 >= slots_ || (i > 0 && pivot_[i] == 0) ? max : std::min(pivot_[i], max);
  }

 private:
  std::array<std::uint64_t, kMaxSlots> pivot_{}, slot_{};
  std::uint32_t slots_ = 0;
  bool leaf_ = false;
};

/// Walks a whole tree, depth first.
class Walk {
 public:
  Walk(const LinuxKernel& kernel, std::size_t limit)
      : kernel_(kernel), limit_(limit), nodes_left_(2 * limit + 2) {}

  Listing<Gva> run(std::uint64_t root) {
    if (is_root_node(root))
      visit(root, 0, ~0ull, 0);
    else if (is_entry(root))
      listing_.items.push_back(Gva{root});
    return std::move(listing_);
  }

 private:
  /// False once the walk has to end.
  bool visit(std::uint64_t encoded, std::uint64_t min, std::uint64_t max, int depth) {
    if (depth > kMaxDepth || nodes_left_ == 0)
      return stop(fail(ErrorCode::limit, "a maple tree has too many nodes"));
    --nodes_left_;
    const auto node = Node::read(kernel_, encoded);
    if (!node) return stop(fail(ErrorCode::guest_fault, "a maple tree breaks off"));
    for (std::uint32_t i = 0; i < node->slots(); ++i) {
      const std::uint64_t last = node->last(i, max);
      if (last < min) return stop(fail(ErrorCode::guest_fault, "a maple tree is out of order"));
      if (!take(*node, i, min, last, depth)) return false;
      if (last == max) break;
      min = last + 1;
    }
    return true;
  }

  bool take(const Node& node, std::uint32_t i, std::uint64_t min, std::uint64_t last, int depth) {
    const std::uint64_t entry = node.slot(i);
    if (!node.leaf()) return !is_child(entry) || visit(entry, min, last, depth + 1);
    if (!is_entry(entry)) return true;
    if (listing_.items.size() == limit_)
      return stop(fail(ErrorCode::limit, "a maple tree has more than {} entries", limit_));
    listing_.items.push_back(Gva{entry});
    return true;
  }

  bool stop(std::unexpected<Error> why) {
    listing_.incomplete = std::move(why.error());
    return false;
  }

  const LinuxKernel& kernel_;
  std::size_t limit_;
  std::size_t nodes_left_;
  Listing<Gva> listing_;
};

}  // namespace

std::optional<Gva> maple_find(const LinuxKernel& kernel, std::uint64_t root, std::uint64_t index) {
  if (!is_root_node(root)) return std::nullopt;
  std::uint64_t max = ~0ull, encoded = root;
  for (int depth = 0; depth <= kMaxDepth && is_child(encoded); ++depth) {
    const auto node = Node::read(kernel, encoded);
    if (!node) return std::nullopt;
    std::uint32_t i = 0;
    while (node->last(i, max) < index) ++i;  // the last slot reaches up to max >= index
    max = node->last(i, max);
    encoded = node->slot(i);
    if (node->leaf()) return is_entry(encoded) ? std::optional{Gva{encoded}} : std::nullopt;
  }
  return std::nullopt;
}

Listing<Gva> maple_entries(const LinuxKernel& kernel, std::uint64_t root, std::size_t limit) {
  return Walk{kernel, limit}.run(root);
}

}  // namespace glasshook::linux_guest
