// What the programs share. Each prints lines `check: what it found`; a line must be the same
// whether the machine is watched or not.
#pragma once

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul

static inline void verdict(const char *check, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%s: ", check);
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  va_end(arguments);
}

/// A checksum of whole words; the rest of a division by 8 is left out.
static inline uint64_t checksum(uint64_t sum, const void *data, size_t size) {
  const uint64_t *words = data;
  for (size_t i = 0; i < size / 8; ++i) sum = (sum ^ words[i]) * 0x100000001b3ull;
  return sum;
}

#define CHECKSUM_START 0xcbf29ce484222325ull

/// An executable part of a mapped file.
struct Text {
  char name[32];
  char path[256];
  unsigned char *start;
  size_t size, offset;
};

/// The executable mappings of files in this process, in the order of /proc/self/maps.
static inline int texts(struct Text *out, int limit) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  int count = 0;
  while (maps && count < limit && fgets(line, sizeof line, maps)) {
    unsigned long start, end, offset;
    char flags[8], path[256] = "";
    if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %255s", &start, &end, flags, &offset, path) < 4 ||
        flags[2] != 'x' || path[0] != '/')
      continue;
    struct Text *text = &out[count++];
    snprintf(text->path, sizeof text->path, "%s", path);
    snprintf(text->name, sizeof text->name, "%.31s", strrchr(path, '/') + 1);
    text->start = (unsigned char *)start;
    text->size = end - start;
    text->offset = offset;
  }
  if (maps) fclose(maps);
  return count;
}

static inline struct Text libc_text(void) {
  struct Text all[16], none = {0};
  const int count = texts(all, 16);
  for (int i = 0; i < count; ++i)
    if (strcmp(all[i].name, "libc.so.6") == 0) return all[i];
  return none;
}

static inline unsigned char *page_of(const void *address) {
  return (unsigned char *)((uintptr_t)address & ~(PAGE - 1));
}
