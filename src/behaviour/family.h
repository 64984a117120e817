// A behaviour family: which functions it needs and what their calls mean.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "behaviour/event.h"
#include "behaviour/user_call.h"
#include "capture/record.h"
#include "hook/spec.h"

namespace glasshook::behaviour {

/// Whose programs a family, or a guest, is about.
enum class Platform : std::uint8_t { linux, windows };

/// What kind of code made a system call.
enum class CodeOrigin : std::uint8_t {
  unknown,          ///< not in user mode, or the guest did not say
  libc,             ///< the C library, its companions (libpthread, ...) included
  dynamic_loader,   ///< ld.so
  vdso,             ///< mapped by the kernel
  other_module,     ///< another shared object
  main_executable,  ///< the program itself: statically linked, or a raw system call
  anonymous,        ///< memory that belongs to no file
};

struct CodePlace {
  CodeOrigin origin = CodeOrigin::unknown;
  std::string module;  ///< path of the file; empty for vdso, anonymous and unknown
};

/// Code of a file, in a process where it is not what the file holds.
struct ModifiedCode {
  std::string path;                    ///< of the file
  std::uint64_t address = 0;           ///< of the first byte that differs
  std::uint64_t bytes = 0;             ///< that differ, on one page
  std::vector<std::string> functions;  ///< hooked functions whose beginning differs
};

/// A place in one of the kernel's tables of system calls or interrupts that leads elsewhere than
/// when the session began, or when it was told last.
struct TableChange {
  std::string_view table;  ///< the kernel's name of it; static storage
  std::uint64_t index = 0;
  std::uint64_t address = 0;  ///< of the place
  std::string before, after;  ///< function, or address
};

/// A register that says where a processor enters the kernel, and that leads elsewhere now.
struct EntryChange {
  std::string_view name;      ///< "LSTAR", "IDTR"
  std::uint64_t cpu = 0;      ///< the first processor that was seen with it
  std::string before, after;  ///< function, module or address
};

/// Code of the kernel or of a module of it that is not what it was, and that the kernel did not
/// change by its own means.
struct KernelCodeChange {
  std::uint64_t address = 0;           ///< of the first byte that differs
  std::uint64_t bytes = 0;             ///< that differ, on one page
  std::vector<std::string> functions;  ///< whose code differs
  std::string target;  ///< where a jump that was put there leads: function, module or address
};

/// A slot of a module's import address table (Windows) or global offset table (Linux) that leads
/// elsewhere than the loader made it lead.
struct ReplacedImport {
  std::string importer;       ///< module the slot is in
  std::string function;       ///< that belongs there: "kernel32!CreateFileW"; "getpid"
  std::uint64_t slot = 0;     ///< its address
  std::uint64_t address = 0;  ///< where it leads
  std::string target;         ///< the same: "module+0x10"; an address where no module is
};

/// A process that the kernel has, or that runs, and that one of its ways to find processes does
/// not know.
struct HiddenProcess {
  std::uint32_t pid = 0;
  std::shared_ptr<const Process> process;  ///< null when nothing is known of it
  std::vector<std::string> missing_from;   ///< "task_list", "pid_table"
};

/// A kernel module that is loaded, and is not in the list of modules.
struct HiddenModule {
  std::string name;
  std::uint64_t address = 0;  ///< of its code
  std::uint64_t bytes = 0;    ///< of all of it
};

/// What was done to the kernel itself.
using KernelTampering =
    std::variant<TableChange, EntryChange, KernelCodeChange, HiddenProcess, HiddenModule>;

/// One moment (entry or exit) of a hooked kernel function, decoded. Borrowed for the callback.
class Call {
 public:
  Call(const capture::RecordView& record, const hook::HookSpec& spec, std::size_t spec_index,
       std::chrono::system_clock::time_point time, std::shared_ptr<const Process> process)
      : record_(&record),
        spec_(&spec),
        spec_index_(spec_index),
        time_(time),
        process_(std::move(process)) {}

  [[nodiscard]] const hook::HookSpec& spec() const { return *spec_; }
  [[nodiscard]] std::size_t spec_index() const { return spec_index_; }  ///< within hooks()
  [[nodiscard]] bool is_exit() const { return record_->header().kind == capture::RecordKind::exit; }
  [[nodiscard]] std::chrono::system_clock::time_point time() const { return time_; }
  [[nodiscard]] const std::shared_ptr<const Process>& process() const { return process_; }
  [[nodiscard]] std::uint32_t thread_id() const;
  [[nodiscard]] std::uint64_t context(hook::ContextWord word) const;

  /// Captures by position: entry captures first, then exit captures (see HookSpec).
  [[nodiscard]] std::uint64_t word(std::size_t capture) const;  ///< 0 when it was left out
  /// Whether a word was captured: none is that lies in unreadable memory.
  [[nodiscard]] bool has_word(std::size_t capture) const;
  [[nodiscard]] std::string_view text(std::size_t capture) const;  ///< string and bytes captures
  [[nodiscard]] const capture::FieldView* field(std::size_t capture) const;
  [[nodiscard]] const capture::RecordView& record() const { return *record_; }

 private:
  const capture::RecordView* record_;
  const hook::HookSpec* spec_;
  std::size_t spec_index_;
  std::chrono::system_clock::time_point time_;
  std::shared_ptr<const Process> process_;
};

/// What a family may ask of the guest and say to the world. Implemented by the monitor.
class Context {
 public:
  virtual ~Context() = default;

  /// Publishes an event; the monitor fills sequence, and time/process/thread from `call` if unset.
  virtual void emit(const Call& call, Event event) = 0;
  /// The same, and the Win32 ids.
  virtual void emit(const UserCall& call, Event event) = 0;
  /// Publishes an event that belongs to no call (totals at process exit or end of session).
  virtual void emit(Event event) = 0;

  /// The path a `path` or `dentry` capture stands for, as the acting process sees it.
  [[nodiscard]] virtual std::string path(const Call& call, std::size_t capture) = 0;
  /// Path of an open `struct file *` as the acting process sees it, read from guest memory now;
  /// empty when it makes no sense.
  [[nodiscard]] virtual std::string file_path(const Call& call, std::uint64_t file_address) = 0;
  /// The code that made the system call during which `call` happened (kContextUserIp, looked up in
  /// the maps of the process as they are now; answers may be cached).
  [[nodiscard]] virtual CodePlace code_origin(const Call& call) = 0;
  /// The module in the loader's list of the calling Windows process that holds an address, as the
  /// list is now; an empty name when none does, nothing when the list cannot be read.
  [[nodiscard]] virtual std::optional<std::string> windows_module_at(const UserCall& call,
                                                                     std::uint64_t address) = 0;
  /// A process by its pid as known now; null when unknown.
  [[nodiscard]] virtual std::shared_ptr<const Process> process_by_pid(std::uint32_t pid) = 0;

  /// The container a `struct css_set *` stands for, read from guest memory now: empty outside
  /// containers, nothing when it makes no sense.
  [[nodiscard]] virtual std::optional<std::string> container_id(std::uint64_t control_groups) = 0;

  // Process table changes, said by the process family alone.
  /// `child` has what differs from the parent: ids, start time, container.
  virtual std::shared_ptr<const Process> process_forked(const Call& call, std::uint64_t child_task,
                                                        Process child) = 0;
  virtual std::shared_ptr<const Process> process_executed(const Call& call, Process image) = 0;
  /// A process, named by its pid and start time, was put into a control group.
  virtual void process_moved(std::uint32_t pid, std::uint64_t start_time,
                             const std::string& container_id) = 0;
  virtual void process_exited(const Call& call) = 0;

  // What the kernel does to itself, said by the kernel family alone.
  /// It is about to write to its code.
  virtual void kernel_code_patched(std::uint64_t address, std::uint64_t length) = 0;
  /// A module (its struct module) was loaded.
  virtual void kernel_module_loaded(std::uint64_t module) = 0;
  /// LSTAR of the processor `cpu` is about to be set.
  virtual void kernel_entry_set(std::uint64_t lstar, std::uint64_t cpu) = 0;
};

/// A family of behaviours. Adding one: a folder with a class like this and one line in
/// registry.cpp.
class Family {
 public:
  virtual ~Family() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;         ///< as in --behaviours
  [[nodiscard]] virtual std::string_view description() const = 0;  ///< one line for --help
  /// Families of Windows take part only where signatures of Windows are loaded.
  [[nodiscard]] virtual Platform platform() const { return Platform::linux; }
  /// In a guest for such programs. What Windows programs do is told once, by Windows' families.
  [[nodiscard]] virtual bool on_by_default(Platform guest) const { return guest == platform(); }
  /// Functions of the kernel to hook; asked once. A hook whose functions the kernel lacks is
  /// reported, not fatal.
  [[nodiscard]] virtual std::vector<hook::HookSpec> hooks() const { return {}; }
  /// A record of one of the own hooks.
  virtual void on_call(const Call&, Context&) {}
  /// Functions in user mode to hook; asked once. What has no signature is reported, not fatal.
  [[nodiscard]] virtual std::vector<WantedApi> apis() const { return {}; }
  /// Such a call begins (WantedApi::at_entry).
  virtual void on_user_call_entered(const UserCall&, Context&) {}
  /// Such a call is over, in order of the returns. It may not have returned: see UserCall::api.
  virtual void on_user_call(const UserCall&, Context&) {}
  /// A record of any family's hook, before its own family gets it; `call.spec_index()` is that
  /// family's.
  virtual void on_any_call(const Call&, Context&) {}
  /// A process is gone: flush and forget what is kept for it.
  virtual void on_process_exit(const std::shared_ptr<const Process>&, Context&) {}
  /// True when the two below are to be called: then all user-mode code pages are looked at.
  [[nodiscard]] virtual bool wants_unbacked_code() const { return false; }
  /// Code ran on a page that belongs to no file (spec-less notice; `address` is the page's).
  virtual void on_unbacked_code(const std::shared_ptr<const Process>&, std::uint64_t /*address*/,
                                std::chrono::system_clock::time_point, Context&) {}
  /// Code ran on a page of a file that was changed in this process.
  virtual void on_modified_code(const std::shared_ptr<const Process>&, const ModifiedCode&,
                                std::chrono::system_clock::time_point, Context&) {}
  /// True when on_kernel_tampered() is to be called: then the kernel's tables, code and lists are
  /// compared from time to time.
  [[nodiscard]] virtual bool wants_kernel_checks() const { return false; }
  virtual void on_kernel_tampered(const KernelTampering&, std::chrono::system_clock::time_point,
                                  Context&) {}
  /// True when on_import_replaced() is to be called: then the imports of the family's platform's
  /// processes are compared from time to time, if they make calls that are hooked.
  [[nodiscard]] virtual bool wants_import_checks() const { return false; }
  virtual void on_import_replaced(const std::shared_ptr<const Process>&, const ReplacedImport&,
                                  std::chrono::system_clock::time_point, Context&) {}
  /// The session ends: publish totals still held.
  virtual void on_end(Context&) {}
};

/// All families, in the order they are shown.
[[nodiscard]] std::vector<std::unique_ptr<Family>> make_families();

}  // namespace glasshook::behaviour
