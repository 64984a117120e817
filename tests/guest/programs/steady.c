// Calls steady_call() and the kernel for ever, in THREADS threads, each with numbers of its own
// that go up by THREADS; says now and then that it is alive: steady THREADS
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

long steady_call(long number, int (*wait)(unsigned));

static int threads;

static void *work(void *first) {
  for (long number = (long)first;; number += threads) {
    if (steady_call(number, usleep) != number * 3) abort();
    if (syscall(SYS_umask, 022 + number % 2) < 0) abort();
    if ((long)first == 0 && number / threads % 50 == 0) {
      printf("alive %ld\n", number);
      fflush(stdout);
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  threads = argc > 1 ? atoi(argv[1]) : 1;
  for (long i = 1; i < threads; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, (void *)i) != 0) return 1;
  }
  work((void *)0);
  return 0;
}
