// Compares with what a real guest's /proc said. Runs when GLASSHOOK_RAM_FILE and
// GLASSHOOK_RAM_TRUTH name a recording made by real/record.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "guest/linux/kernel_finder.h"
#include "memory/ram_file.h"

namespace glasshook::linux_guest {
namespace {

TEST(RealGuest, Scan) {
  const char* path = std::getenv("GLASSHOOK_RAM_FILE");
  if (path == nullptr) GTEST_SKIP();
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  const auto size = std::filesystem::file_size(path);
  const auto ram = RamFile::map(fd, std::array{RamFileSegment{{0}, size, 0}});
  ASSERT_TRUE(ram);
  std::uint64_t pop = 0;
  for (auto e : ram->populated()) pop += e.size;
  for (int i = 0; i < 3; ++i) {
    const auto t0 = std::chrono::steady_clock::now();
    const auto k = i < 2 ? find_kernel(*ram) : find_kernel(*ram, find_kernel(*ram)->location.space);
    const auto t1 = std::chrono::steady_clock::now();
    ASSERT_TRUE(k) << k.error().message;
    printf("%s\n%zu symbols, delta %lx root %lx la57 %d btf %lx+%x percpu %d base %lx, pop %lu MiB %ld us\n",
           k->banner.c_str(), k->symbols.size(), k->location.image_delta,
           k->location.space.root.value, k->location.space.five_level, k->location.btf.value,
           k->location.btf_size, k->location.kallsyms.absolute_percpu,
           k->location.kallsyms.relative_base, pop >> 20, (t1 - t0).count() / 1000);
    EXPECT_TRUE(open_kernel(*ram, k->location));
    const auto t2 = std::chrono::steady_clock::now();
    printf("open %ld us\n", (t2 - t1).count() / 1000);
  }
}

}  // namespace
}  // namespace glasshook::linux_guest
