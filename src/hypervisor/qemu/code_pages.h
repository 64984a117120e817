// Which code pages are watched: kernel pages by place, user pages by content.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
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

using CodePageBytes = std::array<std::byte, kPageSize>;

/// What a physical page of user code holds now. Translated code points here: freed by
/// CodePages::collect() alone.
struct PageContent {
  enum State : std::uint32_t { kUnknown, kAsking, kKnown };

  std::atomic<std::uint64_t> hash{0};
  std::atomic<std::uint32_t> state{kUnknown};  ///< futex for vCPUs that wait for another's question
  std::atomic<const probe::WatchedPage*> watched{nullptr};  ///< set before state becomes kKnown
  /// Set with the first incomplete answer: `watched` holds it, and the state stays kUnknown.
  std::atomic<probe::AskAgain*> again{nullptr};
  std::atomic<std::uint32_t> failures{0};  ///< questions nobody answered
  std::atomic<std::uint64_t> ask_from{0};  ///< ticks; no question before

  /// The bytes themselves, for the first CodePages::kMostKept pages: to compare them is faster
  /// than to hash them, and each block that is translated asks. Null for the others.
  std::unique_ptr<CodePageBytes> bytes;

  // What the pointers above point to; of CodePages alone.
  std::unique_ptr<probe::WatchedPage> owned_watched;
  std::unique_ptr<probe::AskAgain> owned_again;
};

/// Remembers pages for the translator. What is known of a page holds for that physical page and
/// that content alone: the guest can run the bytes of a library elsewhere before the library does,
/// where they mean something else. It can also have them in the very page that the library gets
/// later; so what is known is asked about anew when the page shows up at another virtual address,
/// though not more often than rests allow, since libraries are everywhere. Safe from all vCPU
/// threads and the control thread.
class CodePages {
 public:
  /// Contents of one physical page after which it counts as churning (a JIT): then it has to rest
  /// before it is asked about, for a time that doubles with each further content. A page that moves
  /// is asked about again after a rest that doubles from the first move on.
  static constexpr std::uint32_t kMaxRewrites = 16;
  static constexpr std::uint32_t kFirstRestMs = 10, kLongestRestMs = 2560;
  /// 64 MiB of QEMU's memory at most: a guest can run code in all of its pages.
  static constexpr std::size_t kMostKept = 16'384;

  explicit CodePages(std::uint64_t hash_seed, std::size_t most_kept = kMostKept)
      : seed_(hash_seed), most_kept_(most_kept) {}

  void place_kernel(Gpa page, std::unique_ptr<probe::WatchedPage> watched);
  [[nodiscard]] const probe::WatchedPage* kernel(Gpa page) const;
  /// Whether the translator has anything to do in a block that begins at `offset` of a page of the
  /// kernel which holds `bytes`, a page of them: there is a site, or an instruction that is looked
  /// for everywhere may be there. An instruction that goes on behind the page is a block of its
  /// own.
  [[nodiscard]] bool is_wanted_of_kernel(Gpa page, std::uint64_t offset,
                                         std::span<const std::byte> bytes);
  /// A page that stands for all of an instruction: its hook is at offset 0.
  void place_at(PrivilegedInstruction instruction, std::unique_ptr<probe::WatchedPage> watched);
  [[nodiscard]] const probe::WatchedPage* at(PrivilegedInstruction instruction) const;

  /// What is known of a user page that holds `bytes`, a page of them, and is translated for the
  /// virtual address `mapped` at the time `now`, in ticks.
  [[nodiscard]] PageContent& user(Gpa page, std::span<const std::byte> bytes, Gva mapped,
                                  std::uint64_t now, std::uint64_t ticks_per_ms);

  /// Gives the content that was asked about with this hash its sites; nothing happens when the
  /// page holds another by now.
  void answer(PageContent& content, std::uint64_t hash,
              std::unique_ptr<probe::WatchedPage> watched);
  /// Gives it those that are known by now, for the block that begins at `offset` of the page.
  void answer_so_far(PageContent& content, std::uint64_t hash,
                     std::unique_ptr<probe::WatchedPage> watched, std::uint16_t offset,
                     std::uint64_t ticks_per_ms);
  /// Nobody answered: to be asked again, or left as it is when it was `last`.
  void give_up(PageContent& content, std::uint64_t hash, bool last,
               std::unique_ptr<probe::WatchedPage> nothing);

  /// True once for each content a physical page has had: its placement is still to be reported.
  [[nodiscard]] bool take_report(Gpa page);

  /// Forget pages; code must be translated anew before the next lookup can matter.
  void clear();
  void clear_user();

  /// Things that were replaced or forgotten, and wait for collect().
  [[nodiscard]] std::size_t retired() const;
  /// Frees those. To be called when no translated code is left, and no vCPU runs code of the probe.
  void collect();

 private:
  struct Placement {
    std::unique_ptr<PageContent> content;
    Gva mapped;  ///< the page's virtual address when it was translated last
    std::uint32_t rewrites = 0, moves = 0;
    std::uint64_t since = 0;  ///< ticks at which it was written, or moved and asked about, last
    bool reported = false;
  };

  /// What a kernel page held when it was looked through.
  struct Searched {
    std::unique_ptr<CodePageBytes> bytes;
    std::size_t privileged_end = 0;
  };

  void set_watched(PageContent& content, std::unique_ptr<probe::WatchedPage> watched);
  [[nodiscard]] std::size_t search(Gpa page, std::span<const std::byte> bytes);
  [[nodiscard]] bool holds(const PageContent& content, std::span<const std::byte> bytes) const;
  void keep(PageContent& content, const CodePageBytes& bytes);
  [[nodiscard]] std::uint64_t hash_of(std::span<const std::byte> bytes) const;
  static void ask_anew(Placement& placement, std::uint64_t now, std::uint64_t ticks_per_ms);

  std::uint64_t seed_;
  std::size_t most_kept_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<Gpa, std::unique_ptr<probe::WatchedPage>> kernel_;
  std::map<PrivilegedInstruction, std::unique_ptr<probe::WatchedPage>> instructions_;
  std::unordered_map<Gpa, Placement> placements_;
  std::unordered_map<Gpa, Searched> searched_;
  std::size_t kept_ = 0;  ///< contents whose bytes are kept, and pages of searched_
  // What translated code may still point to.
  std::vector<std::unique_ptr<probe::WatchedPage>> retired_pages_;
  std::vector<std::unique_ptr<PageContent>> retired_contents_;
  std::vector<std::unique_ptr<probe::AskAgain>> retired_again_;
};

}  // namespace glasshook::hypervisor::qemu
