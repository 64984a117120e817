// Writes tar archives that busybox tar, GNU tar and Python read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace glasshook::machine {

/// Appends members to a file descriptor: ustar headers, GNU long names where they do not fit.
/// Owner is root; times are those of the files, or 0. Fails with ErrorCode::limit when the archive
/// would grow beyond `capacity` bytes.
class TarWriter {
 public:
  /// Writes at the descriptor's offset 0 on. The descriptor stays the caller's.
  TarWriter(int fd, std::uint64_t capacity) : fd_(fd), capacity_(capacity) {}

  /// Member names are relative to the root, without a leading slash.
  Result<> add_bytes(std::string_view name, std::string_view content, unsigned mode);
  Result<> add_directory(std::string_view name, unsigned mode);
  /// A file with its content and permission bits, a directory with all below it, or a symbolic link
  /// below a directory. `path` itself may be a link: what it points to is added.
  Result<> add_path(std::string_view name, const std::filesystem::path& path);
  /// A file as with add_path(), executable for everyone.
  Result<> add_program(std::string_view name, const std::filesystem::path& path);
  /// Ends the archive.
  Result<> finish();

 private:
  struct Member {
    std::string_view name = {};
    std::string_view link = {};
    char type = '0';
    unsigned mode = 0644;
    std::uint64_t size = 0;
    std::int64_t mtime = 0;
  };
  Result<> add_header(const Member& member);
  Result<> add_block(const Member& member, std::string_view name);
  Result<> add_file(std::string_view name, const std::filesystem::path& path, unsigned more_mode);
  Result<> add_below(std::string_view name, const std::filesystem::path& path, int depth);
  Result<> write(std::string_view bytes);
  Result<> pad();

  int fd_;
  std::uint64_t capacity_;
  std::uint64_t offset_ = 0;
};

}  // namespace glasshook::machine
