// What NtSetInformationFile changes.
#include <array>

#include "api/windows_values.h"
#include "behaviour/windows/file_family.h"
#include "behaviour/windows/nt_path.h"

namespace glasshook::behaviour::windows {
namespace {

// FILE_INFORMATION_CLASS, wdm.h and ntifs.h
enum InformationClass : std::uint32_t {
  kBasic = 4,
  kRename = 10,
  kLink = 11,
  kDisposition = 13,
  kEndOfFile = 20,
  kDispositionEx = 64,
  kRenameEx = 65,
  kLinkEx = 72,
};

constexpr std::string_view kBuffer = "FileInformation";

/// Like iso_time(); empty beyond the year 9999.
std::string nanosecond_time(std::uint64_t filetime) {
  std::string text = api::filetime_text(filetime);
  if (!text.ends_with('Z')) return {};
  return text.insert(text.size() - 1, "00");
}

}  // namespace

std::vector<std::string> attribute_names(std::uint64_t attributes) {
  constexpr auto kNames = std::to_array<FlagName>({{0x1, "readonly"},
                                                   {0x2, "hidden"},
                                                   {0x4, "system"},
                                                   {0x10, "directory"},
                                                   {0x20, "archive"},
                                                   {0x40, "device"},
                                                   {0x80, "normal"},
                                                   {0x100, "temporary"},
                                                   {0x200, "sparse"},
                                                   {0x400, "reparse_point"},
                                                   {0x800, "compressed"},
                                                   {0x1000, "offline"},
                                                   {0x2000, "not_indexed"},
                                                   {0x4000, "encrypted"}});
  // It means that there is no other (winnt.h).
  constexpr std::uint64_t kNormal = 0x80;
  if (attributes != kNormal) attributes &= ~kNormal;
  std::vector<std::string> names;
  for (const FlagName& flag : kNames)
    if ((attributes & flag.value) != 0) names.emplace_back(flag.name);
  return names;
}

void FileFamily::on_set_information(const UserCall& call, Context& context) {
  const std::uint64_t handle = call.raw("FileHandle");
  const ObjectPtr file = objects().find_or_unknown(call, handle);
  switch (static_cast<std::uint32_t>(call.raw("FileInformationClass"))) {
    case kBasic:
      return on_basic(call, *file, context);
    case kRename:
      return on_new_name(call, *file, false, false, context);
    case kRenameEx:
      return on_new_name(call, *file, false, true, context);
    case kLink:
      return on_new_name(call, *file, true, false, context);
    case kLinkEx:
      return on_new_name(call, *file, true, true, context);
    case kEndOfFile:
      return on_size(call, *file, context);
    case kDisposition:
      if (call.has_number(kBuffer, 0, 1)) fate_of(*file).deleted = call.number(kBuffer, 0, 1) != 0;
      return;
    case kDispositionEx:  // FILE_DISPOSITION_DELETE
      if (call.has_number(kBuffer, 0, 4))
        fate_of(*file).deleted = (call.number(kBuffer, 0, 4) & 1) != 0;
      return;
    default:
      return;
  }
}

void FileFamily::on_basic(const UserCall& call, const Object& file, Context& context) {
  // FILE_BASIC_INFORMATION: four times, of which 0 and negative ones change nothing.
  struct TimeField {
    std::size_t offset;
    std::string_view field;
  };
  constexpr auto kTimes = std::to_array<TimeField>(
      {{0, "file.created"}, {8, "file.accessed"}, {16, "file.mtime"}, {24, "file.ctime"}});
  constexpr std::size_t kAttributes = 32;
  Event times = make_event("file_times_changed");
  add_known(times, "file.path", file.name);
  const std::size_t before = times.fields.size();
  for (const TimeField& time : kTimes) {
    const std::uint64_t value = call.number(kBuffer, time.offset);
    if (static_cast<std::int64_t>(value) > 0) add_known(times, time.field, nanosecond_time(value));
  }
  if (times.fields.size() > before) {
    add_handle(times, file, call.raw("FileHandle"));
    context.emit(call, std::move(times));
  }
  const std::uint64_t attributes = call.number(kBuffer, kAttributes, 4);
  if (attributes == 0) return;
  Event event = make_event("file_attribute_changed");
  add_known(event, "file.path", file.name);
  add(event, "file.attributes", attribute_names(attributes));
  add_handle(event, file, call.raw("FileHandle"));
  context.emit(call, std::move(event));
}

void FileFamily::on_new_name(const UserCall& call, Object& file, bool link, bool extended,
                             Context& context) {
  // FILE_RENAME_INFORMATION, FILE_LINK_INFORMATION; in their Ex forms flags are in front.
  constexpr std::size_t kRoot = 8, kLength = 16, kName = 20;
  const std::string_view buffer = call.data(kBuffer);
  if (buffer.size() < kName) return;
  const std::size_t length = call.number(kBuffer, kLength, 4);
  const std::string_view name = buffer.substr(kName, length);
  const NameRequest request{.root = call.number(kBuffer, kRoot),
                            .name = api::utf8_of_utf16(std::as_bytes(std::span(name))),
                            .truncated = name.size() < length};
  Object target;
  if (request.root == 0 && !request.name.starts_with('\\')) {
    // A bare name: in the same directory.
    const std::size_t end = file.name.rfind('\\');
    target = {.kind = file.kind,
              .name = join(end == file.name.npos ? "" : file.name.substr(0, end), request.name),
              .unresolved = file.unresolved,
              .truncated = request.truncated};
  } else {
    target = objects().resolve(call, ObjectKind::file, request);
  }
  Event event = make_event(link ? "file_linked" : "file_renamed");
  add_known(event, "file.path", file.name);
  add_known(event, "file.target_path", target.name);
  const std::uint64_t flags = call.number(kBuffer, 0, extended ? 4 : 1);
  add_flag(event, link ? "glasshook.link.replace" : "glasshook.rename.replace", (flags & 1) != 0);
  add_flag(event, "glasshook.name_truncated", target.truncated || file.truncated);
  add_handle(event, file.unresolved ? file : target,
             file.unresolved ? call.raw("FileHandle") : request.root);
  context.emit(call, std::move(event));
  if (link) return;
  file.name = std::move(target.name);
  file.unresolved = target.unresolved;
  file.truncated = target.truncated;
}

void FileFamily::on_size(const UserCall& call, const Object& file, Context& context) {
  if (!call.has_number(kBuffer)) return;
  Event event = make_event("file_truncated");
  add_known(event, "file.path", file.name);
  add_number(event, "file.size", call.number(kBuffer));
  add_handle(event, file, call.raw("FileHandle"));
  context.emit(call, std::move(event));
}

}  // namespace glasshook::behaviour::windows
