// The memory areas (VMAs) of a process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "guest/linux/kernel.h"
#include "guest/linux/listing.h"
#include "guest/linux/path.h"

namespace glasshook::linux_guest {

/// What names a file as long as it exists, with the number of its struct inode.
struct InodeId {
  std::uint64_t number = 0;
  std::uint32_t device_major = 0, device_minor = 0;

  constexpr auto operator<=>(const InodeId&) const = default;
};

/// Of a struct inode; zeros where it is unreadable.
[[nodiscard]] InodeId inode_id(const LinuxKernel& kernel, Gva inode);

/// One area of virtual memory with one kind of content, as a line of /proc/PID/maps.
struct MemoryArea {
  Gva start, end;  ///< [start, end), page aligned
  bool readable = false, writable = false, executable = false, shared = false;
  std::uint64_t file_offset = 0;  ///< bytes; of `start` in the file
  Gva file;                       ///< struct file; null when anonymous
  std::uint64_t inode = 0;        ///< number; 0 when anonymous
  std::uint32_t device_major = 0, device_minor = 0;
  FilePath path;        ///< of the file; filled by areas() only
  std::string special;  ///< "[stack]", "[heap]", "[vdso]", "[vvar]", "[anon:name]" or empty
};

/// All areas of a struct mm_struct in address order. At most 2^18.
[[nodiscard]] Result<Listing<MemoryArea>> areas(const LinuxKernel& kernel, Gva mm, PathRef root);

/// The areas that show files, in address order and without their paths.
[[nodiscard]] Listing<MemoryArea> file_areas(const LinuxKernel& kernel, Gva mm);

/// The area that holds an address, without its path: some microseconds. `not_found` when nothing
/// is mapped there.
[[nodiscard]] Result<MemoryArea> area_at(const LinuxKernel& kernel, Gva mm, Gva address);

/// The vm_area_struct that holds an address; empty when there is none.
[[nodiscard]] std::optional<Gva> find_vma(const LinuxKernel& kernel, Gva mm, Gva address);

/// Addresses of all vm_area_struct of an mm, in address order.
[[nodiscard]] Listing<Gva> all_vmas(const LinuxKernel& kernel, Gva mm);

}  // namespace glasshook::linux_guest
