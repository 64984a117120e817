#include "behaviour/file/open_files.h"

namespace glasshook::behaviour {

void OpenFiles::opened(std::uint64_t file, std::uint64_t inode, std::string path) {
  if (files_.size() >= kMost) files_.clear();
  files_.insert_or_assign(file, Known{inode, std::move(path)});
}

const std::string& OpenFiles::path(std::uint64_t file, std::uint64_t inode, const Call& call,
                                   Context& context) {
  const auto found = files_.find(file);
  if (found != files_.end() && found->second.inode == inode) return found->second.path;
  opened(file, inode, context.file_path(call, file));
  return files_.find(file)->second.path;
}

}  // namespace glasshook::behaviour
