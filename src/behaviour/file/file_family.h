// Files and directories: opened, read, written, made, moved, removed, changed, mounted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "behaviour/file/file_totals.h"
#include "behaviour/file/open_files.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {

class FileFamily final : public TableFamily<FileFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "file"; }
  [[nodiscard]] std::string_view description() const override {
    return "files opened, created, read, written, renamed, deleted, changed; mounts; memfd";
  }

  static std::vector<Rule> rules();

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override;
  void on_end(Context& context) override { totals_.tell_all(now(), context); }

 private:
  // Opening, reading, writing, closing: file_io.cpp
  static std::vector<Rule> io_rules();
  void on_open(const Call& call, Context& context);
  void on_read(const Call& call, Context& context);
  void on_write(const Call& call, Context& context);
  void on_splice_in(const Call& call, Context& context);
  void on_splice_out(const Call& call, Context& context);
  void on_copy(const Call& call, Context& context);
  void on_io_uring(const Call& call, Context& context);
  void on_close(const Call& call, Context& context);
  void on_memory_file(const Call& call, Context& context);
  void count(const Call& call, Context& context, std::size_t first_capture, bool write);

  // Changes of names and attributes: file_changes.cpp
  static std::vector<Rule> change_rules();
  void on_rename(const Call& call, Context& context);
  void on_unlink(const Call& call, Context& context);
  void on_rmdir(const Call& call, Context& context);
  void on_mkdir(const Call& call, Context& context);
  void on_node(const Call& call, Context& context);
  void on_link(const Call& call, Context& context);
  void on_symlink(const Call& call, Context& context);
  void on_truncate(const Call& call, Context& context);
  void on_chmod(const Call& call, Context& context);
  void on_chown(const Call& call, Context& context);
  void on_set_attribute(const Call& call, Context& context);
  void on_remove_attribute(const Call& call, Context& context);

  // Mounts: file_mounts.cpp
  static std::vector<Rule> mount_rules();
  void on_mount(const Call& call, Context& context);
  void on_move_mount(const Call& call, Context& context);
  void on_umount(const Call& call, Context& context);

  struct Rename {
    std::string from, to;
    std::uint64_t flags = 0;
  };

  OpenFiles open_files_;
  FileTotals totals_;
  PendingCalls<Rename> renames_;
  PendingCalls<std::string> umounts_;
};

}  // namespace glasshook::behaviour
