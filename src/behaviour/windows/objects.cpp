#include "behaviour/windows/objects.h"

#include <algorithm>
#include <utility>

#include "behaviour/windows/nt_path.h"
#include "behaviour/windows/object_makers.h"

namespace glasshook::behaviour::windows {
namespace {

// winnt.h, ntdef.h
constexpr std::uint64_t kObjInherit = 2;         // OBJ_INHERIT
constexpr std::uint64_t kCloseSource = 1;        // DUPLICATE_CLOSE_SOURCE
constexpr std::uint64_t kSameAttributes = 4;     // DUPLICATE_SAME_ATTRIBUTES
constexpr std::uint64_t kHandleFlags = 4;        // ObjectHandleFlagInformation
constexpr std::uint64_t kInheritHandles = 4;     // PROCESS_CREATE_FLAGS_INHERIT_HANDLES
constexpr std::uint64_t kDirectoryFile = 1;      // FILE_DIRECTORY_FILE
constexpr std::uint64_t kOpenByFileId = 0x2000;  // FILE_OPEN_BY_FILE_ID
constexpr std::uint64_t kCurrentProcess = ~std::uint64_t{0};
constexpr std::uint32_t kRootDirectoryOffset = 8, kAttributesOffset = 24;  // OBJECT_ATTRIBUTES
constexpr std::size_t kMostCreations = 64;  ///< of one process at once

/// The low two bits of a handle are the program's own.
std::uint64_t plain(std::uint64_t handle) { return handle & ~std::uint64_t{3}; }

Closing closing_of(const UserCall& call) {
  return {.process = call.process, .thread_id = call.thread_id, .time = call.ended};
}

ObjectKind kind_of(FileKind kind) {
  switch (kind) {
    case FileKind::file:
      return ObjectKind::file;
    case FileKind::pipe:
      return ObjectKind::pipe;
    case FileKind::mailslot:
      return ObjectKind::mailslot;
    case FileKind::device:
      break;
  }
  return ObjectKind::device;
}

}  // namespace

NameRequest name_request(const UserCall& call, std::string_view parameter) {
  NameRequest request{.root = call.number(parameter, kRootDirectoryOffset), .name = {}};
  if (const api::NestedValue* name = call.nested(parameter, "ObjectName")) {
    request.name = name->data;
    request.truncated = name->truncated;
  }
  return request;
}

std::vector<WantedApi> Objects::apis() {
  return {{"ntdll!NtCreateFile"},
          {"ntdll!NtOpenFile"},
          {"ntdll!NtCreateKey"},
          {"ntdll!NtOpenKey"},
          {"ntdll!NtOpenKeyEx"},
          {"ntdll!NtCreateNamedPipeFile"},
          {"ntdll!NtCreateMailslotFile"},
          {"ntdll!NtCreateKeyTransacted"},
          {"ntdll!NtOpenKeyTransacted"},
          {"ntdll!NtOpenKeyTransactedEx"},
          {"ntdll!NtClose"},
          {"ntdll!NtDuplicateObject"},
          {"ntdll!NtSetInformationObject"},
          {"ntdll!NtCreateUserProcess", true}};
}

void Objects::see_entered(const UserCall& call) {
  if (!call.process || call.id == last_entered_ || call.name() != "NtCreateUserProcess") return;
  last_entered_ = call.id;
  Creation creation{.call = call.id, .inherited = {}};
  const Owner* owner = known_owner(call.process.get());
  if (owner != nullptr && (call.raw("ProcessFlags") & kInheritHandles) != 0)
    for (const auto& [handle, entry] : owner->table)
      if (entry.inheritable) creation.inherited.emplace(handle, entry);
  if (creations_.size() >= kMostProcesses) creations_.clear();
  auto& creations = creations_[call.process->entity_id];
  if (creations.size() < kMostCreations) creations.push_back(std::move(creation));
}

void Objects::see(const UserCall& call, Context& context) {
  if (!call.process || call.id == last_seen_) return;
  last_seen_ = call.id;
  owner_of(call.process, call.win32_process_id);
  const std::string_view name = call.name();
  if (name == "NtClose") return closed(call, context);
  if (name == "NtDuplicateObject") return duplicated(call, context);
  if (name == "NtSetInformationObject") return information_set(call);
  if (name == "NtCreateUserProcess") return process_created(call, context);
  if (!call.succeeded()) return;
  const auto makers = object_makers();
  const auto maker = std::ranges::find(makers, name, &ObjectMaker::function);
  if (maker == makers.end()) return;
  Object object = resolve(call, maker->kind, name_request(call, maker->attributes));
  const std::uint64_t options = call.raw("CreateOptions") | call.raw("OpenOptions");
  if (maker->kind == ObjectKind::file) {
    object.unresolved |= (options & kOpenByFileId) != 0;
    object.directory = (options & kDirectoryFile) != 0;
  }
  if (const auto* id = call.argument("ClientId"); id != nullptr && id->captured) {
    object.process_id = static_cast<std::uint32_t>(call.number("ClientId"));
    object.thread_id = static_cast<std::uint32_t>(call.number("ClientId", 8));
  }
  made(call, maker->handle, std::move(object), context);
}

Object Objects::resolve(const UserCall& call, ObjectKind kind, const NameRequest& request) const {
  Object object{.kind = kind, .name = {}, .truncated = request.truncated};
  if (request.root == 0) {
    if (kind == ObjectKind::file) {
      FileName name = file_name(request.name);
      object.kind = kind_of(name.kind);
      object.name = std::move(name.text);
      object.unresolved = object.name.empty();
    } else {
      object.name =
          kind == ObjectKind::key ? registry_name(request.name) : object_name(request.name);
      object.unresolved = kind == ObjectKind::key && object.name.empty();
    }
    return object;
  }
  const ObjectPtr root = find(call, request.root);
  if (root == nullptr) {
    // Named objects are nearly always in the directory of their session.
    object.name = request.name;
    object.unresolved = kind == ObjectKind::file || kind == ObjectKind::key;
    return object;
  }
  if (root->kind == ObjectKind::directory) {
    object.name = object_name(join(root->name, request.name));
    return object;
  }
  if (kind == ObjectKind::file) object.kind = root->kind;
  object.name = join(root->name, request.name);
  object.unresolved = root->unresolved;
  object.truncated |= root->truncated;
  return object;
}

void Objects::made(const UserCall& call, std::string_view parameter, Object object,
                   Context& context) {
  const std::uint64_t handle = plain(call.number(parameter));
  Owner* owner = owner_of(call.process, call.win32_process_id);
  if (handle == 0 || owner == nullptr) return;
  object.id = next_id_++;
  const bool inherit = (call.number("ObjectAttributes", kAttributesOffset, 4) & kObjInherit) != 0;
  put(*owner, handle, {std::make_shared<Object>(std::move(object)), call.ended, inherit},
      closing_of(call), context);
}

void Objects::put(Owner& owner, std::uint64_t handle, Handle made, const Closing& closing,
                  Context& context) {
  const auto known = owner.table.find(handle);
  if (known != owner.table.end()) {
    // Its close was not seen.
    Handle before = std::exchange(known->second, std::move(made));
    ++known->second.object->handles;
    release(std::move(before), closing, context);
    return;
  }
  if (handle_count_ >= kMostHandles) return;
  ++made.object->handles;
  ++handle_count_;
  owner.table.emplace(handle, std::move(made));
}

void Objects::release(Handle handle, const Closing& closing, Context& context) {
  Object& object = *handle.object;
  if (object.handles > 0 && --object.handles > 0) return;
  for (const auto& [owner, listener] : listeners_) listener(object, closing, context);
}

void Objects::closed(const UserCall& call, Context& context) {
  Owner* owner = owner_of(call.process, call.win32_process_id);
  if (owner == nullptr || !call.succeeded()) return;
  const auto found = owner->table.find(plain(call.raw("Handle")));
  // Between the close and its return another thread can have got the same handle anew.
  if (found == owner->table.end() || found->second.made > call.began) return;
  Handle handle = std::move(found->second);
  owner->table.erase(found);
  --handle_count_;
  release(std::move(handle), closing_of(call), context);
}

void Objects::duplicated(const UserCall& call, Context& context) {
  Owner* source = table_behind(call, call.raw("SourceProcessHandle"));
  if (source == nullptr) return;
  const std::uint64_t options = call.raw("Options");
  const auto found = source->table.find(plain(call.raw("SourceHandle")));
  if (found == source->table.end() || found->second.made > call.began) return;
  Handle copy = found->second;
  if ((options & kCloseSource) != 0) {
    // Windows closes it whatever becomes of the copy.
    Handle gone = std::move(found->second);
    source->table.erase(found);
    --handle_count_;
    ++gone.object->handles;  // until the copy is in its table
    release(std::move(gone), closing_of(call), context);
  } else {
    ++copy.object->handles;
  }
  Owner* target = call.succeeded() ? table_behind(call, call.raw("TargetProcessHandle")) : nullptr;
  const std::uint64_t handle = plain(call.number("TargetHandle"));
  if ((options & kSameAttributes) == 0)
    copy.inheritable = (call.raw("HandleAttributes") & kObjInherit) != 0;
  copy.made = call.ended;
  if (target != nullptr && handle != 0) put(*target, handle, copy, closing_of(call), context);
  release(std::move(copy), closing_of(call), context);
}

void Objects::information_set(const UserCall& call) {
  if (!call.succeeded() || (call.raw("ObjectInformationClass") & 0xffffffff) != kHandleFlags)
    return;
  Owner* owner = owner_of(call.process, call.win32_process_id);
  if (owner == nullptr || !call.has_number("ObjectInformation", 0, 1)) return;
  const auto found = owner->table.find(plain(call.raw("Handle")));
  if (found != owner->table.end())
    found->second.inheritable = call.number("ObjectInformation", 0, 1) != 0;
}

void Objects::process_created(const UserCall& call, Context& context) {
  const auto creations = creations_.find(call.process->entity_id);
  if (!call.succeeded()) {
    if (creations != creations_.end())
      std::erase_if(creations->second, [&](const Creation& c) { return c.call == call.id; });
    return;
  }
  Object process{.kind = ObjectKind::process, .name = {}};
  if (const api::NestedValue* image = call.nested("ProcessParameters", "ImagePathName"))
    process.name = file_name(image->data).text;
  Object thread{.kind = ObjectKind::thread, .name = {}};
  made(call, "ProcessHandle", std::move(process), context);
  made(call, "ThreadHandle", std::move(thread), context);
}

Objects::Owner* Objects::table_behind(const UserCall& call, std::uint64_t process_handle) {
  if (process_handle == kCurrentProcess) return owner_of(call.process, call.win32_process_id);
  const ObjectPtr object = find(call, process_handle);
  if (object == nullptr || object->kind != ObjectKind::process || object->process_id == 0)
    return nullptr;
  const auto id = by_win32_id_.find(object->process_id);
  if (id == by_win32_id_.end()) return nullptr;
  const auto owner = owners_.find(id->second);
  return owner == owners_.end() ? nullptr : &owner->second;
}

Objects::Owner* Objects::owner_of(const std::shared_ptr<const Process>& process,
                                  std::uint32_t win32_id) {
  if (!process) return nullptr;
  auto found = owners_.find(process->entity_id);
  if (found == owners_.end()) {
    if (owners_.size() >= kMostProcesses) return nullptr;
    found = owners_.emplace(process->entity_id, Owner{.image = process, .table = {}}).first;
    inherit(*process, found->second);
  }
  Owner& owner = found->second;
  if (win32_id != 0 && owner.win32_process_id != win32_id) {
    owner.win32_process_id = win32_id;
    by_win32_id_[win32_id] = process->entity_id;
  }
  owner.image = process;
  return &owner;
}

const Objects::Owner* Objects::known_owner(const Process* process) const {
  if (process == nullptr) return nullptr;
  const auto found = owners_.find(process->entity_id);
  return found == owners_.end() ? nullptr : &found->second;
}

bool Objects::inherit_the_same(const std::vector<Creation>& creations) {
  const auto same = [&](const Creation& other) {
    const Table& a = creations.front().inherited;
    const Table& b = other.inherited;
    return a.size() == b.size() && std::ranges::all_of(a, [&](const auto& entry) {
             const auto found = b.find(entry.first);
             return found != b.end() && found->second.object == entry.second.object;
           });
  };
  return std::ranges::all_of(creations, same);
}

/// A new process has the handles that its creator gave it. Wine's fork twice: the creator is an
/// ancestor.
void Objects::inherit(const Process& process, Owner& owner) {
  constexpr int kMostGenerations = 4;
  const Process* ancestor = process.parent.get();
  for (int i = 0; ancestor != nullptr && i < kMostGenerations;
       ++i, ancestor = ancestor->parent.get()) {
    const auto found = creations_.find(ancestor->entity_id);
    if (found == creations_.end() || found->second.empty()) continue;
    // Of several at once it is not known which this is.
    if (inherit_the_same(found->second))
      for (auto& [handle, entry] : found->second.front().inherited) {
        if (handle_count_ >= kMostHandles) break;
        ++entry.object->handles;
        ++handle_count_;
        owner.table.emplace(handle, entry);
      }
    found->second.erase(found->second.begin());
    return;
  }
}

void Objects::drop_all(Owner& owner, const Closing& closing, Context& context) {
  std::vector<Handle> handles;
  for (auto& [handle, entry] : owner.table) handles.push_back(std::move(entry));
  owner.table.clear();
  handle_count_ -= handles.size();
  std::ranges::sort(handles, {}, [](const Handle& h) { return h.object->id; });
  for (Handle& handle : handles) release(std::move(handle), closing, context);
}

void Objects::process_exited(const std::shared_ptr<const Process>& process, Time now,
                             Context& context) {
  if (!process) return;
  creations_.erase(process->entity_id);
  const auto found = owners_.find(process->entity_id);
  if (found == owners_.end()) return;
  Owner owner = std::move(found->second);
  owners_.erase(found);
  const auto id = by_win32_id_.find(owner.win32_process_id);
  if (id != by_win32_id_.end() && id->second == process->entity_id) by_win32_id_.erase(id);
  drop_all(owner, {.process = process, .thread_id = 0, .time = now}, context);
}

ObjectPtr Objects::find(const UserCall& call, std::uint64_t handle) const {
  const Owner* owner = known_owner(call.process.get());
  if (owner == nullptr) return nullptr;
  const auto found = owner->table.find(plain(handle));
  return found == owner->table.end() ? nullptr : found->second.object;
}

ObjectPtr Objects::find_or_unknown(const UserCall& call, std::uint64_t handle) {
  if (ObjectPtr known = find(call, handle)) return known;
  auto unknown = std::make_shared<Object>(
      Object{.id = next_id_++, .kind = ObjectKind::unknown, .name = {}, .unresolved = true});
  Owner* owner = owner_of(call.process, call.win32_process_id);
  if (owner != nullptr && plain(handle) != 0 && handle_count_ < kMostHandles) {
    ++unknown->handles;
    ++handle_count_;
    owner->table.emplace(plain(handle), Handle{unknown, call.began});
  }
  return unknown;
}

std::shared_ptr<const Process> Objects::process_by_win32_id(std::uint32_t id) const {
  const auto found = by_win32_id_.find(id);
  if (found == by_win32_id_.end()) return nullptr;
  const auto owner = owners_.find(found->second);
  return owner == owners_.end() ? nullptr : owner->second.image;
}

}  // namespace glasshook::behaviour::windows
