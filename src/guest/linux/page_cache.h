// File contents as far as the guest's page cache holds them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// Looks pages up in the xarray of an address_space (include/linux/xarray.h), 5.10 and later.
/// Cheap to copy; borrows the kernel. Safe from any thread.
class PageCache {
 public:
  /// ErrorCode::unsupported when this kernel's types do not say how.
  [[nodiscard]] static Result<PageCache> of(const LinuxKernel& kernel);

  /// Where page `index` (of 4 KiB) of a `struct address_space` lies; empty when it is not cached,
  /// or still being read from its disk.
  [[nodiscard]] std::optional<Gpa> find(Gva mapping, std::uint64_t index) const noexcept;

  /// The same, but empty as well when that page differs from what is on its disk, or is being
  /// written there. What has no disk (tmpfs, initramfs) is always clean.
  [[nodiscard]] std::optional<Gpa> find_clean(Gva mapping, std::uint64_t index) const noexcept;

  /// The struct inode of the file; empty when that cannot be read.
  [[nodiscard]] std::optional<Gva> inode(Gva mapping) const noexcept;

  /// Bytes of the file; 0 when that cannot be read.
  [[nodiscard]] std::uint64_t file_size(Gva mapping) const noexcept;

  /// Copies file bytes; false when any page of them is not cached.
  [[nodiscard]] bool read(Gva mapping, std::uint64_t offset,
                          std::span<std::byte> out) const noexcept;

 private:
  explicit PageCache(const LinuxKernel& kernel) : kernel_(&kernel) {}
  /// Where that page lies; without any of the flags in `unwanted`.
  [[nodiscard]] std::optional<Gpa> find(Gva mapping, std::uint64_t index,
                                        std::uint64_t unwanted) const noexcept;
  [[nodiscard]] bool is_written_back(Gva mapping) const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> entry(Gva mapping, std::uint64_t index) const noexcept;

  const LinuxKernel* kernel_;
  std::uint32_t head_ = 0;   ///< address_space.i_pages.xa_head
  std::uint32_t shift_ = 0;  ///< xa_node.shift
  std::uint32_t slots_ = 0;  ///< xa_node.slots
  std::uint32_t page_size_ = 0;
  std::uint32_t page_index_ = 0;
  std::uint32_t page_flags_ = 0;
  // Bits of page.flags.
  std::uint64_t up_to_date_ = 0;
  std::uint64_t unwritten_ = 0;
  std::uint32_t host_ = 0;        ///< address_space.host
  std::uint32_t inode_size_ = 0;  ///< inode.i_size
  std::uint32_t inode_super_block_ = 0, super_block_bdi_ = 0, bdi_capabilities_ = 0;
  std::uint64_t vmemmap_ = 0;
};

}  // namespace glasshook::linux_guest
