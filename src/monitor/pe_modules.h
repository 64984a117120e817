// The Windows modules of all processes, and the hooks in them.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "guest/linux/code_page.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/page_cache.h"
#include "hook/pe_plan.h"
#include "hook/pe_selection.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::monitor {

/// A file: device and inode.
using FileKey = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>;

/// Plans hooks in PE files that Wine has loaded into processes: their headers are mapped from the
/// file, and their sections follow. Looks at all modules of
/// a process together, since an export of one may lead to another. Used from one thread at a time.
class PeModules {
 public:
  /// Borrows the kernel.
  PeModules(const linux_guest::LinuxKernel& kernel, linux_guest::PageCache cache,
            hook::PeSelection selection, hook::HookMaker maker)
      : kernel_(&kernel),
        cache_(cache),
        selection_(std::move(selection)),
        maker_(std::move(maker)) {}

  /// Takes in what the process of that task has mapped, when it is a Windows process whose
  /// mappings have changed.
  void look_at(Gva task, Gva mm);
  /// What to watch on the page at `address`, whose content is at `page`; null: nothing. The page
  /// may be the file's own, one that the loader has copied from it since the file's sections do not
  /// lie at page boundaries, or a copy that a program has made of a page with hooks.
  [[nodiscard]] const hypervisor::PageSites* answer(Gva task, Gva mm, Gva address, Gpa page);

  /// True once after sites came to pages that had been answered without them: those must be asked
  /// about again. Safe from any thread.
  [[nodiscard]] bool take_stale() { return stale_.exchange(false); }
  /// What may be missed, for people. Safe from any thread.
  [[nodiscard]] std::vector<std::string> notes() const;
  /// Modules of which something was missing when they were read.
  [[nodiscard]] std::uint64_t unresolved() const { return unresolved_; }

 private:
  static constexpr std::size_t kMaxFiles = 4096;
  static constexpr std::size_t kMaxProcesses = 1024;
  static constexpr int kMaxReads = 8;
  static constexpr std::size_t kMaxNotes = 1024;
  static constexpr int kMaxAreas = 256;  ///< of one module
  static constexpr std::size_t kMaxContents = 4096;

  struct File {
    hook::PePlan plan;
    std::set<std::uint64_t> answered;  ///< pages of its image
    bool incomplete = false;           ///< it had holes when it was read
    int reads_left = kMaxReads;        ///< such a module is read again, but not for ever
  };
  /// How a process was when it was last looked at. An mm can become another process's.
  struct Seen {
    std::int32_t mappings = 0;
    std::uint64_t start_time = 0;
    bool operator==(const Seen&) const = default;
  };
  /// A PE file that the process at hand maps.
  struct Mapped {
    FileKey key;
    Gva mapping;  ///< struct address_space
  };

  [[nodiscard]] std::vector<Mapped> files_of(Gva task, Gva mm);
  [[nodiscard]] bool is_known(const linux_guest::MemoryArea& area, Gva mapping, Gva task);
  /// A page of a file, by its number in the image.
  struct PagePlace {
    FileKey key;
    std::uint64_t page = 0;
  };
  /// Where the page belongs, from the headers of the module that it is mapped with.
  [[nodiscard]] std::optional<PagePlace> place_in_module(Gva mm, Gva address) const;
  [[nodiscard]] std::optional<PagePlace> place_by_content(Gpa page) const;
  /// Notes what a page with hooks consists of, so that copies of it are known.
  void note_content(const windows::Image& image, const PagePlace& place);
  /// Brings the plan of a file up to the selection, which may grow by that.
  void update(const Mapped& mapped);

  const linux_guest::LinuxKernel* kernel_;
  linux_guest::PageCache cache_;
  hook::PeSelection selection_;
  hook::HookMaker maker_;
  std::map<FileKey, File> files_;
  std::set<FileKey> others_;  ///< files that are no PE modules
  /// Pages with hooks, by their bytes. Those beyond kMaxContents are not recognised in copies.
  std::map<std::vector<std::byte>, PagePlace> contents_;
  std::map<std::uint64_t, Seen> looked_at_;  ///< by mm
  mutable std::mutex notes_mutex_;
  std::set<std::string> notes_;
  std::atomic<bool> stale_{false};
  std::atomic<std::uint64_t> unresolved_{0};
};

[[nodiscard]] inline FileKey key_of(const linux_guest::CodePage& page) {
  return {page.device_major, page.device_minor, page.inode};
}
[[nodiscard]] inline FileKey key_of(const linux_guest::MemoryArea& area) {
  return {area.device_major, area.device_minor, area.inode};
}

}  // namespace glasshook::monitor
