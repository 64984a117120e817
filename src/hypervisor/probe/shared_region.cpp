#include "hypervisor/probe/shared_region.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <new>

#include "capture/ring.h"

namespace glasshook::hypervisor::probe {
namespace {

constexpr std::uint64_t page_align(std::uint64_t bytes) { return (bytes + kPageMask) & ~kPageMask; }

struct Layout {
  std::uint64_t rings, counters, questions, patches, size;
};

constexpr Layout layout_for(std::uint32_t vcpus, std::uint64_t ring_bytes) {
  Layout l{};
  l.rings = kPageSize;
  l.counters = page_align(l.rings + vcpus * ring_bytes);
  l.questions = page_align(l.counters + vcpus * sizeof(VcpuCounters));
  l.patches = page_align(l.questions + vcpus * sizeof(QuestionSlot));
  l.size = page_align(l.patches + kMaxPatches * sizeof(std::uint64_t));
  return l;
}

}  // namespace

std::uint64_t SharedRegion::size_for(std::uint32_t vcpus, std::uint64_t ring_bytes) {
  return layout_for(vcpus, ring_bytes).size;
}

std::uint64_t SharedRegion::ring_bytes_for(std::uint64_t data_bytes) {
  return page_align(capture::ring_bytes(data_bytes));
}

SharedRegion SharedRegion::create(std::span<std::byte> bytes, std::uint32_t vcpus,
                                  std::uint64_t ring_bytes, std::uint64_t ticks_per_second) {
  const Layout l = layout_for(vcpus, ring_bytes);
  auto* header = new (bytes.data()) RegionHeader;
  header->vcpus = vcpus;
  header->size = l.size;
  header->ticks_per_second = ticks_per_second;
  header->ring_bytes = ring_bytes;
  header->rings_offset = l.rings;
  header->counters_offset = l.counters;
  header->questions_offset = l.questions;
  return *open(bytes);
}

Result<SharedRegion> SharedRegion::open(std::span<std::byte> bytes) {
  if (bytes.size() < kPageSize) return fail(ErrorCode::protocol, "shared region is too small");
  const auto& header = *reinterpret_cast<const RegionHeader*>(bytes.data());
  if (header.magic != kRegionMagic || header.version != kRegionVersion)
    return fail(ErrorCode::protocol, "the probe in QEMU is of another Glasshook version");
  SharedRegion region(bytes);
  region.vcpus_ = header.vcpus;
  region.ring_bytes_ = header.ring_bytes;
  region.ticks_per_second_ = header.ticks_per_second;
  const bool sane = region.vcpus_ > 0 && region.vcpus_ <= kMaxVcpus &&
                    region.ring_bytes_ % kPageSize == 0 && region.ring_bytes_ <= 1ull << 32 &&
                    region.ticks_per_second_ >= kMinTicks && region.ticks_per_second_ <= kMaxTicks;
  if (!sane || layout_for(region.vcpus_, region.ring_bytes_).size > bytes.size())
    return fail(ErrorCode::protocol, "shared region has an impossible layout");
  const Layout l = layout_for(region.vcpus_, region.ring_bytes_);
  region.rings_offset_ = l.rings;
  region.counters_offset_ = l.counters;
  region.questions_offset_ = l.questions;
  region.patches_offset_ = l.patches;
  return region;
}

Result<std::span<std::byte>> make_shared_memory(std::uint64_t size, int& fd) {
  fd = memfd_create("glasshook-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  void* at = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0 &&
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return fail(ErrorCode::io, "QEMU has no memory for the shared region");
  return std::span{static_cast<std::byte*>(at), size};
}

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t timeout_ns) {
  const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0);
}

}  // namespace glasshook::hypervisor::probe
