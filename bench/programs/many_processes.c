// many_processes ALIVE TOTAL: TOTAL children, ALIVE of them at the same time.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

// So many children live until the last one has been made. How many of them failed.
static long wave(long alive) {
  int ends[2];
  char byte;
  if (pipe(ends) != 0) abort();
  for (long i = 0; i < alive; ++i) {
    const pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
      close(ends[1]);
      _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);  // until the parent has closed its end
    }
  }
  close(ends[1]);
  long wrong = 0;
  for (int status; wait(&status) > 0;) wrong += status != 0;
  close(ends[0]);
  return wrong;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const long alive = atol(argv[1]), total = atol(argv[2]);
  for (long done = 0; done < total; done += alive)
    if (wave(alive) != 0) return 1;
  return 0;
}
