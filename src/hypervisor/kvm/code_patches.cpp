#include "hypervisor/kvm/code_patches.h"

#include <algorithm>
#include <string>
#include <tuple>

namespace glasshook::hypervisor::kvm {
namespace {

/// Longer than any patch that the kernel makes of a single instruction.
constexpr std::uint64_t kPatched = 8;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes)
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", static_cast<unsigned>(b));
  return text;
}

std::atomic_ref<std::byte> byte_at(const Patch& patch) {
  return std::atomic_ref<std::byte>(*patch.host);
}

}  // namespace

void CodePatches::tell(probe::SharedRegion region) {
  const std::lock_guard lock(mutex_);
  region_ = region;
}

bool CodePatches::read(Gva address, std::span<std::byte> out) const {
  if (!memory_.read(address, out)) return false;
  for (auto it = known_.lower_bound(address);
       it != known_.end() && it->first.value - address.value < out.size(); ++it) {
    const auto patch = it->second.lock();
    std::byte& byte = out[it->first.value - address.value];
    if (patch && patch->in && byte == kInt3) byte = patch->original;
  }
  return true;
}

Instruction CodePatches::instruction_at(Gva address) {
  const std::lock_guard lock(mutex_);
  std::array<std::byte, kMaxInstructionBytes> code;
  // The last instruction of all code there is may be followed by nothing.
  std::size_t size = code.size();
  while (size > 0 && !read(address, std::span(code).first(size))) --size;
  return decode(std::span(code).first(size));
}

Result<std::shared_ptr<Patch>> CodePatches::make(Gva address) {
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const auto& item) { return item.second.expired(); });
  if (const auto it = known_.find(address); it != known_.end())
    if (auto patch = it->second.lock(); !patch->lost) return patch;

  auto patch = std::make_shared<Patch>();
  patch->address = address;
  std::tie(patch->gpa, patch->host) = memory_.locate(address);
  std::array<std::byte, kMaxInstructionBytes> code;
  if (patch->host == nullptr || !read(address, code) ||
      !read(address + kPatched, patch->surroundings))
    return fail(ErrorCode::guest_fault, "the code at {:#x} is not in memory", address.value);
  const Instruction instruction = decode(code);
  if (instruction.kind == Instruction::Kind::none)
    return fail(ErrorCode::unsupported,
                "no breakpoint instruction can stand for what is at {:#x} ({})", address.value,
                hex(std::span(code).first(kPatched)));
  if (known_.size() >= slots_.size())
    return fail(ErrorCode::limit, "more than {} places of code are to be hooked", slots_.size());
  patch->instruction = instruction;
  patch->original = code[0];
  known_[address] = patch;
  return patch;
}

void CodePatches::keep(const std::set<std::shared_ptr<Patch>>& wanted) {
  const std::lock_guard lock(mutex_);
  std::erase_if(wanted_, [&](const auto& patch) {
    if (wanted.contains(patch)) return false;
    take_out(*patch);
    return true;
  });
}

void CodePatches::want(std::set<std::shared_ptr<Patch>> wanted) {
  keep(wanted);
  const std::lock_guard lock(mutex_);
  wanted_ = std::move(wanted);
}

std::size_t CodePatches::tend(const std::function<bool()>& may) {
  const std::lock_guard lock(mutex_);
  if (wanted_.empty() || !may()) return 0;
  std::size_t written_over = 0;
  for (const auto& patch : wanted_) {
    if (patch->in && byte_at(*patch).load() != kInt3) {
      ++written_over;
      take_out(*patch);
    }
    if (!patch->in && !patch->lost) put_in(*patch);
  }
  return written_over;
}

std::size_t CodePatches::lift() {
  const std::lock_guard lock(mutex_);
  std::size_t lifted = 0;
  for (const auto& patch : wanted_) {
    lifted += patch->in ? 1 : 0;
    take_out(*patch);
    // The guest may have patched itself around it; so far it is known to be the same function.
    (void)read(patch->address + kPatched, patch->surroundings);
  }
  return lifted;
}

void CodePatches::lift(Patch& patch) {
  const std::lock_guard lock(mutex_);
  take_out(patch);
}

bool CodePatches::is_same_place(const Patch& patch) const {
  std::array<std::byte, Patch::kSurroundings> now;
  return memory_.locate(patch.address).second == patch.host &&
         read(patch.address + kPatched, now) && now == patch.surroundings;
}

void CodePatches::put_in(Patch& patch) {
  std::array<std::byte, kMaxInstructionBytes> code;
  patch.lost = !is_same_place(patch) || !read(patch.address, code);
  if (patch.lost) return;
  const Instruction instruction = decode(code);
  // The guest's own breakpoint instruction is one of its patches, soon to be replaced.
  if (code[0] == kInt3) return;
  patch.lost = instruction.kind == Instruction::Kind::none;
  const auto free = std::ranges::find(slots_, false);
  if (patch.lost || free == slots_.end()) return;
  patch.instruction = instruction;
  patch.original = code[0];
  patch.slot = static_cast<std::size_t>(free - slots_.begin());
  *free = true;
  patch.in = true;
  tell(patch, true);
  // Not if the guest writes there right now; the next look sees what came of that.
  std::byte expected = patch.original;
  if (!byte_at(patch).compare_exchange_strong(expected, kInt3)) take_out(patch);
}

void CodePatches::take_out(Patch& patch) {
  if (!patch.in) return;
  std::byte expected = kInt3;
  byte_at(patch).compare_exchange_strong(expected, patch.original);
  patch.in = false;
  tell(patch, false);
  slots_[patch.slot] = false;
}

void CodePatches::tell(const Patch& patch, bool in) {
  if (!region_) return;
  region_->patch(static_cast<std::uint32_t>(patch.slot)) =
      in ? probe::patch_word(patch.gpa, patch.original) : 0;
  region_->header().patch_changes.fetch_add(1);
}

}  // namespace glasshook::hypervisor::kvm
