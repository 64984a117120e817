// Opens one of two files by a name that another thread changes all the time, and counts by what it
// got which one it was.
#include "adversary.h"

static char path[16] = "./race_a";
static volatile int stop;

static void *change(void *unused) {
  while (!stop) {
    __atomic_store_n(&path[7], 'b', __ATOMIC_SEQ_CST);
    __atomic_store_n(&path[7], 'a', __ATOMIC_SEQ_CST);
  }
  return unused;
}

static ino_t make(const char *name) {
  struct stat status;
  const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  fstat(fd, &status);
  close(fd);
  return status.st_ino;
}

int main(void) {
  const ino_t a = make("race_a"), b = make("race_b");
  pthread_t thread;
  int opened_a = 0, opened_b = 0;
  pthread_create(&thread, NULL, change, NULL);
  for (int i = 0; i < 2000; ++i) {
    struct stat status;
    const int fd = open(path, O_RDONLY | O_NOATIME);
    fstat(fd, &status);
    opened_a += status.st_ino == a;
    opened_b += status.st_ino == b;
    close(fd);
  }
  stop = 1;
  pthread_join(thread, NULL);
  verdict("a", "%d", opened_a);
  verdict("b", "%d", opened_b);
  verdict("all", "%d", opened_a + opened_b);
  return 0;
}
