#include "guest/linux/path.h"

#include <gmock/gmock.h>

#include "fake_kernel.h"

namespace glasshook::linux_guest {
namespace {

/// "/" with /etc/passwd and /mnt, and a second file system mounted on /mnt with /sub/file.
class PathTest : public testing::TestWithParam<FakeVersion> {
 protected:
  PathTest() : guest_(GetParam()) {
    mount_ = guest_.add_mount(root_, {}, {}, disk_);
    other_mount_ = guest_.add_mount(other_root_, mount_, mnt_, other_disk_);
    guest_.put(disk_, "super_block", "s_root", root_);
    guest_.put(other_disk_, "super_block", "s_root", other_root_);
    guest_.finish();
    kernel_.emplace(guest_.kernel());
  }
  [[nodiscard]] FilePath path(Gva mnt, Gva dentry, PathRef root) const {
    return path_of(*kernel_, {.mnt = mnt, .dentry = dentry}, root);
  }
  [[nodiscard]] PathRef top() const { return {.mnt = mount_, .dentry = root_}; }

  FakeKernel guest_;
  Gva disk_ = guest_.make("super_block"), other_disk_ = guest_.make("super_block");
  Gva root_ = guest_.add_dentry({}, "/"), etc_ = guest_.add_dentry(root_, "etc"),
      passwd_ = guest_.add_dentry(etc_, "passwd"), mnt_ = guest_.add_dentry(root_, "mnt");
  Gva other_root_ = guest_.add_dentry({}, "/"), sub_ = guest_.add_dentry(other_root_, "sub"),
      file_ = guest_.add_dentry(sub_, "file");
  Gva mount_, other_mount_;
  std::optional<LinuxKernel> kernel_;
};

TEST_P(PathTest, CrossesMounts) {
  EXPECT_EQ(path(mount_, passwd_, top()).text, "/etc/passwd");
  EXPECT_EQ(path(mount_, root_, top()).text, "/");
  const FilePath file = path(other_mount_, file_, top());
  EXPECT_EQ(file.text, "/mnt/sub/file");
  EXPECT_TRUE(file.reachable);
  EXPECT_FALSE(file.truncated);
  EXPECT_EQ(path_in_file_system(*kernel_, file_).text, "/sub/file");
}

TEST_P(PathTest, IsSeenFromTheRootOfTheTask) {
  const PathRef jail{.mnt = other_mount_, .dentry = sub_};
  EXPECT_EQ(path(other_mount_, file_, jail).text, "/file");
  const FilePath outside = path(mount_, passwd_, jail);
  EXPECT_EQ(outside.text, "/etc/passwd");
  EXPECT_FALSE(outside.reachable);
}

TEST_P(PathTest, MarksDeletedFiles) {
  guest_.put(passwd_, "dentry", "d_hash.pprev", std::uint64_t{0});
  EXPECT_EQ(path(mount_, passwd_, top()).display(), "/etc/passwd (deleted)");
}

TEST_P(PathTest, EndsOnParentsInACircle) {
  guest_.put(etc_, "dentry", "d_parent", passwd_);
  const FilePath loop = path(mount_, passwd_, top());
  EXPECT_TRUE(loop.truncated);
  EXPECT_LE(loop.text.size(), kMaxPathBytes);
}

TEST_P(PathTest, EndsOnMountsInACircle) {
  guest_.put(mount_ - guest_.offset("mount", "mnt"), "mount", "mnt_parent",
             other_mount_ - guest_.offset("mount", "mnt"));
  guest_.put(mount_ - guest_.offset("mount", "mnt"), "mount", "mnt_mountpoint", file_);
  EXPECT_TRUE(path(other_mount_, file_, {}).truncated);
  guest_.put(mount_ - guest_.offset("mount", "mnt"), "mount", "mnt_mountpoint", other_root_);
  EXPECT_TRUE(path(other_mount_, other_root_, {}).truncated);
}

TEST_P(PathTest, KeepsTheLeafWhenANameIsImpossible) {
  for (const std::uint32_t length : {0u, 256u, 0xffff'ffffu}) {
    guest_.put(etc_, "dentry", "d_name.len", length);
    const FilePath cut = path(mount_, passwd_, top());
    EXPECT_EQ(cut.text, "/passwd");
    EXPECT_TRUE(cut.truncated);
  }
  guest_.put(etc_, "dentry", "d_name.len", 3u);
  guest_.put(etc_, "dentry", "d_name.name", Gva{0x1234});
  EXPECT_TRUE(path(mount_, passwd_, top()).truncated);
}

TEST_P(PathTest, ShowsFilesBelowStackedOnesAsTheirUserDoes) {
  const Gva file = guest_.make("backing_file");
  guest_.put(file, "file", "f_path.mnt", other_mount_);
  guest_.put(file, "file", "f_path.dentry", file_);
  guest_.put(file, "backing_file", "user_path.mnt", mount_);
  guest_.put(file, "backing_file", "user_path.dentry", passwd_);
  const auto shown = [&](std::uint32_t mode) {
    guest_.put(file, "file", "f_mode", mode);
    return file_path(*kernel_, file, top()).text;
  };
  constexpr std::uint32_t kNoAccount = 1u << 29, kOld = 1u << 25, kNew = 1u << 24;
  EXPECT_EQ(shown(kNoAccount | kOld), "/etc/passwd");
  EXPECT_EQ(shown(kNoAccount | kNew), "/etc/passwd");
  EXPECT_EQ(shown(kOld), "/mnt/sub/file") << "an O_PATH file of newer kernels";
  EXPECT_EQ(shown(kNew), "/mnt/sub/file") << "a file for parallel direct writes of older ones";
  EXPECT_EQ(shown(kNoAccount), "/mnt/sub/file");
}

TEST_P(PathTest, NamesSocketsPipesAndMemfds) {
  const Gva op = guest_.make("dentry_operations"), type = guest_.make("file_system_type"),
            inode = guest_.make("inode"), sb = guest_.make("super_block");
  const Gva dentry = guest_.add_dentry({}, "memfd:x", sb);
  guest_.put(op, "dentry_operations", "d_dname", FakeGuest::image(0x3000));
  guest_.put(dentry, "dentry", "d_op", op);
  guest_.put(dentry, "dentry", "d_inode", inode);
  guest_.put(inode, "inode", "i_ino", std::uint64_t{42});
  guest_.put(sb, "super_block", "s_type", type);
  const auto named = [&](std::string_view file_system) {
    guest_.put(type, "file_system_type", "name", guest_.allocate_text(file_system));
    return path(mount_, dentry, top()).display();
  };
  EXPECT_EQ(named("sockfs"), "socket:[42]");
  EXPECT_EQ(named("pipefs"), "pipe:[42]");
  EXPECT_EQ(named("anon_inodefs"), "anon_inode:memfd:x");
  EXPECT_EQ(named("tmpfs"), "/memfd:x (deleted)");
  EXPECT_TRUE(path(mount_, dentry, top()).pseudo);
}

TEST_P(PathTest, FindsTheMountsOfAFileSystem) {
  const Gva task = guest_.add_process(9, "x"), nsproxy = guest_.make("nsproxy"),
            ns = guest_.make("mnt_namespace"), fs = guest_.make("fs_struct");
  const Gva part = guest_.add_mount(sub_, mount_, etc_, other_disk_);
  const auto mount = [&](Gva mnt) { return mnt - guest_.offset("mount", "mnt"); };
  guest_.put(task, "task_struct", "nsproxy", nsproxy);
  guest_.put(task, "task_struct", "fs", fs);
  guest_.put(fs, "fs_struct", "root.mnt", mount_);
  guest_.put(fs, "fs_struct", "root.dentry", root_);
  guest_.put(nsproxy, "nsproxy", "mnt_ns", ns);
  if (GetParam().mount_tree) {
    const auto node = guest_.offset("mount", "mnt_node");
    guest_.put(ns, "mnt_namespace", "mounts.rb_node", mount(other_mount_) + node);
    guest_.put(mount(other_mount_) + node, "rb_node", "rb_left", mount(part) + node);
    guest_.put(mount(other_mount_) + node, "rb_node", "rb_right", mount(mount_) + node);
  } else {
    const Gva list = ns + guest_.offset("mnt_namespace", "list");
    guest_.list_init(list);
    for (const Gva mnt : {part, mount_, other_mount_})
      guest_.list_add(list, mount(mnt) + guest_.offset("mount", "mnt_list"));
  }
  const auto found = mount_points_of(*kernel_, other_disk_, view_of(*kernel_, task));
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ(found->at(0).path.text, "/mnt") << "the mount of all of it, not the one on /etc";
  EXPECT_EQ(found->at(0).part, "/");
  EXPECT_EQ(found->at(1).path.text, "/etc");
  EXPECT_EQ(found->at(1).part, "/sub");

  guest_.put(fs, "fs_struct", "root.mnt", other_mount_);  // chroot /mnt/sub
  guest_.put(fs, "fs_struct", "root.dentry", sub_);
  const auto jailed = mount_points_of(*kernel_, other_disk_, view_of(*kernel_, task));
  ASSERT_TRUE(jailed) << jailed.error().message;
  EXPECT_EQ(jailed->at(0).path.text, "/");
  EXPECT_EQ(jailed->at(0).part, "/sub");
  EXPECT_FALSE(jailed->back().path.reachable);

  EXPECT_EQ(mount_points_of(*kernel_, Gva{1}, view_of(*kernel_, task)).error().code,
            ErrorCode::not_found);
  EXPECT_EQ(mount_points_of(*kernel_, other_disk_, {}).error().code, ErrorCode::not_found);
}

INSTANTIATE_TEST_SUITE_P(Versions, PathTest,
                         testing::Values(FakeVersion{}, FakeVersion{.mount_tree = false}));

}  // namespace
}  // namespace glasshook::linux_guest
