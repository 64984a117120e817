#include "behaviour/file/file_family.h"
#include "behaviour/file/open_flags.h"

namespace glasshook::behaviour {
namespace {

/// include/uapi/linux/fs.h: RENAME_EXCHANGE.
constexpr std::uint64_t kExchange = 2;

enum RenameEntry { kRenameFrom, kRenameTo, kRenameFlags };
enum Named { kNamed, kNamedMode };
enum Link { kLinkFrom, kLinkTo };
enum Symlink { kSymlinkPath, kSymlinkContent };
enum Truncate { kTruncatePath, kTruncateLength };
enum Attributes { kAttributesPath, kAttributesMode, kAttributesUid, kAttributesGid };
enum Xattr { kXattrPath, kXattrName };

/// A change that a program made itself and that succeeded.
hook::HookSpec change(std::vector<std::string> functions, std::vector<hook::Capture> captures) {
  return at_exit(std::move(functions), {kOwnCredentials}, {kNoError}, std::move(captures));
}

hook::HookSpec rename_hook() {
  // Only the entry still knows the old name, only the return knows whether it worked.
  hook::HookSpec spec =
      at_entry({"vfs_rename"}, {kOwnCredentials},
               {dentry("from", "rd->old_dentry ?? old_dentry"),
                dentry("to", "rd->new_dentry ?? new_dentry"), word("flags", "rd->flags ?? flags")});
  spec.exit.enabled = true;
  spec.exit.when = {kNoError};
  return spec;
}

hook::HookSpec rmdir_hook() {
  // vfs_rmdir() itself may be split in two by the compiler (Debian's 5.10), and rmdir(2) enters
  // only the second half. When it has worked, it marks the directory dead (S_DEAD, 0x10) and
  // lets the dentry go.
  return at_entry({"d_delete"},
                  {kOwnCredentials, "(dentry->d_inode->i_mode & 0xf000) == 0x4000",
                   "dentry->d_inode->i_flags & 0x10"},
                  {dentry("path", "dentry")});
}

hook::HookSpec truncate_hook() {
  hook::HookSpec spec =
      change({"do_truncate"}, {dentry("path", "dentry"), word("length", "length")});
  spec.entry.when.push_back("dentry->d_inode->i_size != length");
  return spec;
}

std::vector<hook::Capture> attributes() {
  return {path("path", "*path"), word("mode", "path->dentry->d_inode->i_mode"),
          word("uid", "path->dentry->d_inode->i_uid.val"),
          word("gid", "path->dentry->d_inode->i_gid.val")};
}

Event path_event(std::string_view action, const Call& call, std::size_t capture, Context& context) {
  Event event = make_event(action);
  add_known(event, "file.path", context.path(call, capture));
  return event;
}

}  // namespace

std::vector<FileFamily::Rule> FileFamily::change_rules() {
  const std::vector<hook::Capture> xattr = {dentry("path", "dentry"), string("name", "name")};
  const std::vector<hook::Capture> acl = {dentry("path", "dentry"), string("name", "acl_name")};
  const std::vector<hook::Capture> named = {dentry("path", "dentry"),
                                            word("mode", "dentry->d_inode->i_mode")};
  return {
      {rename_hook(), &FileFamily::on_rename},
      {change({"vfs_unlink"}, {dentry("path", "dentry")}), &FileFamily::on_unlink},
      {rmdir_hook(), &FileFamily::on_rmdir},
      {change({"vfs_mkdir"}, named), &FileFamily::on_mkdir},
      {change({"vfs_create"}, named), &FileFamily::on_node},
      {change({"vfs_mknod"}, named), &FileFamily::on_node},
      {change({"vfs_link"}, {dentry("from", "old_dentry"), dentry("to", "new_dentry")}),
       &FileFamily::on_link},
      {change({"vfs_symlink"}, {dentry("path", "dentry"), string("content", "oldname", 4096)}),
       &FileFamily::on_symlink},
      {truncate_hook(), &FileFamily::on_truncate},
      {change({"chmod_common"}, attributes()), &FileFamily::on_chmod},
      {change({"chown_common"}, attributes()), &FileFamily::on_chown},
      {change({"vfs_setxattr"}, xattr), &FileFamily::on_set_attribute},
      {change({"vfs_removexattr"}, xattr), &FileFamily::on_remove_attribute},
      // Since 6.2 access control lists go a way of their own.
      {optional(change({"vfs_set_acl"}, acl)), &FileFamily::on_set_attribute},
      {optional(change({"vfs_remove_acl"}, acl)), &FileFamily::on_remove_attribute},
  };
}

void FileFamily::on_rename(const Call& call, Context& context) {
  if (!call.is_exit()) {
    renames_.put(call, {.from = context.path(call, kRenameFrom),
                        .to = context.path(call, kRenameTo),
                        .flags = call.word(kRenameFlags)});
    return;
  }
  std::optional<Rename> rename = renames_.take(call);
  if (!rename) return;
  Event event = make_event("file_renamed");
  add_known(event, "file.path", std::move(rename->from));
  add_known(event, "file.target_path", std::move(rename->to));
  add_flag(event, "glasshook.rename.exchanged", (rename->flags & kExchange) != 0);
  context.emit(call, std::move(event));
}

void FileFamily::on_unlink(const Call& call, Context& context) {
  context.emit(call, path_event("file_deleted", call, kNamed, context));
}

void FileFamily::on_rmdir(const Call& call, Context& context) {
  context.emit(call, path_event("directory_deleted", call, kNamed, context));
}

void FileFamily::on_mkdir(const Call& call, Context& context) {
  Event event = path_event("directory_created", call, kNamed, context);
  add(event, "file.mode", octal_mode(call.word(kNamedMode)));
  context.emit(call, std::move(event));
}

void FileFamily::on_node(const Call& call, Context& context) {
  const std::uint64_t mode = call.word(kNamedMode);
  Event event = path_event("file_created", call, kNamed, context);
  add_known(event, "file.type", std::string{file_type(mode)});
  add(event, "file.mode", octal_mode(mode));
  context.emit(call, std::move(event));
}

void FileFamily::on_link(const Call& call, Context& context) {
  Event event = path_event("file_linked", call, kLinkFrom, context);
  add_known(event, "file.target_path", context.path(call, kLinkTo));
  context.emit(call, std::move(event));
}

void FileFamily::on_symlink(const Call& call, Context& context) {
  Event event = path_event("file_symlinked", call, kSymlinkPath, context);
  add(event, "file.target_path", std::string{call.text(kSymlinkContent)});
  context.emit(call, std::move(event));
}

void FileFamily::on_truncate(const Call& call, Context& context) {
  Event event = path_event("file_truncated", call, kTruncatePath, context);
  add_number(event, "file.size", call.word(kTruncateLength));
  context.emit(call, std::move(event));
}

void FileFamily::on_chmod(const Call& call, Context& context) {
  Event event = path_event("file_permissions_changed", call, kAttributesPath, context);
  add(event, "file.mode", octal_mode(call.word(kAttributesMode)));
  context.emit(call, std::move(event));
}

void FileFamily::on_chown(const Call& call, Context& context) {
  Event event = path_event("file_owner_changed", call, kAttributesPath, context);
  add(event, "file.uid", std::to_string(call.word(kAttributesUid)));
  add(event, "file.gid", std::to_string(call.word(kAttributesGid)));
  context.emit(call, std::move(event));
}

void FileFamily::on_set_attribute(const Call& call, Context& context) {
  Event event = path_event("file_attribute_changed", call, kXattrPath, context);
  add(event, "glasshook.attribute.name", std::string{call.text(kXattrName)});
  add(event, "glasshook.attribute.operation", "set");
  context.emit(call, std::move(event));
}

void FileFamily::on_remove_attribute(const Call& call, Context& context) {
  Event event = path_event("file_attribute_changed", call, kXattrPath, context);
  add(event, "glasshook.attribute.name", std::string{call.text(kXattrName)});
  add(event, "glasshook.attribute.operation", "remove");
  context.emit(call, std::move(event));
}

}  // namespace glasshook::behaviour
