// counted_opens COUNT: opens files of its own in ways that watchers differ in, COUNT times each,
// and prints "KIND COUNT" for every kind that this kernel let it do. The files of a kind are called
// KIND-0000, KIND-0001, ...; a watcher has seen an open when it names the file.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER "/tmp/own/"
// Longer than what a probe of the kernel's own tracing keeps of a string.
#define DEEP                                                                        \
  FOLDER                                                                            \
      "a-directory-whose-name-alone-is-longer-than-sixty-four-characters-as-it-is/" \
      "and-another-one-of-that-kind-so-that-nobody-may-say-it-was-close-to-the-limit/"

enum { kPath = 256, kMode = 0644 };
static long count;
static int folder;  // FOLDER, open

// What is to be opened: made beforehand, and not counted.
static void make(const char *format) {
  char path[kPath];
  for (long i = 0; i < count; ++i) {
    snprintf(path, sizeof path, format, i);
    const int fd = syscall(SYS_mknodat, AT_FDCWD, path, S_IFREG | kMode, 0);
    if (fd != 0) abort();
  }
}

static void name(char *path, const char *format, long i) { snprintf(path, kPath, format, i); }

static void must_close(int fd) {
  if (fd < 0 || close(fd) != 0) abort();
}

static void said(const char *kind) { printf("%s %ld\n", kind, count); }

static void plain(void) {
  char path[kPath];
  make(FOLDER "plain-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "plain-%04ld", i);
    must_close(open(path, O_RDONLY));
  }
  said("plain");
}

static void created(void) {
  char path[kPath];
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "created-%04ld", i);
    must_close(creat(path, kMode));
  }
  said("created");
}

static void failing(void) {
  char path[kPath];
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "failing-%04ld", i);
    if (open(path, O_RDONLY) >= 0) abort();
  }
  said("failing");
}

static void relative(void) {
  char path[kPath];
  make(FOLDER "relative-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, "relative-%04ld", i);
    must_close(openat(folder, path, O_RDONLY));
  }
  said("relative");
}

static void deep(void) {
  char path[kPath];
  make(DEEP "deep-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, DEEP "deep-%04ld", i);
    must_close(open(path, O_RDONLY));
  }
  said("deep");
}

static void by_openat2(void) {
  const struct open_how how = {.flags = O_RDONLY};
  char path[kPath];
  make(FOLDER "openat2-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "openat2-%04ld", i);
    must_close(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  }
  said("openat2");
}

// Paths that are in the page cache but that no page table leads to until the kernel reads them.
static void unread(void) {
  const long page = sysconf(_SC_PAGESIZE);
  make(FOLDER "unread-%04ld");
  const int fd = open(FOLDER "paths", O_RDWR | O_CREAT, kMode);
  char path[kPath];
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "unread-%04ld", i);
    if (pwrite(fd, path, strlen(path) + 1, i * page) < 0) abort();
  }
  if (ftruncate(fd, count * page) != 0) abort();
  const char *paths = mmap(NULL, count * page, PROT_READ, MAP_PRIVATE, fd, 0);
  if (paths == MAP_FAILED || madvise((void *)paths, count * page, MADV_RANDOM) != 0) abort();
  for (long i = 0; i < count; ++i) must_close(open(paths + i * page, O_RDONLY));
  must_close(fd);
  said("unread");
}

// As a 32-bit program calls the kernel, from a 64-bit one.
static void by_int80(void) {
  make(FOLDER "int80-%04ld");
  char *path =
      mmap(NULL, kPath, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (path == MAP_FAILED) abort();
  for (long i = 0; i < count; ++i) {
    int fd = 5;  // open in the 32-bit table
    name(path, FOLDER "int80-%04ld", i);
    __asm__ volatile("int $0x80"
                     : "+a"(fd)
                     : "b"(path), "c"(O_RDONLY), "d"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    if (fd < 0 && i == 0) return;  // a kernel without them
    must_close(fd);
  }
  said("int80");
}

// One ring of one entry; see io_uring(7).
static void by_io_uring(void) {
  struct io_uring_params p = {0};
  const int ring = syscall(SYS_io_uring_setup, 1, &p);
  if (ring < 0) return;  // switched off
  char *sq = mmap(NULL, p.sq_off.array + sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                  IORING_OFF_SQ_RING);
  char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
                  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
  struct io_uring_sqe *entry =
      mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
  if (sq == MAP_FAILED || cq == MAP_FAILED || entry == MAP_FAILED) abort();
  char path[kPath];
  make(FOLDER "io_uring-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "io_uring-%04ld", i);
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_OPENAT;
    entry->fd = AT_FDCWD;
    entry->addr = (unsigned long)path;
    entry->open_flags = O_RDONLY;
    ((unsigned *)(sq + p.sq_off.array))[0] = 0;
    atomic_fetch_add((_Atomic unsigned *)(sq + p.sq_off.tail), 1);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1) abort();
    const unsigned head = atomic_fetch_add((_Atomic unsigned *)(cq + p.cq_off.head), 1);
    const struct io_uring_cqe *done = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
    must_close(done[head & (p.cq_entries - 1)].res);
  }
  must_close(ring);
  said("io_uring");
}

static void *in_thread(void *format) {
  char path[kPath];
  for (long i = 0; i < count; ++i) {
    name(path, format, i);
    must_close(open(path, O_RDONLY));
  }
  return NULL;
}

static void by_thread(void) {
  static char format[] = FOLDER "thread-%04ld";
  pthread_t thread;
  make(format);
  if (pthread_create(&thread, NULL, in_thread, format) != 0 || pthread_join(thread, NULL) != 0)
    abort();
  said("thread");
}

// A process each that does nothing else and ends.
static void by_children(void) {
  char path[kPath];
  make(FOLDER "child-%04ld");
  for (long i = 0; i < count; ++i) {
    name(path, FOLDER "child-%04ld", i);
    const pid_t child = fork();
    if (child == 0) _exit(open(path, O_RDONLY) < 0);
    int status = 1;
    if (waitpid(child, &status, 0) != child || status != 0) abort();
  }
  said("child");
}

static void make_folders(void) {
  char path[] = DEEP;
  if (system("rm -rf " FOLDER) != 0) abort();
  for (char *slash = strchr(path + sizeof FOLDER - 2, '/'); slash != NULL;
       slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(path, 0755) != 0) abort();
    *slash = '/';
  }
  folder = open(FOLDER, O_PATH | O_DIRECTORY);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  count = atol(argv[1]);
  make_folders();
  plain();
  created();
  failing();
  relative();
  deep();
  by_openat2();
  unread();
  by_thread();
  by_children();
  by_int80();
  by_io_uring();
  return 0;
}
