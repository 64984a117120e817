#include "behaviour/module/module_family.h"

#include <unordered_set>

#include "behaviour/per_image.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

/// x86-64 numbers of execve and execveat, during which the kernel itself maps the program.
constexpr std::uint64_t kSysExecve = 59, kSysExecveat = 322;

enum Map { kMapPath, kMapAddress, kMapInode };

class ModuleFamily final : public TableFamily<ModuleFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "module"; }
  [[nodiscard]] std::string_view description() const override {
    return "shared libraries loaded into processes";
  }

  static std::vector<Rule> rules() {
    // Bit 2 of prot is PROT_EXEC.
    return {{at_exit({"vm_mmap_pgoff"}, {"file != 0", "prot & 4"}, {kNoError},
                     {path("path", "file->f_path"), word("address", "ret"),
                      word("inode", "file->f_inode->i_ino")}),
             &ModuleFamily::on_map}};
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context&) override {
    if (process) loaded_.forget(*process);
  }

 private:
  /// Libraries remembered for one program.
  static constexpr std::size_t kMaxLibraries = 4096;

  void on_map(const Call& call, Context& context) {
    const std::uint64_t syscall = call.context(hook::kContextSyscall);
    if (syscall == kSysExecve || syscall == kSysExecveat || !call.process()) return;
    const std::string path = rooted(context.path(call, kMapPath));
    if (path.empty() || path == call.process()->executable) return;
    std::unordered_set<std::string>& loaded = loaded_.of(call.process());
    if (loaded.size() >= kMaxLibraries || !loaded.insert(path).second) return;

    Event event = make_event("library_loaded");
    add(event, "dll.path", path);
    add(event, "dll.name", path.substr(path.rfind('/') + 1));
    add(event, "file.inode", std::to_string(call.word(kMapInode)));
    add(event, "glasshook.address", hex(call.word(kMapAddress)));
    context.emit(call, std::move(event));
  }

  PerImage<std::unordered_set<std::string>> loaded_;
};

}  // namespace

std::unique_ptr<Family> make_module_family() { return std::make_unique<ModuleFamily>(); }

}  // namespace glasshook::behaviour
