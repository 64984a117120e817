#include "hypervisor/attached/unpatched_memory.h"

#include <algorithm>

namespace glasshook::hypervisor {
namespace {

constexpr std::byte kInt3{0xcc};

template <class Patches>
void undo(const Patches& patches, Gpa from, std::span<std::byte> bytes) {
  for (auto it = std::ranges::lower_bound(patches, from, {}, &Patches::value_type::first);
       it != patches.end() && it->first.value - from.value < bytes.size(); ++it) {
    std::byte& byte = bytes[it->first.value - from.value];
    if (byte == kInt3) byte = it->second;
  }
}

}  // namespace

bool UnpatchedMemory::read(Gpa from, std::span<std::byte> out) const noexcept {
  const auto& changes = region_.header().patch_changes;
  const std::uint32_t before = changes;
  const auto known = before == 0 ? nullptr : patches(before);
  if (!memory_.read(from, out)) return false;
  if (known) undo(*known, from, out);
  // Patches that came while it was copied were told first.
  if (const std::uint32_t after = changes; after != before) undo(*patches(after), from, out);
  return true;
}

std::shared_ptr<const UnpatchedMemory::Patches> UnpatchedMemory::patches(
    std::uint32_t changes) const {
  const std::lock_guard lock(mutex_);
  if (changes == seen_changes_) return seen_;
  auto now = std::make_shared<Patches>();
  for (std::uint32_t n = 0; n < probe::kMaxPatches; ++n) {
    const std::uint64_t word = region_.patch(n);
    if ((word & probe::kPatchWordValid) != 0)
      now->emplace_back(Gpa{(word & ~probe::kPatchWordValid) >> 8},
                        static_cast<std::byte>(word & 0xff));
  }
  std::ranges::sort(*now);
  seen_ = std::move(now);
  seen_changes_ = changes;
  return seen_;
}

}  // namespace glasshook::hypervisor
