// The paths of open files, remembered from their opening.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "behaviour/family.h"

namespace glasshook::behaviour {

/// By `struct file *`. The kernel gives the address of a closed file to a new one, so an entry
/// counts only for the inode it was made for.
class OpenFiles {
 public:
  /// Files remembered at once; beyond, all are forgotten and read from the guest again.
  static constexpr std::size_t kMost = 65'536;

  void opened(std::uint64_t file, std::uint64_t inode, std::string path);
  void closed(std::uint64_t file) { files_.erase(file); }
  /// The path; read from the guest when the opening was not seen.
  [[nodiscard]] const std::string& path(std::uint64_t file, std::uint64_t inode, const Call& call,
                                        Context& context);

  [[nodiscard]] std::size_t size() const { return files_.size(); }

 private:
  struct Known {
    std::uint64_t inode = 0;
    std::string path;
  };
  std::unordered_map<std::uint64_t, Known> files_;
};

}  // namespace glasshook::behaviour
