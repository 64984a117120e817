// Calls getenv() a known number of times from threads of many processes, and prints
// how often: count_calls PROCESSES THREADS CALLS
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static long calls;

static void *work(void *unused) {
  (void)unused;
  for (long i = 0; i < calls; ++i)
    if (getenv("GLASSHOOK_NOT_SET") != NULL) abort();
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const int processes = atoi(argv[1]), threads = atoi(argv[2]);
  calls = atol(argv[3]);
  for (int p = 0; p < processes; ++p) {
    if (fork() != 0) continue;
    pthread_t ids[64];
    for (int t = 0; t < threads; ++t)
      if (pthread_create(&ids[t], NULL, work, NULL) != 0) _exit(3);
    for (int t = 0; t < threads; ++t) pthread_join(ids[t], NULL);
    _exit(0);
  }
  int bad = 0, status;
  while (wait(&status) > 0) bad |= status;
  printf("%ld\n", (long)processes * threads * calls);
  return bad != 0;
}
