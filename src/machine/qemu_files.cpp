#include "machine/qemu_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include "machine/kvm_check.h"
#include "machine/process.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

using confinement::CageNeeds;
using confinement::FileRights;

constexpr std::size_t kMaxBackingFiles = 32;
constexpr std::uint32_t kMaxBackingName = 1023;  // of the format

std::unexpected<Error> cannot_open(const fs::path& file) {
  return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "cannot open {}: {}",
              file.native(), std::strerror(errno));
}

Result<UniqueFd> open_file(const fs::path& file, int flags = O_RDONLY) {
  if (file.empty()) return UniqueFd();
  UniqueFd fd(::open(file.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd.valid()) return cannot_open(file);
  return fd;
}

/// A copy in memory, which has no owner to ask.
Result<UniqueFd> in_memory(const UniqueFd& file, std::uint64_t size) {
  UniqueFd copy(::memfd_create("file", MFD_CLOEXEC));
  off_t done = 0;
  while (copy.valid() && static_cast<std::uint64_t>(done) < size)
    if (::sendfile(copy.get(), file.get(), &done, size - static_cast<std::uint64_t>(done)) <= 0)
      copy.reset();
  if (!copy.valid()) return fail(ErrorCode::io, "cannot copy a file: {}", std::strerror(errno));
  return copy;
}

/// A file that can be opened again by a user without rights to it.
Result<UniqueFd> open_again_file(const fs::path& file) {
  auto fd = open_file(file);
  struct stat info{};
  if (!fd || !fd->valid() || ::geteuid() != 0) return fd;
  if (::fstat(fd->get(), &info) != 0) return cannot_open(file);
  if ((info.st_mode & S_IROTH) != 0 || !S_ISREG(info.st_mode)) return fd;
  return in_memory(*fd, static_cast<std::uint64_t>(info.st_size));
}

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// The file a qcow2 image is a difference to; empty when there is none.
fs::path backing_file(const fs::path& image) {
  std::ifstream in(image, std::ios::binary);
  std::array<char, 20> header{};  // magic, version, u64 offset and u32 length of the name
  if (!in.read(header.data(), header.size())) return {};
  const std::string_view bytes(header.data(), header.size());
  if (!bytes.starts_with("QFI\xfb")) return {};
  const std::uint64_t offset = big_endian(bytes.substr(8, 8));
  const std::uint64_t length = big_endian(bytes.substr(16, 4));
  if (offset == 0 || offset > 1 << 21 || length == 0 || length > kMaxBackingName) return {};
  std::string name(length, '\0');
  in.seekg(static_cast<std::streamoff>(offset));
  if (!in.read(name.data(), static_cast<std::streamsize>(length))) return {};
  if (name.starts_with("file:")) name.erase(0, 5);
  return image.parent_path() / name;
}

/// The directories of a program that was installed under a prefix of its own.
void add_installation(std::vector<CageNeeds::Path>& paths, const std::string& qemu) {
  std::error_code error;
  const fs::path program = fs::canonical(find_program(qemu), error);
  if (error) return;
  paths.push_back({program, FileRights::execute});
  const fs::path prefix = program.parent_path().parent_path();
  for (const char* part : {"lib", "lib64", "share"})
    paths.push_back({prefix / part, FileRights::execute});
}

}  // namespace

Result<QemuFiles> QemuFiles::open(const MachineConfig& config,
                                  const std::optional<fs::path>& snapshot) {
  QemuFiles files;
  struct Wanted {
    UniqueFd* fd;
    Result<UniqueFd> opened;
  };
  Wanted wanted[] = {
      {&files.kernel, open_again_file(config.kernel)},
      {&files.initrd, open_again_file(config.initrd)},
      {&files.plugin, open_again_file(config.plugin)},
      {&files.console, open_file(config.console_log, O_WRONLY | O_CREAT | O_TRUNC)},
      {&files.snapshot, open_file(snapshot.value_or(fs::path()))},
  };
  for (Wanted& file : wanted) {
    if (!file.opened) return std::unexpected(file.opened.error());
    *file.fd = std::move(*file.opened);
  }
  if (config.userfaultfd)
    if (auto device = open_userfaultfd()) files.userfaultfd = std::move(*device);
  for (const Disk& disk : config.disks) {
    // Other formats name more files, and by their own place.
    auto fd = open_file(disk.file);
    if (!fd) return std::unexpected(fd.error());
    files.disks.push_back(disk.format == "raw" ? std::move(*fd) : UniqueFd());
  }
  return files;
}

CageNeeds cage_needs(const MachineConfig& config, const QemuFiles& files, const fs::path& scratch) {
  CageNeeds needs;
  needs.paths = {{"/usr", FileRights::execute},
                 {"/lib", FileRights::execute},
                 {"/lib64", FileRights::execute},
                 {"/etc/ld.so.cache", FileRights::read},
                 {"/sys/devices/system/cpu", FileRights::read},
                 {"/sys/devices/system/node", FileRights::read},
                 {"/dev/null", FileRights::read_write},
                 {"/dev/urandom", FileRights::read},
                 {scratch, FileRights::scratch}};
  add_installation(needs.paths, config.qemu);
  needs.keeps_user = !is_public(find_program(config.qemu));
  if (config.accelerator == Accelerator::kvm) {
    // By its name: QEMU takes a descriptor of it only from 8.2 on.
    constexpr const char* kKvm = "/dev/kvm";
    constexpr fs::perms kAll = fs::perms::others_read | fs::perms::others_write;
    std::error_code error;
    needs.paths.push_back({kKvm, FileRights::read_write});
    needs.keeps_user |= (fs::status(kKvm, error).permissions() & kAll) != kAll;
  }
  for (std::size_t i = 0; i < config.disks.size(); ++i) {
    if (files.disks[i].valid()) continue;
    const Disk& disk = config.disks[i];
    for (const fs::path& file : disk_chain(disk.file)) {
      needs.paths.push_back({file, FileRights::read});
      needs.keeps_user |= !is_public(file);
    }
    // Their extents and parents lie beside them.
    if (disk.format != "qcow2")
      needs.paths.push_back({fs::absolute(disk.file).parent_path(), FileRights::read});
  }
  for (const UniqueFd* file : {&files.kernel, &files.initrd, &files.plugin})
    if (file->valid()) needs.files.push_back(file->get());
  return needs;
}

std::vector<fs::path> disk_chain(const fs::path& file) {
  std::vector<fs::path> chain;
  for (fs::path next = fs::absolute(file); !next.empty() && chain.size() < kMaxBackingFiles;
       next = backing_file(next))
    chain.push_back(next);
  return chain;
}

bool is_public(const fs::path& file) {
  std::error_code error;
  const fs::path path = fs::canonical(file, error);
  if (error) return false;
  const auto allows = [&](const fs::path& at, fs::perms others) {
    return (fs::status(at, error).permissions() & others) == others;
  };
  if (!allows(path,
              fs::is_directory(path, error) ? fs::perms::others_exec : fs::perms::others_read))
    return false;
  for (fs::path at = path.parent_path();; at = at.parent_path()) {
    if (!allows(at, fs::perms::others_exec)) return false;
    if (at == at.root_path()) return true;
  }
}

}  // namespace glasshook::machine
