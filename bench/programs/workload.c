// Work to measure inside a guest: workload storm|pipes|cpu|opens|paced COUNT; prints the nanoseconds it took.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// open, read, close and stat of one small file, COUNT times.
static void storm(long count) {
  char buffer[512];
  struct stat info;
  for (long i = 0; i < count; ++i) {
    const int fd = open("/etc/passwd", O_RDONLY);
    if (fd < 0 || read(fd, buffer, sizeof buffer) <= 0 || close(fd) != 0) abort();
    if (stat("/etc/passwd", &info) != 0) abort();
  }
}

// System calls that are about no file: a byte through a pipe, COUNT times.
static void pipes(long count) {
  int ends[2];
  char byte = 'x';
  if (pipe(ends) != 0) abort();
  for (long i = 0; i < count; ++i)
    if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1 || getppid() < 0) abort();
}

static void open_once(void) {
  const int fd = open("/etc/passwd", O_RDONLY);
  if (fd < 0 || close(fd) != 0) abort();
}

// Opens a file COUNT times a second, for one second; as often as it can when that is less.
static void paced(long count) {
  const long long begin = now(), end = begin + 1000000000;
  for (long i = 0; now() < end; ++i) {
    const long long due = begin + i * (1000000000 / count), wait = due - now();
    const struct timespec pause = {wait / 1000000000, wait % 1000000000};
    if (wait > 0) nanosleep(&pause, NULL);
    open_once();
  }
}

// Arithmetic and memory without system calls.
static volatile unsigned sink;
static void cpu(long count) {
  static unsigned table[4096];
  unsigned x = 1;
  for (long i = 0; i < count; ++i)
    for (int k = 0; k < 4096; ++k) {
      x = x * 1103515245 + 12345;
      table[x >> 20] += x;
    }
  sink = table[7];
}

// Where pages lie decides which of them compete for an entry of QEMU's TLB, and that can double the
// time of a run: the same places each time.
static void fix_addresses(char **argv) {
  const int now = personality(0xffffffff);
  if (now < 0 || (now & ADDR_NO_RANDOMIZE) != 0) return;
  personality((unsigned long)now | ADDR_NO_RANDOMIZE);
  execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  fix_addresses(argv);
  const long count = atol(argv[2]);
  const long long begin = now();
  if (strcmp(argv[1], "storm") == 0)
    storm(count);
  else if (strcmp(argv[1], "pipes") == 0)
    pipes(count);
  else if (strcmp(argv[1], "opens") == 0)
    for (long i = 0; i < count; ++i) open_once();
  else if (strcmp(argv[1], "paced") == 0)
    paced(count);
  else
    cpu(count);
  printf("%lld\n", now() - begin);
  return 0;
}
