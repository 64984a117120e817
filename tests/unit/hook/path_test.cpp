#include <gtest/gtest.h>

#include "hook/fake_kernel.h"
#include "hook/path_components.h"

namespace glasshook::hook {
namespace {

using capture::Outcome;
using test::entry_spec;
using test::FakeKernel;

class Paths : public testing::Test {
 protected:
  /// Captures a path through a path argument, a file and an embedded path; all must agree, unless
  /// the record is too small for three.
  PathComponents path(std::uint64_t mount, std::uint64_t dentry, bool agree = true) {
    kernel.arguments({kernel.make_path(mount, dentry), kernel.make_file(mount, dentry)});
    const auto programs = kernel.compile(entry_spec(
        "vfs_open", {{.name = "a", .kind = CaptureKind::path, .expression = "path"},
                     {.name = "b", .kind = CaptureKind::path, .expression = "file"},
                     {.name = "c", .kind = CaptureKind::path, .expression = "file->f_path"}}));
    EXPECT_TRUE(programs.has_value()) << (programs ? "" : programs.error().message);
    EXPECT_EQ(kernel.run(programs->entry), Outcome::sent);
    const auto decoded = [&](std::uint16_t field) {
      return PathComponents::decode(*kernel.record.find(field));
    };
    if (agree) {
      EXPECT_EQ(decoded(kFirstCapture).text(), decoded(kFirstCapture + 1).text());
    }
    if (agree) {
      EXPECT_EQ(decoded(kFirstCapture).text(), decoded(kFirstCapture + 2).text());
    }
    return decoded(kFirstCapture);
  }
  PathComponents dentry_path(std::uint64_t dentry) {
    kernel.arguments({0, dentry});
    const auto programs = kernel.compile(entry_spec(
        "vfs_unlink", {{.name = "d", .kind = CaptureKind::dentry, .expression = "dentry"}}));
    EXPECT_TRUE(programs.has_value()) << (programs ? "" : programs.error().message);
    EXPECT_EQ(kernel.run(programs->entry), Outcome::sent);
    return PathComponents::decode(*kernel.record.find(kFirstCapture));
  }

  FakeKernel kernel;
};

TEST_F(Paths, WalksToTheRoot) {
  const std::uint64_t etc = kernel.make_dentry("etc", kernel.root);
  const PathComponents found = path(kernel.root_mount, kernel.make_dentry("passwd", etc));
  EXPECT_EQ(found.text(), "/etc/passwd");
  EXPECT_EQ(found.status, kPathComplete);
  EXPECT_FALSE(found.deleted);
  EXPECT_EQ(path(kernel.root_mount, kernel.root).text(), "/");
}

TEST_F(Paths, CrossesMounts) {
  const std::uint64_t mnt = kernel.make_dentry("mnt", kernel.root);
  const std::uint64_t usb_root = kernel.make_dentry("/");
  const std::uint64_t usb = kernel.make_mount(usb_root, kernel.root_mount, mnt);
  const std::uint64_t inner = kernel.make_dentry("inner", usb_root);
  const std::uint64_t nested_root = kernel.make_dentry("/");
  const std::uint64_t nested = kernel.make_mount(nested_root, usb, inner);
  EXPECT_EQ(path(nested, kernel.make_dentry("f", nested_root)).text(), "/mnt/inner/f");
  EXPECT_EQ(path(nested, nested_root).text(), "/mnt/inner");
  EXPECT_EQ(path(usb, usb_root).status, kPathComplete);
}

TEST_F(Paths, StopsAtTheRootOfTheTask) {
  const std::uint64_t jail = kernel.make_dentry("jail", kernel.root);
  const std::uint64_t fs = kernel.allocate(64);
  kernel.write_path(fs + kernel.offset("fs_struct", "root"), kernel.root_mount, jail);
  kernel.set("task_struct", kernel.task, "fs", fs);
  EXPECT_EQ(path(kernel.root_mount, kernel.make_dentry("x", jail)).text(), "/x");
  const PathComponents outside = path(kernel.root_mount, kernel.make_dentry("y", kernel.root));
  EXPECT_EQ(outside.text(), "/y");
  EXPECT_EQ(outside.status, kPathUnreachable);
}

TEST_F(Paths, TasksWithoutARootSeeTheTopOfTheMountTree) {
  kernel.set("task_struct", kernel.task, "fs", 0);
  const PathComponents found = path(kernel.root_mount, kernel.make_dentry("y", kernel.root));
  EXPECT_EQ(found.text(), "/y");
  EXPECT_EQ(found.status, kPathUnreachable);
}

TEST_F(Paths, DeletedFilesAreFlagged) {
  const std::uint64_t gone = kernel.make_dentry("gone", kernel.root);
  kernel.set("dentry", gone, "d_hash.pprev", 0);
  const PathComponents found = path(kernel.root_mount, gone);
  EXPECT_EQ(found.text(), "/gone");
  EXPECT_TRUE(found.deleted);
  EXPECT_TRUE(dentry_path(gone).deleted);
}

TEST_F(Paths, PseudoFilesAreTheirSingleName) {
  const std::uint64_t mount = kernel.make_mount(kernel.make_dentry("/"));
  const PathComponents found = path(mount, kernel.make_dentry("memfd:payload"));
  EXPECT_EQ(found.text(), "memfd:payload");
  EXPECT_TRUE(found.unattached);
  EXPECT_FALSE(found.deleted);
  EXPECT_EQ(path(mount, kernel.make_dentry("")).text(), "");
  EXPECT_EQ(dentry_path(kernel.make_dentry("TCP")).text(), "TCP");
}

TEST_F(Paths, CyclesAndDeepTreesEndAsTruncated) {
  const std::uint64_t a = kernel.make_dentry("a", kernel.root);
  const std::uint64_t b = kernel.make_dentry("b", a);
  kernel.set("dentry", a, "d_parent", b);
  PathComponents found = path(kernel.root_mount, b);
  EXPECT_EQ(found.status, kPathTruncated);
  EXPECT_EQ(found.names.size(), kPathSteps);
  EXPECT_TRUE(found.text().starts_with(".../")) << found.text();
  EXPECT_EQ(dentry_path(b).status, kPathTruncated);

  // Two mounts, each mounted on the root of the other.
  const std::uint64_t first_root = kernel.make_dentry("/"), second_root = kernel.make_dentry("/");
  const std::uint64_t first = kernel.make_mount(first_root);
  const std::uint64_t second = kernel.make_mount(second_root, first, first_root);
  kernel.set("mount", first, "mnt_parent", second);
  kernel.set("mount", first, "mnt_mountpoint", second_root);
  EXPECT_EQ(path(first, first_root).status, kPathTruncated);
}

TEST_F(Paths, WildPointersFault) {
  const std::uint64_t lost = kernel.make_dentry("lost", kernel.root);
  kernel.set("dentry", lost, "d_parent", 0x1234);
  PathComponents found = path(kernel.root_mount, lost);
  EXPECT_EQ(found.status, kPathFaulted);
  EXPECT_EQ(found.text(), ".../lost");
  EXPECT_EQ(path(0, lost).status, kPathFaulted);
  EXPECT_EQ(path(kernel.root_mount, 0).text(), "");
  EXPECT_EQ(dentry_path(0xffff'ffff'ffff'fff0).status, kPathFaulted);
}

TEST_F(Paths, HugeNamesAreCut) {
  std::uint64_t dentry = kernel.root;
  for (int i = 0; i < 40; ++i) dentry = kernel.make_dentry(std::string(400, 'x'), dentry);
  const PathComponents found = path(kernel.root_mount, dentry, false);
  EXPECT_TRUE(found.cut);
  for (const std::string_view name : found.names) EXPECT_LE(name.size(), 255u);
}

TEST_F(Paths, DentriesComeWithTheirIdentity) {
  const std::uint64_t etc = kernel.make_dentry("etc", kernel.root);
  const std::uint64_t file = kernel.make_dentry("passwd", etc, 4711);
  const PathComponents found = dentry_path(file);
  EXPECT_EQ(found.text(), "/etc/passwd");
  EXPECT_EQ(found.status, kPathComplete);
  EXPECT_EQ(kernel.word(kFirstCapture + kDentryWordsOffset, kDentrySuperBlock), 0x5bu);
  EXPECT_EQ(kernel.word(kFirstCapture + kDentryWordsOffset, kDentryAddress), file);
  EXPECT_EQ(kernel.word(kFirstCapture + kDentryWordsOffset, kDentryInode), 4711u);
  dentry_path(etc);
  EXPECT_EQ(kernel.word(kFirstCapture + kDentryWordsOffset, kDentryInode), 0u)
      << "a negative dentry";
  EXPECT_EQ(dentry_path(kernel.root).text(), "/");
}

TEST_F(Paths, DentriesComeWithTheViewOfTheTask) {
  constexpr std::uint16_t kWords = kFirstCapture + kDentryWordsOffset;
  const std::uint64_t file = kernel.make_dentry("passwd", kernel.root, 4711);
  const std::uint64_t nsproxy = kernel.allocate(64);
  kernel.set("nsproxy", nsproxy, "mnt_ns", 0x715);
  kernel.set("task_struct", kernel.task, "nsproxy", nsproxy);
  dentry_path(file);
  EXPECT_EQ(kernel.word(kWords, kDentryMountNamespace), 0x715u);
  EXPECT_EQ(kernel.word(kWords, kDentryRootMount),
            kernel.root_mount + kernel.offset("mount", "mnt"));
  EXPECT_EQ(kernel.word(kWords, kDentryRoot), kernel.root);

  kernel.set("task_struct", kernel.task, "nsproxy", 0);  // on its way out
  kernel.set("task_struct", kernel.task, "fs", 0);
  EXPECT_EQ(dentry_path(file).text(), "/passwd");
  EXPECT_EQ(kernel.word(kWords, kDentryInode), 4711u);
  EXPECT_EQ(kernel.word(kWords, kDentryMountNamespace), 0u);
  EXPECT_EQ(kernel.word(kWords, kDentryRoot), 0u);
}

TEST(PathComponents, SurvivesHostileFields) {
  const auto decode = [](std::string_view data, std::uint8_t detail, capture::FieldKind kind) {
    return PathComponents::decode({.id = 1,
                                   .kind = kind,
                                   .flags = 0,
                                   .detail = detail,
                                   .data = std::as_bytes(std::span{data})});
  };
  using Kind = capture::FieldKind;
  EXPECT_EQ(decode("a", 0, Kind::string).status, kPathFaulted);
  EXPECT_EQ(decode("no end", 0, Kind::list).text(), "/no end");
  EXPECT_EQ(decode({"\0\0", 2}, 0, Kind::list).text(), "//");
  EXPECT_EQ(decode("x", 0xff, Kind::list).status, kPathFaulted);
  EXPECT_EQ(decode("", 3, Kind::list).text(), "");
}

}  // namespace
}  // namespace glasshook::hook
