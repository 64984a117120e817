#include "monitor/code_changes.h"

#include <algorithm>

namespace glasshook::monitor {
namespace {

constexpr std::size_t kBeginning = 16;

}  // namespace

std::optional<behaviour::ModifiedCode> compare_code(std::span<const std::byte> original,
                                                    std::span<const std::byte> now, Gva page,
                                                    std::span<const NamedEntry> entries) {
  const std::size_t size = std::min(original.size(), now.size());
  const auto differs = [&](std::size_t i) { return original[i] != now[i]; };
  behaviour::ModifiedCode change;
  for (std::size_t i = size; i-- > 0;) {
    if (!differs(i)) continue;
    change.address = (page + i).value;
    ++change.bytes;
  }
  if (change.bytes == 0) return std::nullopt;
  for (const NamedEntry& entry : entries) {
    const std::size_t end = std::min(size, entry.offset + kBeginning);
    bool changed = false;
    for (std::size_t i = entry.offset; i < end; ++i) changed |= differs(i);
    if (changed) change.functions.push_back(entry.name);
  }
  std::ranges::sort(change.functions);
  const auto [first, last] = std::ranges::unique(change.functions);
  change.functions.erase(first, last);
  return change;
}

void CodeChanges::put(Gpa page, std::uint64_t content_hash, behaviour::ModifiedCode change) {
  const std::lock_guard lock(mutex_);
  if (found_.size() >= kMost) found_.clear();
  found_.insert_or_assign({page, content_hash}, std::move(change));
}

std::optional<behaviour::ModifiedCode> CodeChanges::take(Gpa page, std::uint64_t content_hash) {
  const std::lock_guard lock(mutex_);
  auto node = found_.extract({page, content_hash});
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

}  // namespace glasshook::monitor
