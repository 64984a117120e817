// Code that is changed, copied, moved and made anew, and an API that is "unhooked".
#include "adversary.h"

#define HUGE (2ul << 20)

typedef long (*Number)(void);
typedef long (*Absolute)(long);
typedef pid_t (*Parent)(void);

/// mov eax, value; ret
static void write_number(unsigned char *at, uint32_t value) {
  const unsigned char code[6] = {0xb8,
                                 (unsigned char)value,
                                 (unsigned char)(value >> 8),
                                 (unsigned char)(value >> 16),
                                 (unsigned char)(value >> 24),
                                 0xc3};
  memcpy(at, code, sizeof code);
}

static unsigned char *code_memory(size_t size, int flags) {
  unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void rewrite(void) {
  unsigned char *code = code_memory(PAGE, 0);
  long sum = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    write_number(code, i);
    sum += ((Number)code)();
  }
  verdict("code rewritten 1000 times", "%ld", sum);

  // Written at another address than it runs at.
  const int fd = memfd_create("code", 0);
  if (ftruncate(fd, PAGE) != 0) abort();
  unsigned char *write_here = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char *run_here = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  sum = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    write_number(write_here, i * 3);
    sum += ((Number)run_here)();
  }
  verdict("code rewritten by its alias 1000 times", "%ld", sum);

  // Code that changes the instruction behind the one that runs:
  // mov byte [rip+1], 7; mov eax, 5; ret
  const unsigned char ahead[] = {0xc6, 0x05, 0x01, 0, 0, 0, 7, 0xb8, 5, 0, 0, 0, 0xc3};
  memcpy(code, ahead, sizeof ahead);
  verdict("code that changes itself ahead", "%ld", ((Number)code)());
}

static volatile int stop;
static unsigned char *shared_code;

static void *call_it(void *wrong) {
  while (!stop) {
    const long value = ((Number)shared_code)();
    if (value != 1 && value != 2) ++*(int *)wrong;
  }
  return NULL;
}

static void replace_under_execution(void) {
  unsigned char *pages = code_memory(PAGE, 0);
  int fd = memfd_create("two", 0), wrong = 0;
  if (ftruncate(fd, 2 * PAGE) != 0) abort();
  unsigned char *both = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  write_number(both, 1);
  write_number(both + PAGE, 2);
  mmap(pages, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0);
  shared_code = pages;
  pthread_t thread;
  pthread_create(&thread, NULL, call_it, &wrong);
  int stale = 0;
  for (int i = 0; i < 300; ++i) {
    mmap(pages, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, (i & 1) ? 0 : (off_t)PAGE);
    stale += ((Number)pages)() != ((i & 1) ? 1 : 2);
  }
  stop = 1;
  pthread_join(thread, NULL);
  verdict("page replaced while it runs", "%d wrong %d stale", wrong, stale);
}

/// The disk's controller writes the code.
static void read_code_from_disk(void) {
  unsigned char *code = code_memory(PAGE, 0);
  int wrong = 0;
  const int fd = open("dma.bin", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
  unsigned char *out = NULL;
  if (fd < 0 || posix_memalign((void **)&out, PAGE, PAGE) != 0) {
    verdict("code read by the disk", "cannot be tried, %d", errno);
    return;
  }
  for (uint32_t i = 0; i < 20; ++i) {
    memset(out, 0xcc, PAGE);
    write_number(out, 100 + i);
    if (pwrite(fd, out, PAGE, 0) != (ssize_t)PAGE) ++wrong;
    if (pread(fd, code, PAGE, 0) != (ssize_t)PAGE) ++wrong;
    if (((Number)code)() != 100 + (long)i) ++wrong;
  }
  close(fd);
  verdict("code read by the disk", "%d wrong", wrong);
}

/// Like write_number, at another place of each page.
static int call_pages(unsigned char *pages, size_t count) {
  int wrong = 0;
  for (size_t i = 0; i < count; ++i) write_number(pages + i * PAGE + i % 64 * 16, (uint32_t)i);
  for (size_t i = 0; i < count; ++i)
    wrong += ((Number)(pages + i * PAGE + i % 64 * 16))() != (long)i;
  return wrong;
}

static void large_pages(void) {
  unsigned char *memory = code_memory(2 * HUGE, 0);
  unsigned char *aligned = (unsigned char *)(((uintptr_t)memory + HUGE - 1) & ~(HUGE - 1));
  madvise(aligned, HUGE, MADV_HUGEPAGE);
  const int wrong = call_pages(aligned, 512);
  unsigned long huge = 0, value;
  char line[256];
  FILE *smaps = fopen("/proc/self/smaps", "r");
  while (smaps && fgets(line, sizeof line, smaps))
    if (sscanf(line, "AnonHugePages: %lu", &value) == 1) huge += value;
  if (smaps) fclose(smaps);
  verdict("code in a transparent huge page", "%d wrong, %lu kB huge", wrong, huge);
  // Half of it read-only: the kernel splits the page.
  mprotect(aligned, HUGE / 2, PROT_READ | PROT_EXEC);
  verdict("after it was split", "%ld", ((Number)(aligned + 7 * PAGE + 7 * 16))());

  FILE *pool = fopen("/proc/sys/vm/nr_hugepages", "w");
  if (pool) fprintf(pool, "2\n");
  if (pool) fclose(pool);
  unsigned char *reserved = code_memory(HUGE, MAP_HUGETLB);
  if (reserved == NULL)
    verdict("code in a hugetlb page", "no such pages");
  else
    verdict("code in a hugetlb page", "%d wrong", call_pages(reserved, 512));
}

// --- the API ---

static Parent parent_api;
static Absolute absolute_api;

static void copies(const struct Text *libc) {
  // A few bytes of it.
  unsigned char *memory = code_memory(libc->size, 0);
  memcpy(memory + 64, (void *)parent_api, 16);
  const int fine = ((Parent)(memory + 64))() == getppid();
  // All of it, at the same places of pages.
  memcpy(memory, libc->start, libc->size);
  Parent parent = (Parent)(memory + ((unsigned char *)parent_api - libc->start));
  Absolute absolute = (Absolute)(memory + ((unsigned char *)absolute_api - libc->start));
  verdict("copied API", "%d %d %ld", fine, parent() == getppid(), absolute(-41));

  // Again from its file, where no loader looks.
  const int fd = open(libc->path, O_RDONLY);
  unsigned char *mapped =
      mmap(NULL, libc->size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)libc->offset);
  parent = (Parent)(mapped + ((unsigned char *)parent_api - libc->start));
  absolute = (Absolute)(mapped + ((unsigned char *)absolute_api - libc->start));
  verdict("API of a fresh mapping", "%d %ld", parent() == getppid(), absolute(-42));

  // That mapping, moved.
  unsigned char *moved = mremap(mapped, libc->size, libc->size, MREMAP_MAYMOVE | MREMAP_FIXED,
                                code_memory(libc->size, 0));
  if (moved == MAP_FAILED) {
    verdict("API of a moved mapping", "not moved");
    return;
  }
  parent = (Parent)(moved + ((unsigned char *)parent_api - libc->start));
  absolute = (Absolute)(moved + ((unsigned char *)absolute_api - libc->start));
  verdict("API of a moved mapping", "%d %ld", parent() == getppid(), absolute(-43));
}

static long replacement(long value) { return value + 1000; }

/// Puts a jump where the API begins, calls it, and puts back what was there.
static void unhook(const struct Text *libc) {
  unsigned char *entry = (unsigned char *)absolute_api, before[12];
  unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
  const uint64_t target = (uint64_t)replacement;
  memcpy(jump + 2, &target, 8);
  memcpy(before, entry, sizeof before);
  if (mprotect(page_of(entry), 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) abort();
  memcpy(entry, before, sizeof before);
  const long same = absolute_api(-44);
  memcpy(entry, jump, sizeof jump);
  const long replaced = absolute_api(-45);
  memcpy(entry, before, sizeof before);
  const long restored = absolute_api(-46);
  verdict("API written over", "%ld %ld %ld", same, replaced, restored);

  // A clean page of the file over the one that is there, as "unhooking" does.
  const int fd = open(libc->path, O_RDONLY);
  const size_t in_text = (size_t)(page_of(entry) - libc->start);
  void *again = mmap(page_of(entry), PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
                     (off_t)(libc->offset + in_text));
  verdict("API mapped over", "%d %ld", again == page_of(entry), absolute_api(-47));
  close(fd);
}

static void direct(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getppid) : "rcx", "r11", "memory");
  verdict("direct system call", "%d", result == getppid());
  // Of 32-bit programs.
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(64) : "memory", "r8", "r9", "r10", "r11");
  verdict("system call of 32-bit programs", "%d", result == getppid());
}

int main(void) {
  const struct Text libc = libc_text();
  parent_api = (Parent)dlsym(RTLD_DEFAULT, "getppid");
  absolute_api = (Absolute)dlsym(RTLD_DEFAULT, "labs");
  verdict("API", "%d %ld", parent_api() == getppid(), absolute_api(-40));
  rewrite();
  replace_under_execution();
  read_code_from_disk();
  large_pages();
  copies(&libc);
  unhook(&libc);
  direct();
  return 0;
}
