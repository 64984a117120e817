// The only program of a guest inside a guest: told over the console what to do, it does a known
// number of things and says so. Every command is answered by a line "done COMMAND COUNT".
//   events N    on each processor: N children that make a file and execute this program anew
//   calls N     on each processor: N system calls getrusage(), which is also the kernel's name for it
//   opens N     N times opens a file and closes it; and the ticks of the processor that one took
//   programs N  on each processor: executes inner_program.c, which calls shared libraries
//   sum N       what the C library of that program holds, by read() and by mmap(): two numbers
//   patch N     N times lets the kernel's tracer change the code of getrusage(), and takes it back; then calls it
//   self N      debugs itself: INT3, single-step, hardware breakpoints; answers what it saw of each
//   end         switches the machine off
// With "workload=N" on the kernel's command line it does by itself, slowly, what `events N` does on
// the first processor, and then switches off. With "patching=1" besides, it does what `patch 1` does before each child.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 10
#define MOST_PROCESSORS 16
#define PATCHED_CALLS 500
#define C_LIBRARY "/lib/x86_64-linux-gnu/libc.so.6"

static long processors;

static int patch_the_kernel(long n);

static void pin(long processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((int)processor, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) abort();
}

/// Runs work(processor, n) in a process on each processor; the sum of what went wrong.
static int on_each(int (*work)(long, long), long n) {
  pid_t workers[MOST_PROCESSORS];
  for (long p = 0; p < processors; ++p) {
    if ((workers[p] = fork()) != 0) continue;
    pin(p);
    _exit(work(p, n));
  }
  int bad = 0, status;
  for (long p = 0; p < processors; ++p)
    bad += waitpid(workers[p], &status, 0) != workers[p] || status != 0;
  return bad;
}

static int make_events(long processor, long n) {
  const int slowly = getenv("workload") != NULL, patching = getenv("patching") != NULL;
  for (long i = 0; i < n; ++i) {
    if (slowly) usleep(500000);
    if (patching && patch_the_kernel(1) != 0) return 1;
    const pid_t child = fork();
    if (child == 0) {
      char path[64], name[32];
      snprintf(path, sizeof path, "/made/%ld-%ld", processor, i);
      snprintf(name, sizeof name, "%ld-%ld", processor, i);
      if (open(path, O_CREAT | O_EXCL | O_WRONLY, 0600) < 0) _exit(100);
      execl("/init", "child", name, (char *)NULL);
      _exit(101);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != (i & 0x3f) << 8) return 1;
  }
  return 0;
}

static int run_programs(long processor, long n) {
  (void)processor;
  char count[32];
  snprintf(count, sizeof count, "%ld", n);
  const pid_t child = fork();
  if (child == 0) {
    execl("/program", "program", count, (char *)NULL);
    _exit(101);
  }
  int status;
  return waitpid(child, &status, 0) != child || status != 0;
}

/// A program that does nothing but have the C library in memory.
static void keep_the_c_library(void) {
  if (fork() != 0) return;
  execl("/program", "program", (char *)NULL);
  _exit(101);
}

/// FNV-1a, so that a byte more or less tells.
static uint64_t sum_of(uint64_t sum, const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) sum = (sum ^ bytes[i]) * 0x100000001b3;
  return sum;
}

static uint64_t sum_by_reading(const char *path) {
  static unsigned char buffer[65536];
  uint64_t sum = 0;
  const int fd = open(path, O_RDONLY);
  for (ssize_t size; (size = read(fd, buffer, sizeof buffer)) > 0;)
    sum = sum_of(sum, buffer, (size_t)size);
  close(fd);
  return sum;
}

static uint64_t sum_by_mapping(const char *path) {
  struct stat info;
  const int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &info) != 0) return 0;
  const size_t size = (size_t)info.st_size;
  const unsigned char *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return bytes == MAP_FAILED ? 0 : sum_of(0, bytes, size);
}

static int make_calls(long processor, long n) {
  (void)processor;
  struct rusage usage;
  for (long i = 0; i < n; ++i)
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 1;
  return 0;
}

static int tell_the_tracer(const char *file, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/tracing/%s", file);
  const int fd = open(path, O_WRONLY);
  const int bad = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text);
  close(fd);
  return bad;
}

/// Code on the page of getrusage() is written to, and is in the end what it was.
static int patch_the_kernel(long n) {
  mkdir("/tracing", 0700);
  mount("tracefs", "/tracing", "tracefs", 0, NULL);
  int wrong = tell_the_tracer("set_ftrace_filter", "getrusage");
  for (long i = 0; i < n; ++i)
    wrong += tell_the_tracer("current_tracer", "function") + tell_the_tracer("current_tracer", "nop");
  usleep(200000);
  return wrong + on_each(make_calls, PATCHED_CALLS);
}

/// Ticks of one of n openings; -1 when one fails.
static long ticks_of_opens(long n) {
  const unsigned long long begin = __builtin_ia32_rdtsc();
  for (long i = 0; i < n; ++i) {
    const int fd = open("/init", O_RDONLY);
    if (fd < 0) return -1;
    close(fd);
  }
  return (long)((__builtin_ia32_rdtsc() - begin) / (unsigned long long)n);
}

/// What an earlier `events N` has left.
static void clear_events(long n) {
  char path[64];
  for (long p = 0; p < processors; ++p)
    for (long i = 0; i < n; ++i) {
      snprintf(path, sizeof path, "/made/%ld-%ld", p, i);
      unlink(path);
    }
}

static volatile int traps;
static void on_trap(int signal) {
  (void)signal;
  ++traps;
}

__attribute__((noinline)) static int target(int x) {
  __asm__ volatile("");
  return x + 1;
}

/// How often an execution breakpoint of its own on target() was hit.
static long own_breakpoint(void) {
  struct perf_event_attr attributes = {.type = PERF_TYPE_BREAKPOINT,
                                       .size = sizeof attributes,
                                       .bp_type = HW_BREAKPOINT_X,
                                       .bp_addr = (uint64_t)target,
                                       .bp_len = sizeof(long),
                                       .exclude_kernel = 1};
  const int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
  if (fd < 0) return -1;
  int sum = 0;
  for (int i = 0; i < TIMES; ++i) sum += target(i);
  uint64_t count = 0;
  if (read(fd, &count, sizeof count) != sizeof count || sum == 0) return -1;
  close(fd);
  return (long)count;
}

static int int3_traps(void) {
  traps = 0;
  for (int i = 0; i < TIMES; ++i) __asm__ volatile("int3");
  return traps;
}

static int step_traps(void) {
  traps = 0;
  // Two instructions run with the trap flag set before popfq takes it away: and itself.
  __asm__ volatile(
      "pushfq\n orq $0x100,(%%rsp)\n popfq\n nop\n pushfq\n andq $~0x100,(%%rsp)\n popfq\n nop" ::
          : "memory", "cc");
  return traps;
}

int main(int argc, char **argv) {
  // The kernel gives the first program what it does not know of its command line.
  if (argc == 2 && strcmp(argv[0], "child") == 0) {
    const char *number = strchr(argv[1], '-');
    return number == NULL ? 102 : atoi(number + 1) & 0x3f;
  }
  setbuf(stdout, NULL);
  signal(SIGTRAP, on_trap);
  processors = sysconf(_SC_NPROCESSORS_ONLN);
  if (processors > MOST_PROCESSORS) processors = MOST_PROCESSORS;
  mkdir("/made", 0700);
  keep_the_c_library();
  printf("ready %ld\n", processors);
  if (getenv("workload") != NULL) {
    make_events(0, atol(getenv("workload")));
    reboot(RB_AUTOBOOT);
  }
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    long n = 0;
    if (sscanf(line, "events %ld", &n) == 1) {
      clear_events(n);
      printf("done events %ld wrong %d\n", n, on_each(make_events, n));
    } else if (sscanf(line, "calls %ld", &n) == 1)
      printf("done calls %ld wrong %d\n", n, on_each(make_calls, n));
    else if (sscanf(line, "opens %ld", &n) == 1 && n > 0)
      printf("done opens %ld ticks %ld\n", n, ticks_of_opens(n));
    else if (sscanf(line, "programs %ld", &n) == 1)
      printf("done programs %ld wrong %d\n", n, on_each(run_programs, n));
    else if (sscanf(line, "sum %ld", &n) == 1)
      printf("done sum %ld read %lx mapped %lx\n", n, sum_by_reading(C_LIBRARY),
             sum_by_mapping(C_LIBRARY));
    else if (sscanf(line, "patch %ld", &n) == 1)
      printf("done patch %ld wrong %d\n", n, patch_the_kernel(n));
    else if (sscanf(line, "self %ld", &n) == 1)
      printf("done self %ld int3 %d step %d breakpoint %ld\n", n, int3_traps(), step_traps(),
             own_breakpoint());
    else if (strncmp(line, "end", 3) == 0)
      break;
  }
  reboot(RB_AUTOBOOT);
  return 0;
}
