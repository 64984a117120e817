#include "hypervisor/probe/ram_mapping.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

namespace glasshook::hypervisor::probe {

Result<RamMapping> find_ram_mapping(const std::string& maps) {
  std::istringstream lines(maps);
  std::optional<RamMapping> best;
  for (std::string line; std::getline(lines, line);) {
    RamMapping m;
    char permissions[8] = {};
    unsigned major = 0, minor = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %7s %lx %x:%x %lu", &m.begin, &m.end, permissions,
                    &m.file_offset, &major, &minor, &m.inode) != 7)
      continue;
    m.device = makedev(major, minor);
    const bool shared_memfd =
        permissions[3] == 's' && line.find("/memfd:memory-backend-memfd") != std::string::npos;
    if (shared_memfd && (!best || m.end - m.begin > best->end - best->begin)) best = m;
  }
  if (best) return *best;
  return with_remedy(fail(ErrorCode::unsupported, "this VM's RAM is not a shared memory file"),
                     "start QEMU with: -object memory-backend-memfd,id=ram,size=SIZE,share=on "
                     "-machine memory-backend=ram");
}

Result<RamMapping> find_ram_mapping() {
  std::ifstream maps("/proc/self/maps");
  return find_ram_mapping(std::string{std::istreambuf_iterator<char>(maps), {}});
}

namespace {

Result<int> open_file_of(const RamMapping& mapping, int flags) {
  DIR* dir = opendir("/proc/self/fd");
  int found = -1;
  for (const dirent* entry = dir != nullptr ? readdir(dir) : nullptr; entry != nullptr && found < 0;
       entry = readdir(dir)) {
    struct stat info{};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    // An inode number means something together with its device only.
    if (stat(path.c_str(), &info) == 0 && info.st_ino == mapping.inode &&
        info.st_dev == mapping.device)
      found = open(path.c_str(), flags | O_CLOEXEC);
  }
  if (dir != nullptr) closedir(dir);
  if (found < 0) return fail(ErrorCode::io, "cannot open the file that holds guest RAM");
  return found;
}

}  // namespace

Result<int> open_read_only(const RamMapping& mapping) { return open_file_of(mapping, O_RDONLY); }

void Unmap::operator()(std::byte* memory) const noexcept { munmap(memory, bytes); }

Result<OwnMapping> map_again(const RamMapping& mapping) {
  const auto fd = open_file_of(mapping, O_RDWR);
  if (!fd) return std::unexpected(fd.error());
  const std::size_t bytes = mapping.end - mapping.begin;
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd,
                  static_cast<off_t>(mapping.file_offset));
  close(*fd);
  if (at == MAP_FAILED) return fail(ErrorCode::io, "cannot map guest RAM once more");
  return OwnMapping(static_cast<std::byte*>(at), Unmap{bytes});
}

}  // namespace glasshook::hypervisor::probe
