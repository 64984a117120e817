// What a clock inside the machine shows of the watching: the cost of calls, of code seen for the
// first time, and of hooks that change. Prints numbers for people (docs/stealth.md); no test runs
// it.
#include <cpuid.h>
#include <time.h>

#include "adversary.h"

typedef long (*Absolute)(long);

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/// The median of rounds, in nanoseconds a call.
static double cost(void (*call)(void)) {
  enum { kRounds = 31, kCalls = 2000 };
  uint64_t rounds[kRounds];
  for (int r = 0; r < kRounds; ++r) {
    const uint64_t begin = now();
    for (int i = 0; i < kCalls; ++i) call();
    rounds[r] = now() - begin;
  }
  qsort(rounds, kRounds, sizeof rounds[0], by_size);
  return (double)rounds[kRounds / 2] / kCalls;
}

static Absolute absolute_api, other_api;

static void call_labs(void) { absolute_api(-1); }
static void call_abs(void) { other_api(-1); }
static void call_getppid(void) { syscall(SYS_getppid); }
static void call_open(void) {
  if (open("/nonexistent", O_RDONLY) >= 0) abort();
}

/// Code of a content that has never run, a page each.
static double new_pages(void) {
  enum { kPages = 500 };
  unsigned char *code = mmap(NULL, kPages * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint32_t i = 0; i < kPages; ++i) {
    // mov eax, i; ret
    code[i * PAGE] = 0xb8;
    memcpy(code + i * PAGE + 1, &i, sizeof i);
    code[i * PAGE + 5] = 0xc3;
  }
  const uint64_t begin = now();
  for (int i = 0; i < kPages; ++i) ((long (*)(void))(code + i * PAGE))();
  return (double)(now() - begin) / kPages / 1000;
}

/// The longest stops of a loop that does nothing, in milliseconds.
static void stops(unsigned seconds) {
  uint64_t longest[5] = {0}, last = now();
  const uint64_t end = last + seconds * 1000000000ull;
  while (last < end) {
    const uint64_t time = now(), stop = time - last;
    last = time;
    if (stop <= longest[0]) continue;
    longest[0] = stop;
    qsort(longest, 5, sizeof longest[0], by_size);
  }
  printf("longest stops in %u s: ", seconds);
  for (int i = 4; i >= 0; --i) printf(" %.1f", (double)longest[i] / 1e6);
  printf(" ms\n");
}

static void processor(void) {
  unsigned a, b, c, d, brand[13] = {0}, signature[4] = {0};
  __cpuid(1, a, b, c, d);
  const unsigned hypervisor = c >> 31;
  for (unsigned i = 0; i < 3; ++i)
    __cpuid(0x80000002 + i, brand[i * 4], brand[i * 4 + 1], brand[i * 4 + 2], brand[i * 4 + 3]);
  __cpuid(0x40000000, a, signature[0], signature[1], signature[2]);
  printf("processor: \"%s\", hypervisor bit %u, signature \"%s\"\n", (char *)brand, hypervisor,
         (char *)signature);
}

int main(int count, char **arguments) {
  const unsigned seconds = count > 1 ? (unsigned)atoi(arguments[1]) : 3;
  absolute_api = (Absolute)dlsym(RTLD_DEFAULT, "labs");
  other_api = (Absolute)dlsym(RTLD_DEFAULT, "abs");
  processor();
  const double hooked = cost(call_labs), other = cost(call_abs);
  printf("labs %.0f ns, abs %.0f ns, ratio %.2f\n", hooked, other, hooked / other);
  printf("getppid %.0f ns, open %.0f ns\n", cost(call_getppid), cost(call_open));
  printf("first run of a page %.1f us\n", new_pages());
  stops(seconds);
  return 0;
}
