// Ways in and out of hooked functions that no compiler makes. (Those that compilers make, longjmp
// and exceptions among them, are in ../../programs/odd_returns.cpp.)
#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <ucontext.h>

#include "adversary.h"

typedef long (*Absolute)(long);

static Absolute absolute_api;

/// Calls on a stack in memory of its own, which goes away afterwards.
static long call_on(unsigned char *stack, long value) {
  long result;
  __asm__ volatile(
      "mov %%rsp, %%rbx\n\t"
      "mov %[stack], %%rsp\n\t"
      "call *%[function]\n\t"
      "mov %%rbx, %%rsp"
      : "=a"(result)
      : [stack] "r"(stack), [function] "r"(absolute_api), "D"(value)
      : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

static void pivot(void) {
  long sum = 0;
  for (int i = 0; i < 100; ++i) {
    unsigned char *stack =
        mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sum += call_on(stack + 4 * PAGE - 64, -i);
    munmap(stack, 4 * PAGE);
  }
  verdict("call on another stack", "%ld", sum);
}

/// Enters by a return (beyond the red zone), and comes back to another place than behind the call:
/// what chains of gadgets do.
static long enter_by_return(long value) {
  long result;
  __asm__ volatile(
      "lea 1f(%%rip), %%rax\n\t"
      "sub $136, %%rsp\n\t"
      "push %%rax\n\t"
      "push %[function]\n\t"
      "ret\n"
      "1: add $136, %%rsp"
      : "=&a"(result)
      : [function] "r"(absolute_api), "D"(value)
      : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

static void chain(void) {
  long sum = 0;
  for (int i = 0; i < 100; ++i) sum += enter_by_return(-i);
  verdict("entered by a return", "%ld", sum);
}

static ucontext_t here, there;
static long in_context;

static void other_context(void) {
  for (;;) {
    in_context += absolute_api(-1);
    swapcontext(&there, &here);
  }
}

static void contexts(void) {
  static unsigned char stack[64 * 1024];
  getcontext(&there);
  there.uc_stack.ss_sp = stack;
  there.uc_stack.ss_size = sizeof stack;
  makecontext(&there, other_context, 0);
  for (int i = 0; i < 100; ++i) swapcontext(&here, &there);
  verdict("contexts", "%ld", in_context);
}

static sigjmp_buf back;
static volatile long in_handler;

static void leave(int signal) {
  (void)signal;
  in_handler += absolute_api(-1);
  siglongjmp(back, 1);
}

/// Signals that come while hooked functions run, handled on a stack of their own, and left by a
/// jump.
static void signals(void) {
  static unsigned char stack[64 * 1024];
  const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = leave, .sa_flags = SA_ONSTACK | SA_NODEFER};
  sigaction(SIGUSR1, &action, NULL);
  for (volatile int i = 0; i < 100; ++i)
    if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
  verdict("signal handlers left by a jump", "%ld", in_handler);
}

static void *wait_for_ever(void *unused) {
  int ends[2];
  char byte;
  if (pipe(ends) == 0) return (void *)read(ends[0], &byte, 1);
  return unused;
}

static void end_thread(int signal) {
  (void)signal;
  syscall(SYS_exit, 0);
}

static void threads(void) {
  int cancelled = 0;
  for (int i = 0; i < 50; ++i) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    cancelled += result == PTHREAD_CANCELED;
  }
  verdict("threads cancelled in a call", "%d", cancelled);
  struct sigaction action = {.sa_handler = end_thread};
  sigaction(SIGUSR2, &action, NULL);
  int ended = 0;
  for (int i = 0; i < 50; ++i) {
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    pthread_kill(thread, SIGUSR2);
    ended += pthread_join(thread, NULL) == 0;
  }
  verdict("threads ended in a call", "%d", ended);
}

static void *execute(void *path) {
  char *const arguments[] = {path, "child", NULL};
  execv(path, arguments);
  return NULL;
}

/// Programs that end in the middle: another thread executes, a child of vfork executes or ends.
static void programs(void) {
  volatile int good = 0;
  for (int i = 0; i < 10; ++i) {
    const pid_t pid = fork();
    int status;
    if (pid == 0) {
      pthread_t thread;
      pthread_create(&thread, NULL, execute, "/proc/self/exe");
      for (;;) free(strdup("somewhere in a call"));
    }
    waitpid(pid, &status, 0);
    good += WIFEXITED(status) && WEXITSTATUS(status) == 42;
  }
  verdict("executed by another thread", "%d", good);
  good = 0;
  for (int i = 0; i < 50; ++i) {
    int status;
    const pid_t pid = vfork();
    if (pid == 0) {
      if (i & 1) execl("/proc/self/exe", "returns", "child", NULL);
      _exit(42);
    }
    waitpid(pid, &status, 0);
    good += WIFEXITED(status) && WEXITSTATUS(status) == 42;
  }
  verdict("children of vfork", "%d", good);
}

int main(int count, char **arguments) {
  absolute_api = (Absolute)dlsym(RTLD_DEFAULT, "labs");
  if (count > 1 && strcmp(arguments[1], "child") == 0) return (int)absolute_api(-42);
  pivot();
  chain();
  contexts();
  signals();
  threads();
  programs();
  return 0;
}
