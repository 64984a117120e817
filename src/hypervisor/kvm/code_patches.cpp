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

CodePlace surroundings_of(CodePlace place) {
  const bool ends = place.page_offset() + kPatched + Patch::kSurroundings > kPageSize;
  if (place.is_kernel() || !ends) return place + kPatched;
  return CodePlace(Gpa{place.value - Patch::kSurroundings});
}

std::byte* page_of(const Patch& patch) { return patch.host - patch.place.page_offset(); }

std::atomic_ref<std::byte> byte_at(const Patch& patch) {
  return std::atomic_ref<std::byte>(*patch.host);
}

}  // namespace

void CodePatches::tell(probe::SharedRegion region) {
  const std::lock_guard lock(mutex_);
  region_ = region;
}

void CodePatches::guard_with(std::function<void(std::byte* page)> guard) {
  const std::lock_guard lock(mutex_);
  guard_ = std::move(guard);
}

std::size_t CodePatches::uncover(std::byte* page) {
  const std::lock_guard lock(mutex_);
  std::size_t lifted = 0;
  for (const auto& patch : wanted_) {
    if (page_of(*patch) != page) continue;
    lifted += patch->in ? 1 : 0;
    take_out(*patch);
    patch->again = std::chrono::steady_clock::now() + kWritten;
  }
  return lifted;
}

bool CodePatches::read(CodePlace place, std::span<std::byte> out) const {
  if (!memory_.read(place, out)) return false;
  for (auto it = known_.lower_bound(place);
       it != known_.end() && it->first.value - place.value < out.size(); ++it) {
    const auto patch = it->second.lock();
    std::byte& byte = out[it->first.value - place.value];
    if (patch && patch->in && byte == kInt3) byte = patch->original;
  }
  return true;
}

std::span<std::byte> CodePatches::read_instruction(
    CodePlace place, std::array<std::byte, kMaxInstructionBytes>& code) const {
  std::size_t size = code.size();
  while (size > 0 && !read(place, std::span(code).first(size))) --size;
  return std::span(code).first(size);
}

Instruction CodePatches::instruction_at(CodePlace place) {
  const std::lock_guard lock(mutex_);
  std::array<std::byte, kMaxInstructionBytes> code;
  return decode(read_instruction(place, code));
}

Result<std::shared_ptr<Patch>> CodePatches::make(CodePlace place) {
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const auto& item) { return item.second.expired(); });
  if (const auto it = known_.find(place); it != known_.end())
    if (auto patch = it->second.lock(); !patch->lost) return patch;

  auto patch = std::make_shared<Patch>();
  patch->place = place;
  patch->surroundings_at = surroundings_of(place);
  std::tie(patch->gpa, patch->host) = memory_.locate(place);
  std::array<std::byte, kMaxInstructionBytes> bytes;
  const auto code = read_instruction(place, bytes);
  if (patch->host == nullptr || code.empty() || !read(patch->surroundings_at, patch->surroundings))
    return fail(ErrorCode::guest_fault, "the code at {:#x} is not in memory", place.value);
  const Instruction instruction = decode(code);
  if (instruction.kind == Instruction::Kind::none)
    return fail(ErrorCode::unsupported,
                "no breakpoint instruction can stand for what is at {:#x} ({})", place.value,
                hex(code.first(std::min<std::size_t>(code.size(), kPatched))));
  if (known_.size() >= slots_.size())
    return fail(ErrorCode::limit, "more than {} places of code are to be hooked", slots_.size());
  patch->instruction = instruction;
  patch->original = code[0];
  known_[place] = patch;
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
  const auto now = std::chrono::steady_clock::now();
  for (const auto& patch : wanted_) {
    if (patch->in && byte_at(*patch).load() != kInt3) {
      ++written_over;
      take_out(*patch);
    }
    const bool due = now >= patch->again && (now >= programs_again_ || patch->place.is_kernel());
    if (!patch->in && !patch->lost && due) put_in(*patch);
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
    (void)read(patch->surroundings_at, patch->surroundings);
  }
  return lifted;
}

std::size_t CodePatches::uncover_programs() {
  const std::lock_guard lock(mutex_);
  programs_again_ = std::chrono::steady_clock::now() + kUncovered;
  std::size_t lifted = 0;
  for (const auto& patch : wanted_) {
    if (patch->place.is_kernel()) continue;
    lifted += patch->in ? 1 : 0;
    take_out(*patch);
  }
  return lifted;
}

void CodePatches::lift(Patch& patch) {
  const std::lock_guard lock(mutex_);
  take_out(patch);
}

bool CodePatches::is_same_place(const Patch& patch) const {
  std::array<std::byte, Patch::kSurroundings> now;
  return memory_.locate(patch.place).second == patch.host && read(patch.surroundings_at, now) &&
         now == patch.surroundings;
}

bool CodePatches::is_copied_to(std::span<const std::byte, kPageSize> page, const Patch& patch) {
  if (patch.place.is_kernel() || page[patch.place.page_offset()] != kInt3) return false;
  const auto now = page.subspan(patch.surroundings_at.page_offset(), Patch::kSurroundings);
  // Other patches may have been copied as well.
  return std::ranges::equal(now, patch.surroundings, [](std::byte copy, std::byte original) {
    return copy == original || copy == kInt3;
  });
}

void CodePatches::put_in(Patch& patch) {
  std::array<std::byte, kMaxInstructionBytes> bytes;
  const auto code = read_instruction(patch.place, bytes);
  patch.lost = code.empty() || !is_same_place(patch);
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
  if (guard_) guard_(page_of(patch));
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
