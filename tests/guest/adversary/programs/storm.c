// storm ROUNDS: processes, threads, and processors that come and go, while hooks change.
#include <sys/stat.h>

#include "adversary.h"

static void *work(void *good) {
  char text[32];
  for (int i = 0; i < 20; ++i) {
    snprintf(text, sizeof text, "/nonexistent/%d", i);
    if (open(text, O_RDONLY) >= 0 || errno != ENOENT) return NULL;
    char *copy = strdup(text);
    if (strcmp(copy, text) != 0) return NULL;
    free(copy);
  }
  __atomic_add_fetch((int *)good, 1, __ATOMIC_RELAXED);
  return NULL;
}

static int child(void) {
  pthread_t threads[3];
  int good = 0;
  for (int i = 0; i < 3; ++i) pthread_create(&threads[i], NULL, work, &good);
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  return good == 3 ? 42 : 1;
}

static int second_processor(const char *state) {
  const int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY);
  const int done = fd >= 0 && write(fd, state, 1) == 1;
  if (fd >= 0) close(fd);
  return done;
}

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "child") == 0) return child();
  const int rounds = count > 1 ? atoi(arguments[1]) : 10;
  int executed = 0, forked = 0, offline = 0, online = 0, changed = 0;
  const struct Text libc = libc_text();
  const uint64_t before = checksum(CHECKSUM_START, libc.start, libc.size);
  verdict("begins", "%d rounds", rounds);
  for (int i = 0; i < rounds; ++i) {
    if (i % 10 == 0) offline += second_processor("0");
    if (i % 10 == 5) online += second_processor("1");
    pid_t children[4];
    for (int c = 0; c < 4; ++c) {
      children[c] = fork();
      if (children[c] != 0) continue;
      if (c & 1) _exit(child());
      execl("/proc/self/exe", "storm", "child", NULL);
      _exit(1);
    }
    for (int c = 0; c < 4; ++c) {
      int status = 0;
      waitpid(children[c], &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 42) ++*(c & 1 ? &forked : &executed);
    }
    changed += checksum(CHECKSUM_START, libc.start, libc.size) != before;
    if (i % 10 == 9) fprintf(stderr, "round %d\n", i);
  }
  verdict("children that did their work", "%d executed %d forked", executed, forked);
  verdict("second processor", "%d times off %d times on", offline, online);
  verdict("code changed", "%d times", changed);
  return 0;
}
