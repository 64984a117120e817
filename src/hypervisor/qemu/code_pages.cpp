#include "hypervisor/qemu/code_pages.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/qemu/privileged.h"

namespace glasshook::hypervisor::qemu {

namespace {

/// A rest that doubles each `time` from the first, which is 1.
std::uint64_t rest_ms(std::uint32_t time) {
  if (time == 0) return 0;
  return std::min<std::uint64_t>(std::uint64_t{CodePages::kFirstRestMs} << std::min(time - 1, 16u),
                                 CodePages::kLongestRestMs);
}

}  // namespace

void CodePages::place_kernel(Gpa page, std::unique_ptr<probe::WatchedPage> watched) {
  const std::lock_guard lock(mutex_);
  std::swap(kernel_[page], watched);
  if (watched) retired_pages_.push_back(std::move(watched));
}

const probe::WatchedPage* CodePages::kernel(Gpa page) const {
  const std::shared_lock lock(mutex_);
  const auto it = kernel_.find(page);
  return it == kernel_.end() ? nullptr : it->second.get();
}

bool CodePages::is_wanted_of_kernel(Gpa page, std::uint64_t offset,
                                    std::span<const std::byte> bytes) {
  if (offset + kMaxInstructionBytes > kPageSize) return true;
  {
    const std::shared_lock lock(mutex_);
    const auto watched = kernel_.find(page);
    if (watched != kernel_.end() && watched->second->has_sites_from(offset)) return true;
    const auto searched = searched_.find(page);
    if (searched != searched_.end() &&
        std::memcmp(searched->second.bytes->data(), bytes.data(), kPageSize) == 0)
      return offset < searched->second.privileged_end;
  }
  return offset < search(page, bytes);
}

/// The whole of a page that is not remembered: it is not looked through at each block.
std::size_t CodePages::search(Gpa page, std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  Searched& searched = searched_[page];
  if (!searched.bytes) {
    if (kept_ >= most_kept_) return searched_.erase(page), kPageSize;
    ++kept_;
    searched.bytes = std::make_unique<CodePageBytes>();
  }
  std::copy_n(bytes.begin(), kPageSize, searched.bytes->begin());
  const auto* copy = reinterpret_cast<const std::uint8_t*>(searched.bytes->data());
  return searched.privileged_end = end_of_privileged({copy, kPageSize});
}

void CodePages::place_at(PrivilegedInstruction instruction,
                         std::unique_ptr<probe::WatchedPage> watched) {
  const std::lock_guard lock(mutex_);
  std::swap(instructions_[instruction], watched);
  if (watched) retired_pages_.push_back(std::move(watched));
}

const probe::WatchedPage* CodePages::at(PrivilegedInstruction instruction) const {
  const std::shared_lock lock(mutex_);
  const auto it = instructions_.find(instruction);
  return it == instructions_.end() ? nullptr : it->second.get();
}

std::uint64_t CodePages::hash_of(std::span<const std::byte> bytes) const {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed_);
}

bool CodePages::holds(const PageContent& content, std::span<const std::byte> bytes) const {
  return content.bytes ? std::memcmp(content.bytes->data(), bytes.data(), kPageSize) == 0
                       : content.hash == hash_of(bytes);
}

PageContent& CodePages::user(Gpa page, std::span<const std::byte> bytes, Gva mapped,
                             std::uint64_t now, std::uint64_t ticks_per_ms) {
  {
    const std::shared_lock lock(mutex_);
    const auto placed = placements_.find(page);
    if (placed != placements_.end() && placed->second.mapped == mapped &&
        holds(*placed->second.content, bytes))
      return *placed->second.content;
  }
  CodePageBytes copy;  // the guest may write to the page meanwhile
  std::copy_n(bytes.begin(), copy.size(), copy.begin());
  const std::uint64_t hash = hash_of(copy);
  const std::lock_guard lock(mutex_);
  Placement& placement = placements_[page];
  const bool first = !placement.content;
  if (first) placement.content = std::make_unique<PageContent>();
  PageContent& content = *placement.content;
  if (!first && content.hash == hash) {
    if (std::exchange(placement.mapped, mapped) != mapped) ask_anew(placement, now, ticks_per_ms);
    return content;
  }
  if (!first) {
    if (now > placement.since + std::uint64_t{2} * kLongestRestMs * ticks_per_ms)
      placement.rewrites = 0;
    ++placement.rewrites;
  }
  const std::uint32_t over = placement.rewrites - std::min(placement.rewrites, kMaxRewrites);
  placement.mapped = mapped;
  placement.moves = 0;
  placement.since = now;
  placement.reported = false;
  set_watched(content, nullptr);
  content.again = nullptr;
  if (content.owned_again) retired_again_.push_back(std::move(content.owned_again));
  content.failures = 0;
  content.ask_from = now + rest_ms(over) * ticks_per_ms;
  content.hash = hash;
  keep(content, copy);
  content.state.store(PageContent::kUnknown, std::memory_order_release);
  return content;
}

void CodePages::keep(PageContent& content, const CodePageBytes& bytes) {
  if (!content.bytes) {
    if (kept_ >= most_kept_) return;
    ++kept_;
    content.bytes = std::make_unique<CodePageBytes>();
  }
  *content.bytes = bytes;
}

void CodePages::set_watched(PageContent& content, std::unique_ptr<probe::WatchedPage> watched) {
  content.watched.store(watched.get(), std::memory_order_release);
  std::swap(content.owned_watched, watched);
  if (watched) retired_pages_.push_back(std::move(watched));
}

/// Until then what is known stays in effect.
void CodePages::ask_anew(Placement& placement, std::uint64_t now, std::uint64_t ticks_per_ms) {
  PageContent& content = *placement.content;
  placement.reported = false;
  std::uint32_t known = PageContent::kKnown;
  if (!content.state.compare_exchange_strong(known, PageContent::kUnknown)) return;
  ++placement.moves;
  content.ask_from = std::max(now, placement.since + rest_ms(placement.moves) * ticks_per_ms);
  placement.since = content.ask_from;
}

void CodePages::answer(PageContent& content, std::uint64_t hash,
                       std::unique_ptr<probe::WatchedPage> watched) {
  const std::lock_guard lock(mutex_);
  if (content.hash != hash) return;
  set_watched(content, std::move(watched));
  content.state.store(PageContent::kKnown, std::memory_order_release);
}

void CodePages::answer_so_far(PageContent& content, std::uint64_t hash,
                              std::unique_ptr<probe::WatchedPage> watched, std::uint16_t offset,
                              std::uint64_t ticks_per_ms) {
  const std::lock_guard lock(mutex_);
  if (content.hash != hash) return;
  probe::AskAgain* again = content.again.load(std::memory_order_relaxed);
  if (again == nullptr) {
    content.owned_again = std::make_unique<probe::AskAgain>();
    again = content.owned_again.get();
    content.again.store(again, std::memory_order_release);
  }
  const bool ask_again = again->note(offset, probe::ticks(), ticks_per_ms);
  set_watched(content, std::move(watched));
  content.state.store(ask_again ? PageContent::kUnknown : PageContent::kKnown,
                      std::memory_order_release);
}

void CodePages::give_up(PageContent& content, std::uint64_t hash, bool last,
                        std::unique_ptr<probe::WatchedPage> nothing) {
  const std::lock_guard lock(mutex_);
  if (content.hash != hash) return;
  if (last && content.watched.load() == nullptr) set_watched(content, std::move(nothing));
  content.state.store(last ? PageContent::kKnown : PageContent::kUnknown,
                      std::memory_order_release);
}

bool CodePages::take_report(Gpa page) {
  const std::lock_guard lock(mutex_);
  const auto it = placements_.find(page);
  return it != placements_.end() && !std::exchange(it->second.reported, true);
}

void CodePages::clear() {
  clear_user();
  const std::lock_guard lock(mutex_);
  for (auto& [page, watched] : kernel_) retired_pages_.push_back(std::move(watched));
  kernel_.clear();
  for (auto& [instruction, watched] : instructions_) retired_pages_.push_back(std::move(watched));
  instructions_.clear();
}

void CodePages::clear_user() {
  const std::lock_guard lock(mutex_);
  for (auto& [page, placement] : placements_) {
    placement.content->bytes = nullptr;  // translated code does not look at these
    retired_contents_.push_back(std::move(placement.content));
  }
  placements_.clear();
  searched_.clear();
  kept_ = 0;
}

std::size_t CodePages::retired() const {
  const std::shared_lock lock(mutex_);
  return retired_pages_.size() + retired_contents_.size() + retired_again_.size();
}

void CodePages::collect() {
  const std::lock_guard lock(mutex_);
  retired_pages_.clear();
  retired_contents_.clear();
  retired_again_.clear();
}

}  // namespace glasshook::hypervisor::qemu
