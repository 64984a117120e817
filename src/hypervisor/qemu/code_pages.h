// Which code pages are watched: kernel pages by place, user pages by content.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/guest_address.h"
#include "hypervisor/probe/ask_again.h"
#include "hypervisor/probe/watched_page.h"

namespace glasshook::hypervisor::qemu {

/// One content a user code page has had. Never freed while QEMU runs: translated code points here.
struct PageContent {
  enum State : std::uint32_t { kUnknown, kAsking, kKnown };

  std::uint64_t hash = 0;
  std::atomic<std::uint32_t> state{kUnknown};  ///< futex for vCPUs that wait for another's question
  std::atomic<const probe::WatchedPage*> watched{nullptr};  ///< set before state becomes kKnown
  /// Set with the first incomplete answer: `watched` holds it, and the state stays kUnknown.
  std::atomic<probe::AskAgain*> again{nullptr};
  std::atomic<std::uint32_t> failures{0};  ///< questions nobody answered
};

/// Remembers pages for the translator. Safe from all vCPU threads and the control thread.
class CodePages {
 public:
  /// Distinct contents remembered; code beyond that runs unhooked and is counted.
  static constexpr std::size_t kMaxContents = 200'000;
  /// Contents of one physical page after which it counts as churning (a JIT): no more questions.
  static constexpr std::uint32_t kMaxRewrites = 64;

  explicit CodePages(std::uint64_t hash_seed) : seed_(hash_seed) {}

  void place_kernel(Gpa page, std::unique_ptr<probe::WatchedPage> watched);
  [[nodiscard]] const probe::WatchedPage* kernel(Gpa page) const;

  /// Content record of a user page, made at first sight. nullptr when the page churns or the table
  /// is full. `new_place` tells whether this physical page had another content before.
  [[nodiscard]] PageContent* user(Gpa page, std::span<const std::byte> bytes, bool& new_place);

  /// Gives a content its sites.
  void answer(PageContent& content, std::unique_ptr<probe::WatchedPage> watched);
  /// Gives it those that are known by now, for the block that begins at `offset` of the page.
  void answer_so_far(PageContent& content, std::unique_ptr<probe::WatchedPage> watched,
                     std::uint16_t offset, std::uint64_t ticks_per_ms);

  /// True once for each content a physical page has had: its placement is still to be reported.
  [[nodiscard]] bool take_report(Gpa page);

  /// Forget pages; code must be translated anew before the next lookup can matter.
  void clear();
  void clear_user();

 private:
  struct Placement {
    std::uint64_t hash = 0;
    std::uint32_t rewrites = 0;
    bool reported = false;
  };

  std::uint64_t seed_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<Gpa, const probe::WatchedPage*> kernel_;
  std::unordered_map<std::uint64_t, std::unique_ptr<PageContent>> contents_;
  std::unordered_map<Gpa, Placement> placements_;
  // What translated code may still point to.
  std::vector<std::unique_ptr<probe::WatchedPage>> pages_;
  std::vector<std::unique_ptr<PageContent>> retired_;
  std::vector<std::unique_ptr<probe::AskAgain>> again_;
};

}  // namespace glasshook::hypervisor::qemu
