// The imports of this very process, as a loader filled them; some are replaced for the test.
#include "guest/elf/import_check.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <fstream>

#include "support.h"

namespace glasshook::elf {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

bool read_self(std::uint64_t address, std::span<std::byte> out) {
  iovec local{out.data(), out.size()};
  iovec remote{reinterpret_cast<void*>(address), out.size()};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(out.size());
}

/// A shared object with a slot for `getppid`, compiled for the test.
class Victim {
 public:
  Victim() {
    const std::string path = testing::TempDir() + "/victim-" + std::to_string(getpid()) + ".so";
    const std::string command =
        "echo 'int getppid(void); int parent(void) { return getppid(); }' | gcc -shared -fPIC "
        "-Wl,-z,lazy -Wl,-z,norelro -x c - -o " +
        path;
    EXPECT_EQ(std::system(command.c_str()), 0);
    handle_ = dlopen(path.c_str(), RTLD_LAZY);
    EXPECT_NE(handle_, nullptr) << dlerror();
    path_ = path;
  }
  ~Victim() {
    dlclose(handle_);
    unlink(path_.c_str());
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  int call() const { return reinterpret_cast<int (*)()>(dlsym(handle_, "parent"))(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  void* handle_ = nullptr;
};

class ImportCheck : public testing::Test {
 protected:
  void read_modules() {
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* test) {
          static_cast<ImportCheck*>(test)->add(*info);
          return 0;
        },
        this);
  }
  void add(const dl_phdr_info& info) {
    const std::string path = *info.dlpi_name == 0 ? "/proc/self/exe" : info.dlpi_name;
    if (!path.starts_with('/')) return;  // the vDSO
    parsed_.push_back(parse_file(path));
    imports_.push_back(parsed_.back().imports());
    modules_.push_back({.name = path,
                        .bias = info.dlpi_addr,
                        .module = &parsed_.back(),
                        .imports = &imports_.back()});
  }
  [[nodiscard]] std::vector<ReplacedImport> check() const {
    const std::uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    return replaced_imports(modules_, read_self,
                            [&](std::uint64_t a) { return a - vdso < 4 * 4096; });
  }
  /// The victim's slot.
  [[nodiscard]] void** slot(const Victim& victim) const {
    for (const LoadedModule& module : modules_)
      if (module.name == victim.path())
        for (const Import& import : *module.imports)
          if (import.name == "getppid") return reinterpret_cast<void**>(module.bias + import.slot);
    return nullptr;
  }

  std::deque<ElfModule> parsed_;
  std::deque<std::vector<Import>> imports_;
  std::vector<LoadedModule> modules_;
};

TEST_F(ImportCheck, ALoaderLeavesNothingToTell) {
  Victim victim;
  read_modules();
  ASSERT_GE(modules_.size(), 3u);
  EXPECT_THAT(check(), IsEmpty()) << "before the first call";
  victim.call();
  EXPECT_THAT(check(), IsEmpty()) << "after it";
  std::size_t imports = 0;
  for (const auto& of_module : imports_) imports += of_module.size();
  EXPECT_GT(imports, 100u);
}

TEST_F(ImportCheck, AnotherFunctionOfTheSameModule) {
  Victim victim;
  read_modules();
  void** const place = slot(victim);
  ASSERT_NE(place, nullptr);
  *place = reinterpret_cast<void*>(&::getpgrp);
  EXPECT_EQ(victim.call(), getpgrp());
  const auto found = check();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].function, "getppid");
  EXPECT_EQ(found[0].importer, victim.path());
  EXPECT_EQ(found[0].slot, reinterpret_cast<std::uint64_t>(place));
  EXPECT_THAT(found[0].target_module, testing::HasSubstr("libc.so"));
}

TEST_F(ImportCheck, MemoryOfNoModule) {
  Victim victim;
  read_modules();
  void* const code =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(code, MAP_FAILED);
  *slot(victim) = code;
  const auto found = check();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].target, reinterpret_cast<std::uint64_t>(code));
  EXPECT_EQ(found[0].target_module, "");
  EXPECT_THAT(replaced_imports(modules_, read_self, [](std::uint64_t) { return true; }), IsEmpty());
  munmap(code, 4096);
}

TEST_F(ImportCheck, WhatCannotBeReadIsNotTold) {
  Victim victim;
  read_modules();
  *slot(victim) = reinterpret_cast<void*>(&::getpgrp);
  EXPECT_THAT(replaced_imports(
                  modules_, [](std::uint64_t, std::span<std::byte>) { return false; },
                  [](std::uint64_t) { return false; }),
              IsEmpty());
}

TEST(Imports, AreThoseThatTheLinkerSays) {
  const ElfModule libc = parse_file("/proc/self/exe");
  const auto imports = libc.imports();
  EXPECT_THAT(imports, Contains(Field(&Import::name, "process_vm_readv")));
  // readelf prints one line a relocation.
  const std::string listed = output_of("readelf -rW /proc/" + std::to_string(getpid()) +
                                       "/exe | grep -E 'R_X86_64_(JUMP_SLO|GLOB_DAT)' | wc -l");
  EXPECT_LE(imports.size(), std::stoul(listed));
  EXPECT_GT(imports.size(), std::stoul(listed) / 2);
}

}  // namespace
}  // namespace glasshook::elf
