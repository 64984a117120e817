#include <gmock/gmock.h>

#include "behaviour/fake_guest.h"
#include "behaviour/file/file_totals.h"
#include "behaviour/file/open_files.h"
#include "behaviour/file/open_flags.h"

namespace glasshook::behaviour {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kCreated = 0x100000;

class FileFamilyTest : public ::testing::Test {
 protected:
  void open(const Caller& caller, std::uint64_t file, std::uint64_t inode, std::string path,
            std::uint64_t f_mode = 0, std::uint64_t flags = 0) {
    guest.call("do_filp_open", true, caller,
               {{"path", std::move(path)},
                {"file", file},
                {"inode", inode},
                {"mode", 0100644},
                {"f_mode", f_mode},
                {"flags", flags}});
  }
  void io(const char* function, const Caller& caller, std::uint64_t file, std::uint64_t inode,
          std::uint64_t bytes) {
    guest.call(function, true, caller,
               {{"file", file}, {"inode", inode}, {"size", 4096}, {"bytes", bytes}});
  }
  void close(const Caller& caller, std::uint64_t file) {
    guest.call("__fput", false, caller, {{"file", file}});
  }

  FakeGuest guest{"file"};
  Caller a{.process = make_process(10, "a")};
  Caller b{.process = make_process(11, "b")};
};

TEST_F(FileFamilyTest, OpenedAndCreated) {
  open(a, 0x1000, 7, "/etc/passwd", 0, 02000000);
  Event event = guest.only();
  EXPECT_EQ(event.action, "file_opened");
  EXPECT_EQ(text_of(event, "file.path"), "/etc/passwd");
  EXPECT_EQ(text_of(event, "file.inode"), "7");
  EXPECT_EQ(text_of(event, "file.mode"), "0644");
  EXPECT_EQ(text_of(event, "file.type"), "file");
  EXPECT_EQ(text_of(event, "glasshook.open.flags"), "O_RDONLY|O_CLOEXEC");
  open(a, 0x2000, 8, "/tmp/new", kCreated, 0101);
  event = guest.only();
  EXPECT_EQ(event.action, "file_created");
  EXPECT_EQ(text_of(event, "glasshook.open.flags"), "O_WRONLY|O_CREAT");
}

TEST_F(FileFamilyTest, ReadsAndWritesAreAddedUpUntilTheClose) {
  open(a, 0x1000, 7, "/data");
  guest.events.clear();
  for (int i = 0; i < 3; ++i) {
    a.seconds = i;
    io("vfs_read", a, 0x1000, 7, 100);
    io("vfs_writev", a, 0x1000, 7, 10);
  }
  EXPECT_THAT(guest.events, IsEmpty());
  a.seconds = 9;
  close(a, 0x1000);
  ASSERT_EQ(guest.events.size(), 2u);
  const Event& read = guest.events[0];
  EXPECT_EQ(read.action, "file_read");
  EXPECT_EQ(read.process, a.process);
  EXPECT_EQ(text_of(read, "file.path"), "/data");
  EXPECT_EQ(text_of(read, "glasshook.bytes"), "300");
  EXPECT_EQ(text_of(read, "glasshook.operations"), "3");
  EXPECT_EQ(text_of(read, "file.size"), "4096");
  EXPECT_EQ(text_of(read, "event.start"), "1970-01-12T13:46:40.000000000Z");
  EXPECT_EQ(text_of(read, "event.end"), "1970-01-12T13:46:42.000000000Z");
  EXPECT_EQ(read.time, at_second(9));
  EXPECT_EQ(guest.events[1].action, "file_written");
  EXPECT_EQ(text_of(guest.events[1], "glasshook.bytes"), "30");
  guest.events.clear();
  close(a, 0x1000);
  EXPECT_THAT(guest.events, IsEmpty());
  EXPECT_EQ(guest.file_path_reads, 0);
}

TEST_F(FileFamilyTest, EachProcessHasItsOwnTotals) {
  open(a, 0x1000, 7, "/log");
  io("vfs_write", a, 0x1000, 7, 5);
  io("vfs_write", b, 0x1000, 7, 6);
  guest.events.clear();
  guest.family().on_process_exit(a.process, guest);
  Event event = guest.only();
  EXPECT_EQ(event.process, a.process);
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "5");
  guest.family().on_process_exit(a.process, guest);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.family().on_end(guest);
  event = guest.only();
  EXPECT_EQ(event.process, b.process);
  guest.family().on_end(guest);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST_F(FileFamilyTest, AReusedAddressIsAnotherFile) {
  open(a, 0x1000, 7, "/old");
  io("vfs_read", a, 0x1000, 7, 1);
  guest.events.clear();
  guest.files[0x1000] = "/inherited";  // opened where nobody looked
  io("vfs_read", a, 0x1000, 9, 2);
  const Event old = guest.only();
  EXPECT_EQ(text_of(old, "file.path"), "/old");
  close(a, 0x1000);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "file.path"), "/inherited");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "2");
  EXPECT_EQ(guest.file_path_reads, 1);
}

TEST_F(FileFamilyTest, SpliceInsideCopyFileRangeCountsOnce) {
  const auto both = [&](std::uint64_t syscall) {
    Caller caller = a;
    caller.syscall = syscall;
    io("do_splice_direct", caller, 1, 1, 100);
    io("iter_file_splice_write", caller, 2, 2, 100);
    return caller;
  };
  const Caller copy = both(326);
  guest.call("vfs_copy_file_range", true, copy,
             {{"file", 1},
              {"inode", 1},
              {"size", 9},
              {"bytes", 100},
              {"file", 2},
              {"inode", 2},
              {"size", 9},
              {"bytes", 100}});
  guest.family().on_end(guest);
  ASSERT_EQ(guest.events.size(), 2u);
  for (const Event& event : guest.events) EXPECT_EQ(text_of(event, "glasshook.bytes"), "100");
  guest.events.clear();
  both(40);  // sendfile
  guest.family().on_end(guest);
  EXPECT_THAT(guest.actions(), ::testing::UnorderedElementsAre("file_read", "file_written"));
}

TEST_F(FileFamilyTest, IoUringReadsAndWrites) {
  for (const std::uint64_t opcode : {22ull, 23ull, 200ull})
    guest.call("kiocb_done", false, a,
               {{"file", 1}, {"inode", 1}, {"size", 9}, {"bytes", 10}, {"opcode", opcode}});
  close(a, 1);
  ASSERT_EQ(guest.events.size(), 2u);
  EXPECT_EQ(text_of(guest.events[0], "glasshook.bytes"), "20");
  EXPECT_EQ(text_of(guest.events[1], "glasshook.bytes"), "10");
}

TEST_F(FileFamilyTest, RenameJoinsEntryAndReturn) {
  a.call = 5;
  b.call = 6;
  const auto enter = [&](const Caller& caller, std::string from, std::string to) {
    guest.call("vfs_rename", false, caller,
               {{"from", std::move(from)}, {"to", std::move(to)}, {"flags", 0}});
  };
  enter(a, "/a1", "/a2");
  enter(b, "/b1", "/b2");
  guest.call("vfs_rename", true, a, {});
  const Event event = guest.only();
  EXPECT_EQ(event.action, "file_renamed");
  EXPECT_EQ(text_of(event, "file.path"), "/a1");
  EXPECT_EQ(text_of(event, "file.target_path"), "/a2");
  guest.call("vfs_rename", true, a, {});  // a return whose entry was lost
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST_F(FileFamilyTest, NamesAndAttributes) {
  guest.call("vfs_unlink", true, a, {{"path", "/x"}});
  EXPECT_EQ(text_of(guest.only(), "file.path"), "/x");
  guest.call("vfs_mkdir", true, a, {{"path", "/d"}, {"mode", 040755}});
  EXPECT_EQ(text_of(guest.only(), "file.mode"), "0755");
  guest.call("d_delete", false, a, {{"path", "/d"}});
  EXPECT_EQ(guest.only().action, "directory_deleted");
  guest.call("vfs_mknod", true, a, {{"path", "/fifo"}, {"mode", 010600}});
  Event event = guest.only();
  EXPECT_EQ(event.action, "file_created");
  EXPECT_EQ(text_of(event, "file.type"), "fifo");
  guest.call("vfs_link", true, a, {{"from", "/x"}, {"to", "/y"}});
  EXPECT_EQ(text_of(guest.only(), "file.target_path"), "/y");
  guest.call("vfs_symlink", true, a, {{"path", "/l"}, {"content", "../x"}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "file.path"), "/l");
  EXPECT_EQ(text_of(event, "file.target_path"), "../x");
  guest.call("do_truncate", true, a, {{"path", "/x"}, {"length", 12}});
  EXPECT_EQ(text_of(guest.only(), "file.size"), "12");
  guest.call("chmod_common", true, a, {{"path", "/x"}, {"mode", 0104755}, {"uid", 1}, {"gid", 2}});
  EXPECT_EQ(text_of(guest.only(), "file.mode"), "4755");
  guest.call("chown_common", true, a, {{"path", "/x"}, {"mode", 0100755}, {"uid", 1}, {"gid", 2}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "file.uid") + ":" + text_of(event, "file.gid"), "1:2");
  guest.call("vfs_setxattr", true, a, {{"path", "/x"}, {"name", "user.a"}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.attribute.operation"), "set");
  guest.call("vfs_remove_acl", true, a, {{"path", "/x"}, {"name", "system.posix_acl_access"}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.attribute.operation"), "remove");
  guest.call("shmem_file_setup", true, a, {{"name", "memfd:x"}});
  EXPECT_EQ(text_of(guest.only(), "file.path"), "/memfd:x");
}

TEST_F(FileFamilyTest, Mounts) {
  guest.call("path_mount", true, a,
             {{"path", "/mnt"}, {"source", "/dev/vdb"}, {"type", "ext4"}, {"flags", 1}});
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.mount.operation"), "mount");
  EXPECT_EQ(text_of(event, "glasshook.mount.flags"), "MS_RDONLY");
  guest.call("path_mount", true, a, {{"path", "/mnt"}, {"flags", 0xc0ed1000}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.mount.operation"), "bind");
  Caller old = a;
  old.syscall = 165;
  guest.call("do_move_mount", true, old, {{"path", "/mnt"}});
  EXPECT_THAT(guest.events, IsEmpty());
  Caller modern = a;
  modern.syscall = 429;
  guest.call("do_move_mount", true, modern,
             {{"path", "/m"}, {"source", "tmpfs"}, {"type", "tmpfs"}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.mount.type"), "tmpfs");
  guest.call("path_umount", false, a, {{"path", "/mnt"}});
  EXPECT_THAT(guest.events, IsEmpty());
  guest.call("path_umount", true, a, {});
  event = guest.only();
  EXPECT_EQ(event.action, "filesystem_unmounted");
  EXPECT_EQ(text_of(event, "file.path"), "/mnt");
}

TEST_F(FileFamilyTest, MemoryIsBounded) {
  for (std::uint64_t file = 1; file <= FileTotals::kMost + 10; ++file)
    io("vfs_read", a, file, file, 1);
  EXPECT_EQ(guest.events.size(), FileTotals::kMost);
  guest.family().on_end(guest);
  EXPECT_EQ(guest.events.size(), FileTotals::kMost + 10);
}

TEST(OpenFiles, IsBounded) {
  OpenFiles files;
  for (std::uint64_t file = 0; file < 2 * OpenFiles::kMost; ++file) files.opened(file, file, "/x");
  EXPECT_LE(files.size(), OpenFiles::kMost);
}

TEST(OpenFlags, Names) {
  EXPECT_EQ(open_flag_names(0), "O_RDONLY");
  EXPECT_EQ(open_flag_names(0100000), "O_RDONLY");
  EXPECT_EQ(open_flag_names(020200002), "O_RDWR|O_TMPFILE");
  EXPECT_EQ(open_flag_names(04010000), "O_RDONLY|O_SYNC");
  EXPECT_EQ(open_flag_names(010000), "O_RDONLY|O_DSYNC");
  EXPECT_EQ(open_flag_names(1ull << 40 | 3), "O_ACCMODE|0x10000000000");
}

}  // namespace
}  // namespace glasshook::behaviour
