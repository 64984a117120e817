#include "behaviour/file/open_flags.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>

#include "behaviour/support.h"

namespace glasshook::behaviour {

std::string open_flag_names(std::uint64_t flags) {
  constexpr std::uint64_t kLargeFile = 0100000;
  constexpr std::array kFlags = {
      FlagName{O_TMPFILE, "O_TMPFILE"},   FlagName{O_CREAT, "O_CREAT"},
      FlagName{O_EXCL, "O_EXCL"},         FlagName{O_NOCTTY, "O_NOCTTY"},
      FlagName{O_TRUNC, "O_TRUNC"},       FlagName{O_APPEND, "O_APPEND"},
      FlagName{O_NONBLOCK, "O_NONBLOCK"}, FlagName{O_SYNC, "O_SYNC"},
      FlagName{O_DSYNC, "O_DSYNC"},       FlagName{O_ASYNC, "O_ASYNC"},
      FlagName{O_DIRECT, "O_DIRECT"},     FlagName{O_DIRECTORY, "O_DIRECTORY"},
      FlagName{O_NOFOLLOW, "O_NOFOLLOW"}, FlagName{O_NOATIME, "O_NOATIME"},
      FlagName{O_CLOEXEC, "O_CLOEXEC"},   FlagName{O_PATH, "O_PATH"},
  };
  constexpr std::array<std::string_view, 4> kAccess = {"O_RDONLY", "O_WRONLY", "O_RDWR",
                                                       "O_ACCMODE"};
  std::string text{kAccess[flags & O_ACCMODE]};
  const std::string more = flag_names(flags & ~(std::uint64_t{O_ACCMODE} | kLargeFile), kFlags);
  return more.empty() ? text : text + "|" + more;
}

std::string_view file_type(std::uint64_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "dir";
    case S_IFLNK:
      return "symlink";
    case S_IFCHR:
      return "character_device";
    case S_IFBLK:
      return "block_device";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    default:
      return "";
  }
}

}  // namespace glasshook::behaviour
