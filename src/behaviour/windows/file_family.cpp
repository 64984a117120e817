#include "behaviour/windows/file_family.h"

#include <array>

#include "behaviour/windows/nt_path.h"

namespace glasshook::behaviour::windows {
namespace {

// winternl.h, ntifs.h
constexpr std::uint64_t kDeleteOnClose = 0x1000;  // FILE_DELETE_ON_CLOSE
constexpr std::uint64_t kPending = 0x103;         // STATUS_PENDING
/// Access to what is in a file: reading, writing, appending, executing; generic rights; all.
constexpr std::uint64_t kDataAccess = 0xf2000027;
/// Access that changes what is in a file.
constexpr std::uint64_t kWriteAccess = 0x50000006;
// IO_STATUS_BLOCK
constexpr std::size_t kInformation = 8;
// IO_STATUS_BLOCK.Information of an open
constexpr auto kOutcomes = std::to_array<std::string_view>(
    {"FILE_SUPERSEDED", "FILE_OPENED", "FILE_CREATED", "FILE_OVERWRITTEN"});
constexpr std::uint64_t kOpened = 1;
constexpr std::size_t kMostCopies = 10'000;

std::string_view type_of(const Object& file) {
  switch (file.kind) {
    case ObjectKind::pipe:
      return "pipe";
    case ObjectKind::device:
    case ObjectKind::mailslot:
      return "device";
    default:
      return file.directory ? "dir" : std::string_view{};
  }
}

std::string shown(const UserCall& call, std::string_view argument) {
  const api::ArgumentValue* value = call.argument(argument);
  return value == nullptr ? std::string{} : value->text;
}

FileTotals::Actor actor_of(const UserCall& call) {
  return {.key = key_of(*call.process),
          .process = call.process,
          .thread_id = call.thread_id,
          .time = call.ended};
}

}  // namespace

FileFamily::FileFamily(std::shared_ptr<Objects> objects) : WindowsTableFamily(std::move(objects)) {
  this->objects().on_closed(this, [this](const Object& object, const Closing& closing,
                                         Context& context) { closed(object, closing, context); });
}

std::vector<FileFamily::Rule> FileFamily::rules() {
  return {{"ntdll!NtCreateFile", &FileFamily::on_open},
          {"ntdll!NtOpenFile", &FileFamily::on_open},
          {"ntdll!NtReadFile", &FileFamily::on_read},
          {"ntdll!NtReadFileScatter", &FileFamily::on_read},
          {"ntdll!NtWriteFile", &FileFamily::on_write},
          {"ntdll!NtWriteFileGather", &FileFamily::on_write},
          {"ntdll!NtDeleteFile", &FileFamily::on_delete},
          {"ntdll!NtQueryDirectoryFile", &FileFamily::on_list},
          {"ntdll!NtSetInformationFile", &FileFamily::on_set_information}};
}

std::vector<WantedApi> FileFamily::apis() const {
  std::vector<WantedApi> all = WindowsTableFamily::apis();
  all.push_back({"kernel32!CopyFileExW", true});
  all.push_back({"kernel32!CopyFile2", true});
  return all;
}

void FileFamily::entered(const UserCall& call, Context&) {
  if (!call.process || !call.name().starts_with("CopyFile")) return;
  if (copies_.size() < kMostCopies)  // one copy function may be made of another
    copies_.try_emplace({call.process->entity_id, call.thread_id},
                        Copy{.call = call.id, .from = {}, .to = {}});
}

void FileFamily::returned(const UserCall& call, Context& context) {
  if (call.process && call.name().starts_with("CopyFile")) return on_copied(call, context);
  WindowsTableFamily::returned(call, context);
}

void FileFamily::on_copied(const UserCall& call, Context& context) {
  const auto found = copies_.find({call.process->entity_id, call.thread_id});
  if (found == copies_.end() || found->second.call != call.id) return;
  const Copy copy = std::move(found->second);
  copies_.erase(found);
  if (!call.succeeded() || copy.from.empty() || copy.to.empty()) return;
  Event event = make_event("file_copied");
  add(event, "file.path", copy.from);
  add(event, "file.target_path", copy.to);
  context.emit(call, std::move(event));
}

void FileFamily::note_for_copy(const UserCall& call, const Object& file, bool is_target) {
  const auto found = copies_.find({call.process->entity_id, call.thread_id});
  if (found == copies_.end()) return;
  std::string& name = is_target ? found->second.to : found->second.from;
  if (name.empty()) name = file.name;
}

FileFamily::Fate& FileFamily::fate_of(const Object& file) {
  // Without a handle it will not be closed.
  if (file.handles == 0) return no_fate_ = {};
  return fates_[file.id];
}

void FileFamily::on_open(const UserCall& call, Context& context) {
  const ObjectPtr file = objects().find(call, call.number("FileHandle"));
  if (file == nullptr) return;
  const std::string_view options_name =
      call.name() == "NtOpenFile" ? "OpenOptions" : "CreateOptions";
  const std::uint64_t options = call.raw(options_name);
  const std::uint64_t access = call.raw("DesiredAccess");
  const bool has_outcome = call.has_number("IoStatusBlock", kInformation);
  const std::uint64_t outcome = has_outcome ? call.number("IoStatusBlock", kInformation) : kOpened;
  if ((options & kDeleteOnClose) != 0) fate_of(*file).delete_on_close = true;
  const bool made = outcome != kOpened && outcome < kOutcomes.size();
  note_for_copy(call, *file, made || (access & kWriteAccess) != 0);
  // An open for something else than what is in the file is a means to what is told then.
  if (!made && (file->directory || (access & kDataAccess) == 0)) return;
  Event event = make_event(!made             ? "file_opened"
                           : file->directory ? "directory_created"
                                             : "file_created");
  add_known(event, "file.path", file->name);
  add_known(event, "file.type", std::string(type_of(*file)));
  if (has_outcome && outcome < kOutcomes.size())
    add(event, "glasshook.open.disposition", std::string(kOutcomes[outcome]));
  add_known(event, "glasshook.open.access", shown(call, "DesiredAccess"));
  add_known(event, "glasshook.open.options", shown(call, options_name));
  add_flag(event, "glasshook.name_truncated", file->truncated);
  add_handle(event, *file, call.number("FileHandle"));
  context.emit(call, std::move(event));
}

void FileFamily::count(const UserCall& call, Context& context, bool write) {
  const std::uint64_t handle = call.raw("FileHandle");
  const ObjectPtr file = objects().find_or_unknown(call, handle);
  if (file->kind != ObjectKind::file && file->kind != ObjectKind::unknown) return;
  // Until it ends, an operation has not said how much it moved.
  const bool ended = call.number("IoStatusBlock", 0, 4) != kPending;
  const std::uint64_t most = call.raw("Length") & 0xffffffff;
  const std::uint64_t bytes = ended ? call.number("IoStatusBlock", kInformation) : 0;
  totals_.count(actor_of(call),
                {.file = file->id,
                 .inode = {},
                 .size = {},
                 .bytes = std::min(bytes, most),
                 .write = write,
                 .unresolved_handle = file->unresolved ? hex(handle) : std::string{}},
                file->name, context);
}

void FileFamily::on_delete(const UserCall& call, Context& context) {
  const Object file =
      objects().resolve(call, ObjectKind::file, name_request(call, "ObjectAttributes"));
  Event event = make_event("file_deleted");
  add_known(event, "file.path", file.name);
  add(event, "glasshook.delete.method", "NtDeleteFile");
  add_flag(event, "glasshook.name_truncated", file.truncated);
  add_handle(event, file, call.number("ObjectAttributes", 8));
  context.emit(call, std::move(event));
}

void FileFamily::on_list(const UserCall& call, Context& context) {
  const std::uint64_t handle = call.raw("FileHandle");
  const ObjectPtr directory = objects().find_or_unknown(call, handle);
  bool& listed = fate_of(*directory).listed;
  if (std::exchange(listed, true)) return;
  Event event = make_event("directory_listed");
  add_known(event, "file.path", directory->name);
  if (const api::NestedValue* pattern = call.nested("FileName", ""))
    add_known(event, "glasshook.directory.pattern", pattern->data);
  add_handle(event, *directory, handle);
  context.emit(call, std::move(event));
}

void FileFamily::closed(const Object& object, const Closing& closing, Context& context) {
  totals_.closed(object.id, closing.time, context);
  const auto found = fates_.find(object.id);
  if (found == fates_.end()) return;
  const Fate fate = found->second;
  fates_.erase(found);
  if (!fate.delete_on_close && !fate.deleted) return;
  Event event = make_event(object.directory ? "directory_deleted" : "file_deleted");
  event.process = closing.process;
  event.thread_id = closing.thread_id;
  event.time = closing.time;
  add_known(event, "file.path", object.name);
  add(event, "glasshook.delete.method",
      fate.deleted ? "FileDispositionInformation" : "FILE_DELETE_ON_CLOSE");
  add_flag(event, "glasshook.name_truncated", object.truncated);
  add_flag(event, "glasshook.handle.unresolved", object.unresolved);
  context.emit(std::move(event));
}

void FileFamily::process_ended(const Process& process, Context& context) {
  totals_.process_exited(process, now(), context);
  const auto first = copies_.lower_bound({process.entity_id, 0});
  auto last = first;
  while (last != copies_.end() && last->first.first == process.entity_id) ++last;
  copies_.erase(first, last);
}

}  // namespace glasshook::behaviour::windows
