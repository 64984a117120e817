// The only program of a guest: waits for a sign in its memory, then makes one unusual system call.
// A child called "loiterer" goes on for ever.
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Written to from outside. In pieces, so that this text is in memory only once.
static volatile char sign[32];

static void work(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, 0, 0);
  usleep(100000);
}

int main(void) {
  strcpy((char *)sign, "waiting for ");
  strcat((char *)sign, "the sign: ");
  if (fork() == 0) {
    prctl(PR_SET_NAME, "loiterer");
    for (;;) work();
  }
  for (;;) {
    work();
    if (sign[0] == 'W') {
      syscall(SYS_kexec_load, 0, 0, 0, 0);
      sign[0] = 'd';
    }
  }
}
