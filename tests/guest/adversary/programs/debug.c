// A debugger looks at hooked functions: steps, breakpoints of all kinds, debug registers.
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <ucontext.h>

#include "adversary.h"

typedef long (*Absolute)(long);
typedef pid_t (*Parent)(void);
typedef int (*Access)(const char *, int);

static Parent parent_api;
static Absolute absolute_api;
static Access access_api;
static struct Text libc;

static __attribute__((noinline)) void marker(void) { __asm__ volatile("nop"); }

static void call_the_api(void) {
  parent_api();
  absolute_api(-1);
  access_api("/nonexistent", R_OK);
}

static int in_libc(uint64_t address) { return address - (uint64_t)libc.start < libc.size; }

// --- another process ---

static pid_t start_traced(void) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    for (int i = 0; i < 5; ++i) call_the_api();
    marker();
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  return pid;
}

static void step(void) {
  const pid_t pid = start_traced();
  unsigned steps = 0, in_api = 0;
  uint64_t way = CHECKSUM_START;
  int status = 0;
  while (steps < 100000) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) break;
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) break;
    ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    if (registers.rip == (uint64_t)marker) break;
    ++steps;
    if (!in_libc(registers.rip)) continue;
    ++in_api;
    const uint64_t place = registers.rip - (uint64_t)libc.start;
    way = checksum(way, &place, sizeof place);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  verdict("steps of a tracer", "%u, in libc %u, way %016lx", steps, in_api, way);
}

static long debug_register(pid_t pid, size_t index) {
  return ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + index * 8, NULL);
}

static void debug_registers(void) {
  const pid_t pid = start_traced();
  verdict("debug registers", "%lx %lx %lx %lx %lx", debug_register(pid, 0), debug_register(pid, 1),
          debug_register(pid, 2), debug_register(pid, 3), debug_register(pid, 7));
  // An execution breakpoint where a hook is.
  ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg), (void *)absolute_api);
  ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + 7 * 8, (void *)1);
  int traps = 0, at_the_api = 0, status = 0;
  for (;;) {
    struct user_regs_struct registers;
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status) || ++traps > 50) break;
    ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    at_the_api += registers.rip == (uint64_t)absolute_api;
  }
  if (!WIFEXITED(status)) kill(pid, SIGKILL);
  verdict("breakpoint in a debug register", "%d traps, %d at the API", traps, at_the_api);
}

/// int3 written over a hooked function's first byte, as debuggers do.
static void breakpoint(void) {
  const pid_t pid = start_traced();
  const long before = ptrace(PTRACE_PEEKTEXT, pid, absolute_api, NULL);
  int traps = 0, status = 0;
  while (traps < 50) {
    struct user_regs_struct registers;
    ptrace(PTRACE_POKETEXT, pid, absolute_api, (void *)((before & ~0xffl) | 0xcc));
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) break;
    ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    if (registers.rip != (uint64_t)absolute_api + 1) break;
    ++traps;
    --registers.rip;
    ptrace(PTRACE_SETREGS, pid, NULL, &registers);
    ptrace(PTRACE_POKETEXT, pid, absolute_api, (void *)before);
    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
    waitpid(pid, &status, 0);
  }
  verdict("breakpoint in the code", "%d traps, exit %d", traps,
          WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

// --- this process ---

static volatile unsigned own_steps, own_steps_in_libc;
static volatile uint64_t own_way;

static void on_trap(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  const uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  ++own_steps;
  if (!in_libc(rip)) return;
  ++own_steps_in_libc;
  own_way = (own_way ^ (rip - (uint64_t)libc.start)) * 0x100000001b3ull;
}

static void trap_flag(void) {
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  own_way = CHECKSUM_START;
  __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "memory", "cc");
  call_the_api();
  __asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc");
  signal(SIGTRAP, SIG_DFL);
  verdict("steps by the trap flag", "%u, in libc %u, way %016lx", own_steps, own_steps_in_libc,
          own_way);
}

static void perf_breakpoint(void) {
  struct perf_event_attr attributes = {.type = PERF_TYPE_BREAKPOINT,
                                       .size = sizeof attributes,
                                       .bp_type = HW_BREAKPOINT_X,
                                       .bp_addr = (uint64_t)absolute_api,
                                       .bp_len = sizeof(long),
                                       .exclude_kernel = 1};
  const int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
  uint64_t count = 0;
  for (int i = 0; i < 100; ++i) absolute_api(-i);
  const ssize_t n = fd < 0 ? -1 : read(fd, &count, sizeof count);
  verdict("breakpoint of perf", "%d %lu", n == sizeof count, count);
  if (fd >= 0) close(fd);
}

/// Executions the kernel's own probes count.
static void probe(const char *title, const char *events, const char *profile, const char *format,
                  ...) {
  char definition[512], line[256], text[256] = "";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(definition, sizeof definition, format, arguments);
  va_end(arguments);
  int fd = open(events, O_WRONLY | O_APPEND);
  const int defined = write(fd, definition, strlen(definition)) > 0;
  close(fd);
  const char *kind = strstr(title, "user") ? "uprobes" : "kprobes";
  snprintf(line, sizeof line, "/tracing/events/%s/adversary/enable", kind);
  fd = open(line, O_WRONLY);
  const int enabled = write(fd, "1", 1) == 1;
  for (int i = 0; i < 30; ++i) call_the_api();
  if (write(fd, "0", 1) != 1) abort();
  close(fd);
  unsigned long hits = 0;
  FILE *file = fopen(profile, "r");
  while (file && fgets(line, sizeof line, file)) {
    // "[file] name hits [misses]"
    const char *name = strstr(line, "adversary");
    if (name) sscanf(name, "%255s %lu", text, &hits);
  }
  if (file) fclose(file);
  verdict(title, "defined %d enabled %d hits %lu", defined, enabled, hits);
}

static void kernel_probes(void) {
  mkdir("/tracing", 0700);
  if (mount("tracefs", "/tracing", "tracefs", 0, NULL) != 0) {
    verdict("probes of the kernel", "no tracefs");
    return;
  }
  const unsigned long offset = libc.offset + (size_t)((unsigned char *)absolute_api - libc.start);
  probe("probe of the kernel in user code", "/tracing/uprobe_events", "/tracing/uprobe_profile",
        "p:uprobes/adversary %s:0x%lx\n", libc.path, offset);
  probe("probe of the kernel in its code", "/tracing/kprobe_events", "/tracing/kprobe_profile",
        "p:kprobes/adversary do_faccessat\n");
  umount("/tracing");
}

int main(void) {
  alarm(100);
  libc = libc_text();
  parent_api = (Parent)dlsym(RTLD_DEFAULT, "getppid");
  absolute_api = (Absolute)dlsym(RTLD_DEFAULT, "labs");
  access_api = (Access)dlsym(RTLD_DEFAULT, "access");
  step();
  debug_registers();
  breakpoint();
  trap_flag();
  perf_breakpoint();
  kernel_probes();
  return 0;
}
