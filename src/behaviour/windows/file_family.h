// Files and directories of Windows programs: made, opened, read, written, renamed, deleted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "behaviour/file/file_totals.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {

class FileFamily final : public WindowsTableFamily<FileFamily> {
 public:
  explicit FileFamily(std::shared_ptr<Objects> objects);

  [[nodiscard]] std::string_view name() const override { return "windows-file"; }
  [[nodiscard]] std::string_view description() const override {
    return "files and directories of Windows programs, and what is done to them";
  }
  [[nodiscard]] std::vector<WantedApi> apis() const override;
  static std::vector<Rule> rules();
  void on_end(Context& context) override { totals_.tell_all(now(), context); }

 private:
  /// What is to be told when an open file is closed.
  struct Fate {
    bool delete_on_close = false;  ///< FILE_DELETE_ON_CLOSE
    bool deleted = false;          ///< by its disposition
    bool listed = false;           ///< a directory whose listing was told
  };
  /// A CopyFile call under way, and what it has opened.
  struct Copy {
    std::uint64_t call = 0;
    std::string from, to;
  };
  using ThreadKey = std::pair<std::string, std::uint32_t>;  ///< entity id, thread

  void entered(const UserCall& call, Context& context) override;
  void returned(const UserCall& call, Context& context) override;
  void process_ended(const Process& process, Context& context) override;
  void closed(const Object& object, const Closing& closing, Context& context);

  void on_open(const UserCall& call, Context& context);
  void on_read(const UserCall& call, Context& context) { count(call, context, false); }
  void on_write(const UserCall& call, Context& context) { count(call, context, true); }
  void on_delete(const UserCall& call, Context& context);
  void on_list(const UserCall& call, Context& context);
  void on_set_information(const UserCall& call, Context& context);
  void on_copied(const UserCall& call, Context& context);

  Fate& fate_of(const Object& file);
  void count(const UserCall& call, Context& context, bool write);
  void note_for_copy(const UserCall& call, const Object& file, bool is_target);
  // By information class; `file` is what the handle stands for.
  void on_basic(const UserCall& call, const Object& file, Context& context);
  void on_new_name(const UserCall& call, Object& file, bool link, bool extended, Context& context);
  void on_size(const UserCall& call, const Object& file, Context& context);

  FileTotals totals_;
  std::unordered_map<std::uint64_t, Fate> fates_;  ///< by object; as many as there are objects
  Fate no_fate_;
  std::map<ThreadKey, Copy> copies_;
};

/// Names of the bits, as ECS has them: "readonly", "hidden". "normal" only when it is alone.
[[nodiscard]] std::vector<std::string> attribute_names(std::uint64_t attributes);

}  // namespace glasshook::behaviour::windows
