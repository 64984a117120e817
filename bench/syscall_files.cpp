#include "syscall_files.h"

#include <fcntl.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "behaviour/file/file_totals.h"
#include "behaviour/support.h"

namespace glasshook::bench {
namespace {

using namespace behaviour;  // NOLINT

/// What a system call means to a file monitor.
enum class Kind : std::uint8_t { open, read, write, close, change, change_open };

// Captures of every hook here.
enum Word { kNumber, kFirst, kSecond, kThird, kResult, kName };

struct SystemCall {
  std::uint64_t number;  ///< arch/x86/entry/syscalls/syscall_64.tbl
  const char* name;
  Kind kind;
  const char* path = nullptr;  ///< register of the name, or null
  const char* action = "";     ///< of changes
  Word flags = kNumber;        ///< argument with the flags of an open; kNumber: has none
};

constexpr const char* kMode = "file_permissions_changed";
constexpr const char* kOwner = "file_owner_changed";

constexpr auto kFileCalls = std::to_array<SystemCall>({
    {0, "read", Kind::read},
    {1, "write", Kind::write},
    {2, "open", Kind::open, "di", "", kSecond},
    {3, "close", Kind::close},
    {17, "pread64", Kind::read},
    {18, "pwrite64", Kind::write},
    {19, "readv", Kind::read},
    {20, "writev", Kind::write},
    {76, "truncate", Kind::change, "di", "file_truncated"},
    {77, "ftruncate", Kind::change_open, nullptr, "file_truncated"},
    {82, "rename", Kind::change, "di", "file_renamed"},
    {83, "mkdir", Kind::change, "di", "directory_created"},
    {84, "rmdir", Kind::change, "di", "directory_deleted"},
    {85, "creat", Kind::open, "di"},
    {86, "link", Kind::change, "di", "file_linked"},
    {87, "unlink", Kind::change, "di", "file_deleted"},
    {88, "symlink", Kind::change, "si", "file_symlinked"},
    {90, "chmod", Kind::change, "di", kMode},
    {91, "fchmod", Kind::change_open, nullptr, kMode},
    {92, "chown", Kind::change, "di", kOwner},
    {93, "fchown", Kind::change_open, nullptr, kOwner},
    {94, "lchown", Kind::change, "di", kOwner},
    {165, "mount", Kind::change, "si", "filesystem_mounted"},
    {257, "openat", Kind::open, "si", "", kThird},
    {258, "mkdirat", Kind::change, "si", "directory_created"},
    {260, "fchownat", Kind::change, "si", kOwner},
    {263, "unlinkat", Kind::change, "si", "file_deleted"},
    {264, "renameat", Kind::change, "si", "file_renamed"},
    {265, "linkat", Kind::change, "si", "file_linked"},
    {266, "symlinkat", Kind::change, "dx", "file_symlinked"},
    {268, "fchmodat", Kind::change, "si", kMode},
    {316, "renameat2", Kind::change, "si", "file_renamed"},
    {437, "openat2", Kind::open, "si"},
});

const SystemCall* find(std::uint64_t number) {
  for (const SystemCall& call : kFileCalls)
    if (call.number == number) return &call;
  return nullptr;
}

std::vector<hook::Capture> captures(const char* path_register) {
  std::vector<hook::Capture> all = {word("number", "regs->orig_ax"), word("first", "regs->di"),
                                    word("second", "regs->si"), word("third", "regs->dx"),
                                    word("result", "regs->ax")};
  if (path_register != nullptr)
    all.push_back(string("name", std::string("(char *)regs->") + path_register));
  return all;
}

class SyscallFiles final : public TimedFamily {
 public:
  explicit SyscallFiles(Intercepted what) : what_(what) {}

  [[nodiscard]] std::string_view name() const override { return "syscall-files"; }
  [[nodiscard]] std::string_view description() const override { return "for comparison"; }

  /// With all calls: one hook where all pass, its record made when the call returns and everything
  /// is known, and the names read where they are used.
  [[nodiscard]] std::vector<hook::HookSpec> hooks() const override {
    std::vector<hook::HookSpec> specs;
    if (what_ == Intercepted::all_calls)
      specs.push_back(at_exit({"do_syscall_64"}, {}, {}, captures(nullptr)));
    for (const SystemCall& call : kFileCalls) {
      const std::string function = std::string("__x64_sys_") + call.name;
      if (what_ == Intercepted::file_calls) {
        hook::HookSpec spec = at_exit({function}, {}, {}, captures(call.path));
        // The dispatcher stores the result in the registers only afterwards.
        spec.exit.captures[kResult] = word("result", "ret");
        specs.push_back(std::move(spec));
      } else if (call.path != nullptr) {
        specs.push_back(at_entry({function}, {}, captures(call.path)));
      }
    }
    return specs;
  }

  void on_call(const Call& call, Context& context) override {
    const SystemCall* known = find(call.word(kNumber));
    if (known == nullptr) return;
    std::string& name = names_[call.thread_id()];
    if (known->path != nullptr && call.text(kName).data() != nullptr && !call.text(kName).empty())
      name = call.text(kName);
    if (!call.is_exit()) return;
    const auto result = static_cast<std::int64_t>(call.word(kResult));
    if (result >= 0) succeeded(*known, call, result, name, context);
    name.clear();
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override {
    if (process) totals_.process_exited(*process, now(), context);
  }
  void on_end(Context& context) override { totals_.tell_all(now(), context); }

 private:
  struct Open {
    std::uint64_t file = 0;
    std::string path;
  };

  void succeeded(const SystemCall& known, const Call& call, std::int64_t result,
                 const std::string& name, Context& context) {
    const ProcessKey key = key_of(call);
    const auto descriptor =
        static_cast<std::uint64_t>(known.kind == Kind::open ? result : call.word(kFirst));
    switch (known.kind) {
      case Kind::open: {
        open_[{key, descriptor}] = {++next_file_, name};
        // Whether it was there before, the call does not say.
        const bool creates = (known.flags != kNumber && (call.word(known.flags) & O_CREAT) != 0);
        Event event = make_event(creates ? "file_created" : "file_opened");
        add_known(event, "file.path", name);
        context.emit(call, std::move(event));
        return;
      }
      case Kind::read:
      case Kind::write: {
        const Open& file = open_[{key, descriptor}];
        if (file.file == 0 || result == 0) return;
        totals_.count({.key = key,
                       .process = call.process(),
                       .thread_id = call.thread_id(),
                       .time = call.time()},
                      {.file = file.file,
                       .inode = {},
                       .size = {},
                       .bytes = static_cast<std::uint64_t>(result),
                       .write = known.kind == Kind::write},
                      file.path, context);
        return;
      }
      case Kind::close:
        if (const auto found = open_.find({key, descriptor}); found != open_.end()) {
          totals_.closed(found->second.file, now(), context);
          open_.erase(found);
        }
        return;
      case Kind::change:
      case Kind::change_open: {
        Event event = make_event(known.action);
        add_known(event, "file.path",
                  known.kind == Kind::change ? name : open_[{key, descriptor}].path);
        context.emit(call, std::move(event));
      }
    }
  }

  Intercepted what_;
  std::map<std::uint32_t, std::string> names_;  ///< of calls under way, by thread
  std::map<std::pair<ProcessKey, std::uint64_t>, Open> open_;
  std::uint64_t next_file_ = 0;
  FileTotals totals_;
};

}  // namespace

std::unique_ptr<Family> make_syscall_files(Intercepted what) {
  return std::make_unique<SyscallFiles>(what);
}

}  // namespace glasshook::bench
