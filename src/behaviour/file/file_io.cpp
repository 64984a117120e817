#include "behaviour/file/file_family.h"
#include "behaviour/file/open_flags.h"

namespace glasshook::behaviour {
namespace {

/// include/linux/fs.h: the open made the file.
constexpr std::uint64_t kFmodeCreated = 0x100000;
/// x86-64 number of copy_file_range, which splices inside where the file system cannot copy.
constexpr std::uint64_t kSysCopyFileRange = 326;
/// io_uring opcodes that write (include/uapi/linux/io_uring.h): WRITEV, WRITE_FIXED, WRITE.
constexpr std::uint64_t kUringWrites = 1u << 2 | 1u << 5 | 1u << 23;

enum Open { kOpenPath, kOpenFile, kOpenInode, kOpenMode, kOpenFmode, kOpenFlags };
enum Io { kIoFile, kIoInode, kIoSize, kIoBytes, kIoWords };
enum IoUring { kUringOpcode = kIoWords };
enum Close { kCloseFile };
enum MemoryFile { kMemoryName };

std::string is_regular(const std::string& file) {
  return "(" + file + "->f_inode->i_mode & 0xf000) == 0x8000";
}

/// The captures of enum Io.
std::vector<hook::Capture> io_captures(const std::string& file) {
  return {word("file", file), word("inode", file + "->f_inode->i_ino"),
          word("size", file + "->f_inode->i_size"), word("bytes", "ret")};
}

hook::HookSpec io_hook(std::vector<std::string> functions, const std::string& file) {
  return at_exit(std::move(functions), {is_regular(file)}, {"ret > 0"}, io_captures(file));
}

/// File systems that lie on others (overlayfs) copy on behalf of programs, with credentials of
/// their own; programs do not.
hook::HookSpec splice_hook(std::vector<std::string> functions, const std::string& file) {
  hook::HookSpec spec = io_hook(std::move(functions), file);
  spec.entry.when.emplace_back(kOwnCredentials);
  return spec;
}

hook::HookSpec copy_hook(const char* function) {
  std::vector<hook::Capture> captures = io_captures("file_in");
  for (hook::Capture& capture : io_captures("file_out")) captures.push_back(std::move(capture));
  return at_exit({function}, {kOwnCredentials}, {"ret > 0"}, std::move(captures));
}

hook::HookSpec io_uring_hook() {
  // Here `ret` is the argument that carries the result of the finished request. Before 5.16 the
  // request is found around its first member.
  const std::string request = "(req ?? (struct io_kiocb *)kiocb)";
  std::vector<hook::Capture> captures = io_captures(request + "->file");
  captures.push_back(word("opcode", request + "->opcode"));
  return optional(
      at_entry({"kiocb_done"}, {"ret > 0", is_regular(request + "->file")}, std::move(captures)));
}

hook::HookSpec open_hook() {
  // 0x20 is __FMODE_EXEC: the opening of a program, which is told as its execution.
  return at_exit({"do_filp_open"}, {"(op->open_flag & 0x20) == 0"}, {kNoError},
                 {path("path", "ret->f_path"), word("file", "ret"),
                  word("inode", "ret->f_inode->i_ino"), word("mode", "ret->f_inode->i_mode"),
                  word("f_mode", "ret->f_mode"), word("flags", "op->open_flag")});
}

/// The same at the last moment at which every open may still fail: the driver's own is ahead.
hook::HookSpec open_entry_hook() {
  hook::HookSpec spec =
      at_entry({"security_file_open"}, {"(file->f_flags & 0x20) == 0", kOwnCredentials},
               {path("path", "file->f_path"), word("file", "file"),
                word("inode", "file->f_inode->i_ino"), word("mode", "file->f_inode->i_mode"),
                word("f_mode", "file->f_mode"), word("flags", "file->f_flags")});
  spec.stands_in = true;
  return choke_point(std::move(spec));
}

}  // namespace

std::vector<FileFamily::Rule> FileFamily::rules() {
  std::vector<Rule> all = io_rules();
  for (auto more : {change_rules, mount_rules})
    for (Rule& rule : more()) all.push_back(std::move(rule));
  return all;
}

std::vector<FileFamily::Rule> FileFamily::io_rules() {
  return {
      {open_hook(), &FileFamily::on_open},
      {open_entry_hook(), &FileFamily::on_open},
      {io_hook({"vfs_read"}, "file"), &FileFamily::on_read},
      {io_hook({"vfs_write"}, "file"), &FileFamily::on_write},
      {io_hook({"vfs_readv"}, "file"), &FileFamily::on_read},
      {io_hook({"vfs_writev"}, "file"), &FileFamily::on_write},
      // sendfile and splice: what comes from a file, what goes into one.
      {splice_hook({"do_splice_direct"}, "in"), &FileFamily::on_splice_in},
      {splice_hook({"splice_file_to_pipe", "do_splice"}, "in"), &FileFamily::on_splice_in},
      {splice_hook({"iter_file_splice_write"}, "out"), &FileFamily::on_splice_out},
      {copy_hook("vfs_copy_file_range"), &FileFamily::on_copy},
      {copy_hook("vfs_clone_file_range"), &FileFamily::on_copy},
      {io_uring_hook(), &FileFamily::on_io_uring},
      // The totals know who read and wrote.
      {anonymous(at_entry({"__fput"}, {is_regular("file")}, {word("file", "file")})),
       &FileFamily::on_close},
      {at_exit({"shmem_file_setup"}, {R"(str(name) ~ "memfd:*")"}, {kNoError},
               {string("name", "name")}),
       &FileFamily::on_memory_file},
  };
}

void FileFamily::on_open(const Call& call, Context& context) {
  const std::string path = rooted(context.path(call, kOpenPath));
  const std::uint64_t inode = call.word(kOpenInode);
  const std::uint64_t mode = call.word(kOpenMode);
  open_files_.opened(call.word(kOpenFile), inode, path);

  const bool created = (call.word(kOpenFmode) & kFmodeCreated) != 0;
  Event event = make_event(created ? "file_created" : "file_opened");
  add_known(event, "file.path", path);
  add(event, "file.inode", std::to_string(inode));
  add_known(event, "file.type", std::string{file_type(mode)});
  add(event, "file.mode", octal_mode(mode));
  add(event, "glasshook.open.flags", open_flag_names(call.word(kOpenFlags)));
  context.emit(call, std::move(event));
}

void FileFamily::count(const Call& call, Context& context, std::size_t first, bool write) {
  const FileTotals::Operation operation{.file = call.word(first + kIoFile),
                                        .inode = call.word(first + kIoInode),
                                        .size = call.word(first + kIoSize),
                                        .bytes = call.word(first + kIoBytes),
                                        .write = write};
  const FileTotals::Actor actor{.key = key_of(call),
                                .process = call.process(),
                                .thread_id = call.thread_id(),
                                .time = call.time()};
  totals_.count(actor, operation, open_files_.path(operation.file, *operation.inode, call, context),
                context);
}

void FileFamily::on_read(const Call& call, Context& context) { count(call, context, 0, false); }

void FileFamily::on_write(const Call& call, Context& context) { count(call, context, 0, true); }

void FileFamily::on_splice_in(const Call& call, Context& context) {
  if (call.context(hook::kContextSyscall) != kSysCopyFileRange) count(call, context, 0, false);
}

void FileFamily::on_splice_out(const Call& call, Context& context) {
  if (call.context(hook::kContextSyscall) != kSysCopyFileRange) count(call, context, 0, true);
}

void FileFamily::on_copy(const Call& call, Context& context) {
  count(call, context, 0, false);
  count(call, context, kIoWords, true);
}

void FileFamily::on_io_uring(const Call& call, Context& context) {
  const std::uint64_t opcode = call.word(kUringOpcode);
  count(call, context, 0, opcode < 32 && (kUringWrites >> opcode & 1) != 0);
}

void FileFamily::on_close(const Call& call, Context& context) {
  const std::uint64_t file = call.word(kCloseFile);
  totals_.closed(file, now(), context);
  open_files_.closed(file);
}

void FileFamily::on_memory_file(const Call& call, Context& context) {
  Event event = make_event("memory_file_created");
  add(event, "file.path", "/" + std::string{call.text(kMemoryName)});
  context.emit(call, std::move(event));
}

void FileFamily::on_process_exit(const std::shared_ptr<const Process>& process, Context& context) {
  if (process) totals_.process_exited(*process, now(), context);
}

}  // namespace glasshook::behaviour
