// Guest RAM held in a file: a memfd shared with the hypervisor, or a dump.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_ram.h"
#include "memory/physical_memory.h"

namespace glasshook {

/// Where a run of guest physical memory lies in a RAM file. A PC has two when its RAM is larger
/// than the space below the PCI hole; the caller knows the machine and gives them.
struct RamFileSegment {
  Gpa begin;
  std::uint64_t size = 0;         ///< bytes, a multiple of the page size
  std::uint64_t file_offset = 0;  ///< page aligned
};

/// PhysicalMemory over a file mapped read-only. The mapping lives as long as the object. The file
/// must not shrink meanwhile (a hypervisor's memfd does not; a truncated dump raises SIGBUS).
class RamFile final : public PhysicalMemory {
 public:
  /// Maps the segments of an open file. `fd` is borrowed for the call (it is duplicated). Fails
  /// when a segment is misaligned, overlaps another, or lies outside the file.
  [[nodiscard]] static Result<RamFile> map(int fd, std::span<const RamFileSegment> segments);

  RamFile(RamFile&& other) noexcept;
  RamFile& operator=(RamFile&& other) noexcept;
  ~RamFile() override;

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override;
  /// What SEEK_DATA says is there; all of RAM on file systems without holes.
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override;
  [[nodiscard]] std::span<const std::byte> view(Gpa from,
                                                std::uint64_t size) const noexcept override;
  /// The same mapping in the form a probe uses.
  [[nodiscard]] const GuestRam& ram() const noexcept { return ram_; }

 private:
  RamFile() = default;
  void release() noexcept;

  int fd_ = -1;
  std::vector<RamFileSegment> segments_;  ///< ascending by `begin`
  GuestRam ram_;
};

}  // namespace glasshook
