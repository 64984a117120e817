#include "memory/ram_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace glasshook {
namespace {

Result<> check(std::span<const RamFileSegment> sorted, std::uint64_t file_size) {
  if (sorted.empty() || sorted.size() > GuestRam::kMaxSegments)
    return fail(ErrorCode::invalid_argument, "a RAM file has 1 to {} segments, not {}",
                GuestRam::kMaxSegments, sorted.size());
  std::uint64_t end = 0;
  for (const RamFileSegment& s : sorted) {
    if (s.size == 0 || ((s.size | s.file_offset | s.begin.value) & kPageMask) != 0)
      return fail(ErrorCode::invalid_argument, "RAM segment at {:#x} is not made of whole pages",
                  s.begin.value);
    if (s.begin.value < end || s.begin.value + s.size < s.begin.value)
      return fail(ErrorCode::invalid_argument, "RAM segment at {:#x} overlaps another",
                  s.begin.value);
    if (s.file_offset > file_size || s.size > file_size - s.file_offset)
      return with_remedy(
          fail(ErrorCode::invalid_argument, "RAM segment at {:#x} ends outside the file ({} MiB)",
               s.begin.value, file_size >> 20),
          "check that the memory size is the one the machine was started with");
    end = s.begin.value + s.size;
  }
  return {};
}

/// Appends the extent, joined with the one before where they touch.
void append(std::vector<PhysicalExtent>& extents, PhysicalExtent extent) {
  if (!extents.empty() && extents.back().begin + extents.back().size == extent.begin)
    extents.back().size += extent.size;
  else
    extents.push_back(extent);
}

}  // namespace

Result<RamFile> RamFile::map(int fd, std::span<const RamFileSegment> segments) {
  RamFile file;
  file.segments_.assign(segments.begin(), segments.end());
  std::ranges::sort(file.segments_, {}, &RamFileSegment::begin);
  struct stat status{};
  if (::fstat(fd, &status) != 0)
    return fail(ErrorCode::io, "cannot look at the RAM file: {}", std::strerror(errno));
  if (const auto ok = check(file.segments_, static_cast<std::uint64_t>(status.st_size)); !ok)
    return std::unexpected(ok.error());

  file.fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (file.fd_ < 0)
    return fail(ErrorCode::io, "cannot keep the RAM file open: {}", std::strerror(errno));
  for (const RamFileSegment& s : file.segments_) {
    void* at =
        ::mmap(nullptr, s.size, PROT_READ, MAP_SHARED, file.fd_, static_cast<off_t>(s.file_offset));
    if (at == MAP_FAILED)
      return fail(ErrorCode::io, "cannot map {} MiB of guest RAM: {}", s.size >> 20,
                  std::strerror(errno));
    file.ram_.add({.begin = s.begin, .size = s.size, .host = static_cast<const std::byte*>(at)});
  }
  return file;
}

RamFile::RamFile(RamFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      segments_(std::move(other.segments_)),
      ram_(std::exchange(other.ram_, GuestRam{})) {}

RamFile& RamFile::operator=(RamFile&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::exchange(other.fd_, -1);
    segments_ = std::move(other.segments_);
    ram_ = std::exchange(other.ram_, GuestRam{});
  }
  return *this;
}

RamFile::~RamFile() { release(); }

void RamFile::release() noexcept {
  for (const RamSegment& s : ram_.segments()) ::munmap(const_cast<std::byte*>(s.host), s.size);
  ram_ = GuestRam{};
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool RamFile::read(Gpa from, std::span<std::byte> out) const noexcept {
  const std::byte* source = ram_.at(from, out.size());
  if (source == nullptr) return false;
  std::memcpy(out.data(), source, out.size());
  return true;
}

std::vector<PhysicalExtent> RamFile::populated() const {
  std::vector<PhysicalExtent> extents;
  for (const RamFileSegment& s : segments_) {
    const auto end = static_cast<off_t>(s.file_offset + s.size);
    for (auto at = static_cast<off_t>(s.file_offset); at < end;) {
      const off_t data = ::lseek(fd_, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;
      const off_t begin = data < 0 ? at : data;  // no hole support: all of it is data
      const off_t hole = data < 0 ? end : ::lseek(fd_, begin, SEEK_HOLE);
      const off_t stop = hole < 0 ? end : std::min(hole, end);
      if (begin >= end || stop <= begin) break;
      append(extents, {.begin = s.begin + (static_cast<std::uint64_t>(begin) - s.file_offset),
                       .size = static_cast<std::uint64_t>(stop - begin)});
      at = stop;
    }
  }
  return extents;
}

std::span<const std::byte> RamFile::view(Gpa from, std::uint64_t size) const noexcept {
  const std::byte* at = ram_.at(from, size);
  return at == nullptr ? std::span<const std::byte>{} : std::span{at, size};
}

}  // namespace glasshook
