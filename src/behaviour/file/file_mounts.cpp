#include <sys/mount.h>

#include <array>

#include "behaviour/file/file_family.h"

namespace glasshook::behaviour {
namespace {

/// x86-64 number of mount, whose MS_MOVE ends in the same function as move_mount.
constexpr std::uint64_t kSysMount = 165;

enum Mount { kMountPoint, kMountSource, kMountType, kMountFlags };
enum MoveMount { kMovePoint, kMoveSource, kMoveType };
enum Umount { kUmountPoint };

/// What mount(2) does for these flags, tested in the kernel's order (fs/namespace.c: path_mount).
std::string_view operation(std::uint64_t flags) {
  constexpr std::uint64_t kPropagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
  if (flags & MS_REMOUNT) return "remount";
  if (flags & MS_BIND) return "bind";
  if (flags & kPropagation) return "propagation";
  if (flags & MS_MOVE) return "move";
  return "mount";
}

std::string mount_flags(std::uint64_t flags) {
  constexpr std::array kFlags = {
      FlagName{MS_RDONLY, "MS_RDONLY"},   FlagName{MS_NOSUID, "MS_NOSUID"},
      FlagName{MS_NODEV, "MS_NODEV"},     FlagName{MS_NOEXEC, "MS_NOEXEC"},
      FlagName{MS_REMOUNT, "MS_REMOUNT"}, FlagName{MS_BIND, "MS_BIND"},
      FlagName{MS_MOVE, "MS_MOVE"},       FlagName{MS_REC, "MS_REC"},
      FlagName{MS_SILENT, "MS_SILENT"},   FlagName{MS_UNBINDABLE, "MS_UNBINDABLE"},
      FlagName{MS_PRIVATE, "MS_PRIVATE"}, FlagName{MS_SLAVE, "MS_SLAVE"},
      FlagName{MS_SHARED, "MS_SHARED"},   FlagName{MS_RELATIME, "MS_RELATIME"},
      FlagName{MS_NOATIME, "MS_NOATIME"}, FlagName{MS_STRICTATIME, "MS_STRICTATIME"},
  };
  constexpr std::uint64_t kMagic = 0xc0ed0000;  // MS_MGC_VAL: old programs put it on top
  if ((flags & 0xffff0000) == kMagic) flags &= 0xffff;
  return flag_names(flags, kFlags);
}

hook::HookSpec umount_hook() {
  // At the return the mount is cut off from its mount point.
  hook::HookSpec spec = at_entry({"path_umount"}, {}, {path("path", "*path")});
  spec.exit.enabled = true;
  spec.exit.when = {"ret == 0"};
  return spec;
}

}  // namespace

std::vector<FileFamily::Rule> FileFamily::mount_rules() {
  return {
      {at_exit({"path_mount"}, {}, {"ret == 0"},
               {path("path", "*path"), string("source", "dev_name", 1024),
                string("type", "type_page", 64), word("flags", "flags")}),
       &FileFamily::on_mount},
      // The new mount interface (fsopen, fsmount, move_mount) attaches here.
      {optional(at_exit(
           {"do_move_mount"}, {}, {"ret == 0"},
           {path("path", "*new_path"),
            string("source", "container_of(old_path->mnt, struct mount, mnt)->mnt_devname", 1024),
            string("type", "old_path->mnt->mnt_sb->s_type->name", 64)})),
       &FileFamily::on_move_mount},
      {umount_hook(), &FileFamily::on_umount},
  };
}

void FileFamily::on_mount(const Call& call, Context& context) {
  const std::uint64_t flags = call.word(kMountFlags);
  Event event = make_event("filesystem_mounted");
  add_known(event, "file.path", context.path(call, kMountPoint));
  add_known(event, "glasshook.mount.source", std::string{call.text(kMountSource)});
  add_known(event, "glasshook.mount.type", std::string{call.text(kMountType)});
  add_known(event, "glasshook.mount.flags", mount_flags(flags));
  add(event, "glasshook.mount.operation", std::string{operation(flags)});
  context.emit(call, std::move(event));
}

void FileFamily::on_move_mount(const Call& call, Context& context) {
  if (call.context(hook::kContextSyscall) == kSysMount) return;
  Event event = make_event("filesystem_mounted");
  add_known(event, "file.path", context.path(call, kMovePoint));
  add_known(event, "glasshook.mount.source", std::string{call.text(kMoveSource)});
  add_known(event, "glasshook.mount.type", std::string{call.text(kMoveType)});
  add(event, "glasshook.mount.operation", "move_mount");
  context.emit(call, std::move(event));
}

void FileFamily::on_umount(const Call& call, Context& context) {
  if (!call.is_exit()) {
    umounts_.put(call, context.path(call, kUmountPoint));
    return;
  }
  std::optional<std::string> path = umounts_.take(call);
  if (!path) return;
  Event event = make_event("filesystem_unmounted");
  add_known(event, "file.path", std::move(*path));
  context.emit(call, std::move(event));
}

}  // namespace glasshook::behaviour
