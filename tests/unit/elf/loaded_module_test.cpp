// The C library of this very process, as a loader has mapped and relocated it.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <link.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "guest/elf/errno_location.h"
#include "support.h"

namespace glasshook::elf {
namespace {

/// This process's memory from `base` on; unmapped pages are missing.
class LiveSource final : public ByteSource {
 public:
  explicit LiveSource(std::uint64_t base) : base_(base) {}
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    iovec local{out.data(), out.size()};
    iovec remote{reinterpret_cast<void*>(base_ + offset), out.size()};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(out.size());
  }

 private:
  std::uint64_t base_;
};

std::uint64_t libc_base() {
  Dl_info info{};
  return dladdr(reinterpret_cast<void*>(&::getpid), &info) != 0
             ? reinterpret_cast<std::uint64_t>(info.dli_fbase)
             : 0;
}

TEST(LoadedLibc, ParsesFromMemory) {
  const std::uint64_t base = libc_base();
  const Result<ElfModule> libc =
      ElfModule::parse(std::make_shared<LiveSource>(base), Layout::memory, base);
  ASSERT_TRUE(libc) << libc.error().message;
  EXPECT_EQ(libc->soname(), "libc.so.6");
  EXPECT_TRUE(libc->is_position_independent());
  EXPECT_THAT(libc->incomplete(), ::testing::IsEmpty());
  const Symbol* symbol = libc->exports().find("getpid");
  ASSERT_NE(symbol, nullptr);
  EXPECT_EQ(base + symbol->value, reinterpret_cast<std::uint64_t>(dlsym(RTLD_DEFAULT, "getpid")));
  EXPECT_TRUE(libc->function_at(symbol->value));
  EXPECT_TRUE(libc->all_symbols().symbols().empty());
}

TEST(LoadedLibc, ErrnoIsWhereTheCodeSays) {
  const std::uint64_t base = libc_base();
  const Result<ElfModule> libc =
      ElfModule::parse(std::make_shared<LiveSource>(base), Layout::memory, base);
  ASSERT_TRUE(libc) << libc.error().message;
  const std::optional<ErrnoLocation> location = find_errno(*libc);
  ASSERT_TRUE(location);
  const auto thread = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer());
  std::uint64_t address = thread + static_cast<std::uint64_t>(location->offset);
  if (location->slot) address += *reinterpret_cast<const std::uint64_t*>(base + *location->slot);
  EXPECT_EQ(address, reinterpret_cast<std::uint64_t>(&errno));
}

}  // namespace
}  // namespace glasshook::elf
