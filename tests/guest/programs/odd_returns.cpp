// Leaves odd_call() in every way there is, and prints for each kind how often it was entered and
// how often it returned: "KIND ENTERED RETURNED" a line. odd_returns ROUNDS
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" int odd_call(int kind, void (*back)(void*), void* argument);
extern "C" int odd_other(int kind);

enum Kind {
  kPlain,
  kNested,
  kLongjmp,
  kException,
  kSignal,
  kSiglongjmp,
  kThreadExit,
  kCancel,
  kContext,
  kFork,
  kExec,
  kExecThread,
  kKilled,
  kExitGroup,
  kFault,
  kKinds
};

// In memory, so that every round of a loop has the same registers.
static volatile long entered[kKinds], returned[kKinds];
static volatile int rounds;
static volatile int round_number;

static void enter(int kind, void (*back)(void*), void* argument) {
  __atomic_fetch_add(&entered[kind], 1, __ATOMIC_SEQ_CST);
  if (odd_call(kind, back, argument) != kind) abort();
  __atomic_fetch_add(&returned[kind], 1, __ATOMIC_SEQ_CST);
}

static void nothing(void*) {}
static void nest(void* depth) {
  const long left = reinterpret_cast<long>(depth);
  if (left > 0) enter(kNested, nest, reinterpret_cast<void*>(left - 1));
}

static jmp_buf target;
static void jump(void*) { longjmp(target, 1); }
static void throw_it(void*) { throw 1; }

static void on_signal(int) { enter(kSignal, nothing, nullptr); }
static void raise_it(void*) { raise(SIGUSR1); }
static sigjmp_buf signal_target;
static void on_jumping_signal(int) {
  __atomic_fetch_add(&entered[kSiglongjmp], 1, __ATOMIC_SEQ_CST);
  odd_call(kSiglongjmp, [](void*) { siglongjmp(signal_target, 1); }, nullptr);
}
static void raise_other(void*) { raise(SIGUSR2); }

static void leave_thread(void*) { pthread_exit(nullptr); }
static void wait_forever(void*) {
  for (;;) pause();
}
static void* thread_exits(void*) {
  enter(kThreadExit, leave_thread, nullptr);
  return nullptr;
}
static void* thread_waits(void*) {
  enter(kCancel, wait_forever, nullptr);
  return nullptr;
}

static ucontext_t main_context, other_context;
static void switch_back(void*) { swapcontext(&other_context, &main_context); }
static void in_context() { enter(kContext, switch_back, nullptr); }

static void run_again(void* program) {
  execl(static_cast<char*>(program), static_cast<char*>(program), "-", nullptr);
  abort();
}
static void* thread_executes(void* program) {
  enter(kExecThread, run_again, program);
  return nullptr;
}
static void end_now(void*) { _exit(0); }

/// Runs `work` in a child and waits for it.
template <class Work>
static void in_child(Work work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(7);
  }
  int status;
  if (waitpid(child, &status, 0) != child) abort();
}

static void* killed_thread(void*) {
  enter(kKilled, wait_forever, nullptr);
  return nullptr;
}

// The first instruction of odd_call() pushes a register: onto a page that was never touched, so
// that it faults and runs once more.
static void fault_at_entry() {
  constexpr long kPage = 4096;
  char* stack = static_cast<char*>(
      mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  madvise(stack, 3 * kPage, MADV_NOHUGEPAGE);
  stack[2 * kPage] = 1;  // holds the return address alone
  long result;
  ++entered[kFault];
  asm volatile("mov %%rsp, %%rbx\n mov %[top], %%rsp\n call odd_call@plt\n mov %%rbx, %%rsp"
               : "=a"(result)
               : [top] "r"(stack + 2 * kPage + 8), "D"(long{kFault}), "S"(0L), "d"(0L)
               : "rbx", "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
  if (static_cast<int>(result) != kFault) abort();
  ++returned[kFault];
  munmap(stack, 3 * kPage);
}

static void other_frames() {
  // Another function in the frame that a longjmp left behind: it is not the one that returns.
  for (round_number = 0; round_number < rounds; ++round_number) {
    if (setjmp(target) == 0) {
      ++entered[kLongjmp];
      odd_call(kLongjmp, jump, nullptr);
      ++returned[kLongjmp];
    }
    if (odd_other(round_number) != round_number + 1000) abort();
  }
}

int main(int argc, char** argv) {
  if (argc < 2 || std::strcmp(argv[1], "-") == 0) return 0;  // what an exec runs
  rounds = std::atoi(argv[1]);
  signal(SIGUSR1, on_signal);
  signal(SIGUSR2, on_jumping_signal);

  for (round_number = 0; round_number < rounds; ++round_number) enter(kPlain, nothing, nullptr);
  for (round_number = 0; round_number < rounds / 10; ++round_number)
    enter(kNested, nest, reinterpret_cast<void*>(20L));
  other_frames();
  for (round_number = 0; round_number < rounds; ++round_number) {
    try {
      enter(kException, throw_it, nullptr);
    } catch (int) {
    }
  }
  for (round_number = 0; round_number < rounds; ++round_number)
    enter(kPlain, raise_it, nullptr);  // the handler calls, too
  for (round_number = 0; round_number < rounds; ++round_number) {
    if (sigsetjmp(signal_target, 1) != 0) continue;
    __atomic_fetch_add(&entered[kSiglongjmp], 1, __ATOMIC_SEQ_CST);
    odd_call(kSiglongjmp, raise_other, nullptr);
  }
  for (int i = 0; i < rounds / 10; ++i) {
    pthread_t thread;
    pthread_create(&thread, nullptr, thread_exits, nullptr);
    pthread_join(thread, nullptr);
  }
  for (int i = 0; i < rounds / 10; ++i) {
    const long before = entered[kCancel];
    pthread_t thread;
    pthread_create(&thread, nullptr, thread_waits, nullptr);
    while (__atomic_load_n(&entered[kCancel], __ATOMIC_SEQ_CST) == before) sched_yield();
    usleep(2000);  // until it waits inside
    pthread_cancel(thread);
    pthread_join(thread, nullptr);
  }
  for (int i = 0; i < rounds; ++i) fault_at_entry();
  static char stack[65536];
  for (int i = 0; i < rounds / 10; ++i) {
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = stack;
    other_context.uc_stack.ss_size = sizeof stack;
    other_context.uc_link = &main_context;
    makecontext(&other_context, in_context, 0);
    swapcontext(&main_context, &other_context);
    enter(kPlain, nothing, nullptr);
    swapcontext(&main_context, &other_context);
  }
  // Processes that end inside: what they entered, the parent counts.
  const int few = rounds / 20;
  for (int i = 0; i < few; ++i) {
    in_child([&] { enter(kExec, run_again, argv[0]); });
    in_child([&] {
      pthread_t thread;
      pthread_create(&thread, nullptr, thread_executes, argv[0]);
      wait_forever(nullptr);
    });
    in_child([] { enter(kExitGroup, end_now, nullptr); });
    in_child([] {
      pthread_t threads[3];
      for (auto& thread : threads) pthread_create(&thread, nullptr, killed_thread, nullptr);
      while (__atomic_load_n(&entered[kKilled], __ATOMIC_SEQ_CST) < 3) sched_yield();
      usleep(20000);
      kill(getpid(), SIGKILL);
    });
    // Entered before the fork, left in both: the child's return belongs to no call of its own.
    entered[kFork] += 1;
    if (odd_call(
            kFork,
            [](void*) {
              const pid_t child = fork();
              if (child == 0) _exit(0);
              int status;
              waitpid(child, &status, 0);
            },
            nullptr) != kFork)
      abort();
    returned[kFork] += 1;
  }
  entered[kExec] += few;
  entered[kExecThread] += few;
  entered[kExitGroup] += few;
  entered[kKilled] += 3 * few;
  for (int kind = 0; kind < kKinds; ++kind)
    std::printf("%d %ld %ld\n", kind, entered[kind], returned[kind]);
  return 0;
}
