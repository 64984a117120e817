#include "hypervisor/qemu/code_pages.h"

#include <xxhash.h>

#include <utility>

#include "hypervisor/probe/hit_runner.h"

namespace glasshook::hypervisor::qemu {

void CodePages::place_kernel(Gpa page, std::unique_ptr<probe::WatchedPage> watched) {
  const std::lock_guard lock(mutex_);
  kernel_[page] = watched.get();
  pages_.push_back(std::move(watched));
}

const probe::WatchedPage* CodePages::kernel(Gpa page) const {
  const std::shared_lock lock(mutex_);
  const auto it = kernel_.find(page);
  return it == kernel_.end() ? nullptr : it->second;
}

PageContent* CodePages::user(Gpa page, std::span<const std::byte> bytes, bool& new_place) {
  const std::uint64_t hash = XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed_);
  new_place = false;
  {
    const std::shared_lock lock(mutex_);
    const auto placed = placements_.find(page);
    if (placed != placements_.end() && placed->second.hash == hash) {
      const auto it = contents_.find(hash);
      if (it != contents_.end()) return it->second.get();
    }
  }
  const std::lock_guard lock(mutex_);
  Placement& placement = placements_[page];
  if (placement.hash != hash) {
    placement.hash = hash;
    placement.reported = false;
    ++placement.rewrites;
    new_place = true;
  }
  const auto known = contents_.find(hash);
  if (known != contents_.end()) return known->second.get();
  if (placement.rewrites > kMaxRewrites || contents_.size() >= kMaxContents) return nullptr;
  auto content = std::make_unique<PageContent>();
  content->hash = hash;
  return contents_.emplace(hash, std::move(content)).first->second.get();
}

void CodePages::answer(PageContent& content, std::unique_ptr<probe::WatchedPage> watched) {
  {
    const std::lock_guard lock(mutex_);
    content.watched.store(watched.get(), std::memory_order_release);
    pages_.push_back(std::move(watched));
  }
  content.state.store(PageContent::kKnown, std::memory_order_release);
}

void CodePages::answer_so_far(PageContent& content, std::unique_ptr<probe::WatchedPage> watched,
                              std::uint16_t offset, std::uint64_t ticks_per_ms) {
  bool ask_again = false;
  {
    const std::lock_guard lock(mutex_);
    probe::AskAgain* again = content.again.load(std::memory_order_relaxed);
    if (again == nullptr) {
      again = again_.emplace_back(std::make_unique<probe::AskAgain>()).get();
      content.again.store(again, std::memory_order_release);
    }
    ask_again = again->note(offset, probe::ticks(), ticks_per_ms);
    content.watched.store(watched.get(), std::memory_order_release);
    pages_.push_back(std::move(watched));
  }
  content.state.store(ask_again ? PageContent::kUnknown : PageContent::kKnown,
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
  kernel_.clear();
}

void CodePages::clear_user() {
  const std::lock_guard lock(mutex_);
  for (auto& [hash, content] : contents_) retired_.push_back(std::move(content));
  contents_.clear();
  placements_.clear();
}

}  // namespace glasshook::hypervisor::qemu
