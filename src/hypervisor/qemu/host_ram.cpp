#include "hypervisor/qemu/host_ram.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::uint64_t kFourGib = 1ull << 32;

struct Mapping {
  std::uint64_t begin = 0, end = 0, inode = 0;
};

/// The largest writable shared mapping of a deleted memfd.
std::optional<Mapping> largest_memfd_mapping() {
  std::ifstream maps("/proc/self/maps");
  std::optional<Mapping> best;
  for (std::string line; std::getline(maps, line);) {
    Mapping m;
    char permissions[8] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %7s %*x %*s %lu", &m.begin, &m.end, permissions,
                    &m.inode) != 4)
      continue;
    const bool shared_memfd =
        permissions[3] == 's' && line.find("/memfd:memory-backend-memfd") != std::string::npos;
    if (shared_memfd && (!best || m.end - m.begin > best->end - best->begin)) best = m;
  }
  return best;
}

/// A read-only descriptor of the file with that inode, through this process's own descriptors.
int open_read_only(std::uint64_t inode) {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return -1;
  int found = -1;
  for (const dirent* entry = readdir(dir); entry != nullptr && found < 0; entry = readdir(dir)) {
    struct stat info{};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    if (stat(path.c_str(), &info) == 0 && info.st_ino == inode && S_ISREG(info.st_mode))
      found = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  }
  closedir(dir);
  return found;
}

std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

}  // namespace

std::string machine_type_of(const std::vector<std::string>& command_line) {
  std::string type = "pc";
  for (std::size_t i = 0; i + 1 < command_line.size(); ++i) {
    if (command_line[i] != "-machine" && command_line[i] != "-M") continue;
    std::istringstream options(command_line[i + 1]);
    bool first = true;
    for (std::string option; std::getline(options, option, ','); first = false) {
      if (option.starts_with("type=")) type = option.substr(5);
      if (first && option.find('=') == std::string::npos) type = option;
    }
  }
  return type;
}

std::uint64_t low_ram_size(std::string_view machine_type, std::uint64_t ram_size,
                           std::optional<std::uint64_t> max_below_4g) {
  const bool q35 = machine_type.find("q35") != std::string_view::npos;
  std::uint64_t low = q35 ? 0xb000'0000 : 0xe000'0000;
  if (ram_size >= low) low = q35 ? 0x8000'0000 : 0xc000'0000;
  if (max_below_4g) low = *max_below_4g;
  return std::min(low, ram_size);
}

Result<HostRam> find_host_ram() {
  const auto mapping = largest_memfd_mapping();
  if (!mapping)
    return with_remedy(fail(ErrorCode::unsupported, "this VM's RAM is not a shared memory file"),
                       "start QEMU with: -object memory-backend-memfd,id=ram,size=SIZE,share=on "
                       "-machine memory-backend=ram");
  HostRam result;
  result.fd = open_read_only(mapping->inode);
  if (result.fd < 0) return fail(ErrorCode::io, "cannot open the file that holds guest RAM");
  const std::uint64_t size = mapping->end - mapping->begin;
  const std::uint64_t low = low_ram_size(machine_type_of(own_command_line()), size, std::nullopt);
  result.pieces.push_back({.gpa = 0, .size = low, .file_offset = 0});
  if (size > low)
    result.pieces.push_back({.gpa = kFourGib, .size = size - low, .file_offset = low});
  for (const probe::RamPiece& piece : result.pieces)
    result.ram.add(
        {.begin = Gpa{piece.gpa},
         .size = piece.size,
         .host = reinterpret_cast<const std::byte*>(mapping->begin) + piece.file_offset});
  return result;
}

}  // namespace glasshook::hypervisor::qemu
