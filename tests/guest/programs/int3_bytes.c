// Looks for breakpoint instructions in the RAM of a QEMU, from outside.
//   int3_bytes PID save FILE    keeps a copy of the RAM
//   int3_bytes PID count FILE   prints how many bytes are 0xcc now and were the beginning of an
//                               instruction then that a breakpoint can stand for (nop, push, call,
//                               jmp, ret), on pages on which nothing but such bytes has changed
// RAM is the memfd of a memory backend.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kPage = 4096, kInt3 = 0xcc };

static int open_ram(const char *pid) {
  char directory[64], path[400], target[256];
  snprintf(directory, sizeof directory, "/proc/%s/fd", pid);
  DIR *dir = opendir(directory);
  for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
    snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) continue;
    target[length] = 0;
    if (strstr(target, "memfd:memory-backend-memfd") != NULL) return open(path, O_RDONLY);
  }
  return -1;
}

static int may_be_replaced(unsigned char first) {
  return (first >= 0x50 && first <= 0x57) ||
         memchr("\x0f\x41\x66\x90\xc2\xc3\xe8\xe9\xeb\xf3", first, 10) != NULL;
}

static long count_on_page(const unsigned char *before, const unsigned char *now) {
  long found = 0;
  for (int i = 0; i < kPage; ++i) {
    if (before[i] == now[i]) continue;
    // Data that happens to become this was anything before.
    if (now[i] != kInt3 || !may_be_replaced(before[i])) return 0;
    ++found;
  }
  return found;
}

int main(int argc, char **argv) {
  struct stat info;
  const int ram = argc == 4 ? open_ram(argv[1]) : -1;
  if (ram < 0 || fstat(ram, &info) != 0) return 2;
  const size_t size = (size_t)info.st_size;
  const unsigned char *now = mmap(NULL, size, PROT_READ, MAP_SHARED, ram, 0);
  const int save = strcmp(argv[2], "save") == 0;
  const int file = open(argv[3], save ? O_CREAT | O_RDWR | O_TRUNC : O_RDONLY, 0600);
  if (now == MAP_FAILED || file < 0) return 2;
  if (save) {
    static const unsigned char kZeros[kPage];
    for (size_t at = 0; at < size; at += kPage)
      if (memcmp(now + at, kZeros, kPage) != 0 && pwrite(file, now + at, kPage, (off_t)at) != kPage)
        return 2;
    return ftruncate(file, (off_t)size) == 0 ? 0 : 2;
  }
  const unsigned char *before = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
  if (before == MAP_FAILED) return 2;
  long found = 0;
  for (size_t at = 0; at < size; at += kPage)
    if (memcmp(before + at, now + at, kPage) != 0) found += count_on_page(before + at, now + at);
  printf("%ld\n", found);
  return 0;
}
