#include "machine/tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "base/unique_fd.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameSize = 100;
constexpr std::uint64_t kMaxOctalSize = (std::uint64_t{1} << 33) - 1;  // 11 octal digits
constexpr int kMaxDepth = 64;

/// POSIX ustar header (pax(1), "ustar Interchange Format").
struct Header {
  char name[kNameSize];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char major[8];
  char minor[8];
  char prefix[155];
  char padding[12];
};
static_assert(sizeof(Header) == kBlock);

template <std::size_t N>
void put_octal(char (&field)[N], std::uint64_t value) {
  const std::string text = fmt::format("{:0{}o}", value, N - 1);
  std::memcpy(field, text.c_str(), N);
}

template <std::size_t N>
void put_text(char (&field)[N], std::string_view text) {
  text.copy(field, N);
}

std::unexpected<Error> unreadable(const fs::path& path) {
  return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "cannot read {}: {}",
              to_printable(path.native()), std::strerror(errno));
}

}  // namespace

Result<> TarWriter::add_bytes(std::string_view name, std::string_view content, unsigned mode) {
  if (auto ok = add_header({.name = name, .mode = mode, .size = content.size()}); !ok) return ok;
  if (auto ok = write(content); !ok) return ok;
  return pad();
}

Result<> TarWriter::add_directory(std::string_view name, unsigned mode) {
  return add_header({.name = name, .type = '5', .mode = mode});
}

Result<> TarWriter::add_path(std::string_view name, const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error)
    return fail(
        error == std::errc::no_such_file_or_directory ? ErrorCode::not_found : ErrorCode::io,
        "cannot read {}: {}", to_printable(path.native()), error.message());
  return add_below(name, real, 0);
}

Result<> TarWriter::add_below(std::string_view name, const fs::path& path, int depth) {
  if (depth > kMaxDepth)
    return fail(ErrorCode::limit, "{} is nested too deeply", to_printable(path.native()));
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return unreadable(path);
  if (S_ISLNK(info.st_mode)) {
    std::error_code error;
    const std::string target = fs::read_symlink(path, error).native();
    if (error) return fail(ErrorCode::io, "cannot read {}: {}", path.native(), error.message());
    return add_header({.name = name, .link = target, .type = '2', .mode = 0777});
  }
  if (!S_ISDIR(info.st_mode)) return add_file(name, path, 0);
  if (auto ok = add_directory(name, info.st_mode & 07777); !ok) return ok;
  std::error_code error;
  std::vector<fs::path> children;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error))
    children.push_back(entry->path());
  if (error) return fail(ErrorCode::io, "cannot read {}: {}", path.native(), error.message());
  std::ranges::sort(children);
  for (const fs::path& child : children) {
    const std::string below = fmt::format("{}/{}", name, child.filename().native());
    if (auto ok = add_below(below, child, depth + 1); !ok) return ok;
  }
  return {};
}

Result<> TarWriter::add_program(std::string_view name, const fs::path& path) {
  return add_file(name, path, 0555);
}

/// `more_mode` is added to the file's permission bits.
Result<> TarWriter::add_file(std::string_view name, const fs::path& path, unsigned more_mode) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info{};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return unreadable(path);
  if (!S_ISREG(info.st_mode))
    return fail(ErrorCode::invalid_argument, "{} is neither a file nor a directory",
                to_printable(path.native()));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (auto ok = add_header({.name = name,
                            .mode = (info.st_mode & 07777u) | more_mode,
                            .size = size,
                            .mtime = info.st_mtim.tv_sec});
      !ok)
    return ok;
  std::vector<char> chunk(std::size_t{1} << 16);
  for (std::uint64_t left = size; left > 0;) {
    const ssize_t got =
        ::read(file.get(), chunk.data(), std::min<std::uint64_t>(left, chunk.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path);
    if (got == 0)
      return fail(ErrorCode::io, "{} shrank while it was read", to_printable(path.native()));
    if (auto ok = write({chunk.data(), static_cast<std::size_t>(got)}); !ok) return ok;
    left -= static_cast<std::uint64_t>(got);
  }
  return pad();
}

Result<> TarWriter::finish() { return write(std::string(2 * kBlock, '\0')); }

Result<> TarWriter::add_header(const Member& member) {
  if (member.name.empty() || member.name.find('\0') != std::string_view::npos)
    return fail(ErrorCode::invalid_argument, "a file name is empty or holds a zero byte");
  if (member.size > std::min(kMaxOctalSize, capacity_))
    return fail(ErrorCode::limit, "{} is too large to copy ({} bytes; at most {})",
                to_printable(member.name), member.size, capacity_);
  // GNU tar: a member of type L (K) holds the name (link target) of the one after it.
  for (const auto& [type, text] : {std::pair('L', member.name), std::pair('K', member.link)}) {
    if (text.size() <= kNameSize) continue;
    const std::string terminated = std::string(text) + '\0';
    const Member carrier{.type = type, .size = terminated.size()};
    if (auto ok = add_block(carrier, "././@LongLink"); !ok) return ok;
    if (auto ok = write(terminated); !ok) return ok;
    if (auto ok = pad(); !ok) return ok;
  }
  return add_block(member, member.name);
}

Result<> TarWriter::add_block(const Member& member, std::string_view name) {
  Header header{};
  put_text(header.name, name);
  put_octal(header.mode, member.mode);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size, member.size);
  put_octal(header.mtime,
            static_cast<std::uint64_t>(std::clamp<std::int64_t>(member.mtime, 0, kMaxOctalSize)));
  header.type = member.type;
  put_text(header.link, member.link);
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
  put_text(header.user, "root");
  put_text(header.group, "root");
  std::memset(header.checksum, ' ', sizeof header.checksum);
  std::array<unsigned char, kBlock> bytes;
  std::memcpy(bytes.data(), &header, kBlock);
  unsigned sum = 0;
  for (const unsigned char byte : bytes) sum += byte;
  const std::string text = fmt::format("{:06o}", sum);
  std::memcpy(header.checksum, text.c_str(), 7);
  return write({reinterpret_cast<const char*>(&header), kBlock});
}

Result<> TarWriter::pad() {
  const std::size_t rest = offset_ % kBlock;
  return rest == 0 ? Result<>() : write(std::string(kBlock - rest, '\0'));
}

Result<> TarWriter::write(std::string_view bytes) {
  if (bytes.size() > capacity_ - offset_)
    return fail(ErrorCode::limit, "the files to copy do not fit ({} bytes)", capacity_);
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset_));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fail(ErrorCode::io, "cannot write the archive: {}", std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset_ += static_cast<std::uint64_t>(put);
  }
  return {};
}

}  // namespace glasshook::machine
