// Reads all code it can reach, on every way there is, and looks for what was put into it.
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "adversary.h"

#define MAX_TEXT (4u << 20)

static unsigned char buffer[MAX_TEXT] __attribute__((aligned(4096)));

static void use_the_api(void) {
  // Functions that are hooked have run, and their pages with them.
  char text[64];
  struct Text all[16];
  for (int i = 0; i < 50; ++i) {
    snprintf(text, sizeof text, "%d", i);
    if (getenv(text) || access("/nonexistent", R_OK) == 0) abort();
    free(strdup(text));
  }
  texts(all, 16);
}

static uint64_t sum_of_file(const struct Text *text, int flags) {
  const int fd = open(text->path, O_RDONLY | flags);
  size_t done = 0;
  // Direct transfers may go beyond the mapping, but not beyond the buffer.
  while (fd >= 0 && done < text->size) {
    const ssize_t n = pread(fd, buffer + done, text->size - done, (off_t)(text->offset + done));
    if (n <= 0) break;
    done += (size_t)n;
  }
  // A mapping shows zeros behind the end of its file.
  memset(buffer + done, 0, text->size - done);
  if (fd < 0) return 0;
  close(fd);
  return checksum(CHECKSUM_START, buffer, text->size);
}

static uint64_t sum_of_mapping(const struct Text *text, int protection, int flags) {
  const int fd = open(text->path, O_RDONLY);
  void *map = mmap(NULL, text->size, protection, flags, fd, (off_t)text->offset);
  if (map == MAP_FAILED) return 0;
  const uint64_t sum = checksum(CHECKSUM_START, map, text->size);
  munmap(map, text->size);
  close(fd);
  return sum;
}

static uint64_t sum_of_memory_file(const struct Text *text, pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  const int fd = open(path, O_RDONLY);
  const ssize_t n = pread(fd, buffer, text->size, (off_t)text->start);
  close(fd);
  return n == (ssize_t)text->size ? checksum(CHECKSUM_START, buffer, text->size) : 0;
}

static uint64_t sum_by_process_vm_readv(const struct Text *text, pid_t pid) {
  struct iovec here = {buffer, text->size}, there = {text->start, text->size};
  const ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
  return n == (ssize_t)text->size ? checksum(CHECKSUM_START, buffer, text->size) : 0;
}

/// The kernel takes the pages themselves, not a copy of them.
static uint64_t sum_by_vmsplice(const struct Text *text) {
  int ends[2];
  if (pipe(ends) != 0) return 0;
  for (size_t done = 0; done < text->size; done += PAGE) {
    struct iovec page = {text->start + done, PAGE};
    if (vmsplice(ends[1], &page, 1, 0) != (ssize_t)PAGE) break;
    if (read(ends[0], buffer + done, PAGE) != (ssize_t)PAGE) break;
  }
  close(ends[0]);
  close(ends[1]);
  return checksum(CHECKSUM_START, buffer, text->size);
}

/// Its first pages: a word costs a system call.
static uint64_t sum_by_ptrace(const struct Text *text, pid_t pid, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    const long word = ptrace(PTRACE_PEEKTEXT, pid, text->start + i, NULL);
    memcpy(buffer + i, &word, sizeof word);
  }
  return checksum(CHECKSUM_START, buffer, size);
}

/// In a second process, which has the same memory below another page table.
static void look_from_outside(const struct Text *all, int count) {
  int go[2];
  if (pipe(go) != 0) abort();
  fflush(stdout);
  const pid_t watched = fork();
  if (watched == 0) {
    char byte;
    use_the_api();
    _exit(read(go[0], &byte, 1) != 1);
  }
  for (int i = 0; i < count; ++i) {
    char name[128];
    snprintf(name, sizeof name, "%.31s by another process", all[i].name);
    verdict(name, "%016lx %016lx", sum_of_memory_file(&all[i], watched),
            sum_by_process_vm_readv(&all[i], watched));
  }
  if (ptrace(PTRACE_ATTACH, watched, NULL, NULL) == 0) {
    waitpid(watched, NULL, 0);
    for (int i = 0; i < count; ++i) {
      const size_t size = all[i].size < 8 * PAGE ? all[i].size : 8 * PAGE;
      const uint64_t own = checksum(CHECKSUM_START, all[i].start, size);
      char name[128];
      snprintf(name, sizeof name, "%.31s by a tracer", all[i].name);
      verdict(name, "%s", sum_by_ptrace(&all[i], watched, size) == own ? "same" : "DIFFERENT");
    }
    ptrace(PTRACE_DETACH, watched, NULL, NULL);
  }
  if (write(go[1], "x", 1) != 1) abort();
  waitpid(watched, NULL, 0);
}

static volatile int stop;

static void *run_it(void *unused) {
  while (!stop) use_the_api();
  return unused;
}

static void read_while_it_runs(const struct Text *text) {
  const uint64_t before = checksum(CHECKSUM_START, text->start, text->size);
  pthread_t threads[2];
  int different = 0;
  for (int i = 0; i < 2; ++i) pthread_create(&threads[i], NULL, run_it, NULL);
  for (int i = 0; i < 10; ++i)
    different += checksum(CHECKSUM_START, text->start, text->size) != before;
  stop = 1;
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  verdict("libc read while it runs", "%d of 10 different", different);
}

// --- beginnings of functions ---

static unsigned beginnings[256];

static int scan_module(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  if (!strstr(info->dlpi_name, "libc.so.6")) return 0;
  const ElfW(Sym) *symbols = NULL;
  const char *strings = NULL;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    for (; d->d_tag != DT_NULL; ++d) {
      if (d->d_tag == DT_SYMTAB) symbols = (const void *)d->d_un.d_ptr;
      if (d->d_tag == DT_STRTAB) strings = (const void *)d->d_un.d_ptr;
    }
  }
  // The string table follows the symbols.
  for (; (const char *)symbols < strings; ++symbols)
    if ((symbols->st_info & 0xf) == STT_FUNC && symbols->st_value)
      ++beginnings[*(const unsigned char *)(info->dlpi_addr + symbols->st_value)];
  return 1;
}

static void scan_beginnings(void) {
  dl_iterate_phdr(scan_module, NULL);
  uint64_t sum = checksum(CHECKSUM_START, beginnings, sizeof beginnings);
  verdict("beginnings of libc's functions", "int3 %u jmp %u,%u all %016lx", beginnings[0xcc],
          beginnings[0xe9], beginnings[0xeb], sum);
}

// --- the kernel ---

static int kcore = -1;
static Elf64_Phdr parts[64];
static int part_count;

static int open_kcore(void) {
  Elf64_Ehdr header;
  kcore = open("/proc/kcore", O_RDONLY);
  if (pread(kcore, &header, sizeof header, 0) != sizeof header) return 0;
  part_count = header.e_phnum < 64 ? header.e_phnum : 64;
  const size_t size = (size_t)part_count * sizeof parts[0];
  return pread(kcore, parts, size, (off_t)header.e_phoff) == (ssize_t)size;
}

static int read_kernel(uint64_t address, void *out, size_t size) {
  for (int i = 0; i < part_count; ++i)
    if (parts[i].p_type == PT_LOAD && address >= parts[i].p_vaddr &&
        address + size <= parts[i].p_vaddr + parts[i].p_memsz)
      return pread(kcore, out, size, (off_t)(parts[i].p_offset + address - parts[i].p_vaddr)) ==
             (ssize_t)size;
  return 0;
}

static void read_the_kernel(void) {
  if (!open_kcore()) {
    verdict("kernel", "cannot be read");
    return;
  }
  FILE *symbols = fopen("/proc/kallsyms", "r");
  uint64_t begin = 0, end = 0, address;
  char line[512], name[256], type;
  unsigned first[256] = {0}, functions = 0;
  static uint64_t wanted[65536];
  while (symbols && fgets(line, sizeof line, symbols)) {
    if (sscanf(line, "%lx %c %255s", &address, &type, name) != 3 || strchr(line, '[')) continue;
    if (strcmp(name, "_stext") == 0) begin = address;
    if (strcmp(name, "_etext") == 0) end = address;
    const int hooked = strncmp(name, "vfs_", 4) == 0 || strncmp(name, "do_", 3) == 0 ||
                       strncmp(name, "security_", 9) == 0 || strncmp(name, "__x64_sys_", 10) == 0;
    if ((type == 't' || type == 'T') && hooked && functions < 65536) wanted[functions++] = address;
  }
  if (symbols) fclose(symbols);
  uint64_t sum = CHECKSUM_START;
  int unread = 0;
  for (address = begin; address < end; address += MAX_TEXT) {
    const size_t size = end - address < MAX_TEXT ? end - address : MAX_TEXT;
    if (read_kernel(address, buffer, size))
      sum = checksum(sum, buffer, size);
    else
      ++unread;
  }
  verdict("kernel text by /proc/kcore", "%lu bytes, %d parts unread, %016lx", end - begin, unread,
          sum);
  unsigned char byte;
  for (unsigned i = 0; i < functions; ++i)
    if (read_kernel(wanted[i], &byte, 1)) ++first[byte];
  verdict("beginnings of the kernel's functions", "%u int3 %u jmp %u,%u call %u", functions,
          first[0xcc], first[0xe9], first[0xeb], first[0xe8]);
}

int main(void) {
  struct Text all[16];
  use_the_api();
  const int count = texts(all, 16);
  for (int i = 0; i < count; ++i) {
    const struct Text *t = &all[i];
    if (t->size > MAX_TEXT) continue;
    verdict(t->name, "own %016lx private %016lx shared %016lx code %016lx",
            checksum(CHECKSUM_START, t->start, t->size), sum_of_mapping(t, PROT_READ, MAP_PRIVATE),
            sum_of_mapping(t, PROT_READ, MAP_SHARED),
            sum_of_mapping(t, PROT_READ | PROT_EXEC, MAP_PRIVATE));
    verdict(t->name, "read %016lx direct %016lx mem %016lx vmsplice %016lx", sum_of_file(t, 0),
            sum_of_file(t, O_DIRECT), sum_of_memory_file(t, getpid()), sum_by_vmsplice(t));
  }
  look_from_outside(all, count);
  const struct Text libc = libc_text();
  read_while_it_runs(&libc);
  scan_beginnings();
  read_the_kernel();
  return 0;
}
