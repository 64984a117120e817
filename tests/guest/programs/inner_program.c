// inner_program [COUNT]: a program with shared libraries, for a guest inside a guest. Without COUNT it
// waits forever. Else it calls the same functions
// of the C library COUNT times, then loads a library and calls its function COUNT times;
// then it changes a byte of the C library's code for itself, and calls COUNT times more. Its status
// says whether all calls did what they do unwatched.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kPage = 4096 };

static int wrong;

/// Each begins with another kind of instruction.
static void call_the_c_library(long count) {
  for (long i = 0; i < count; ++i) {
    const int fd = open("/init", O_RDONLY);
    char magic[4] = "";
    wrong += fd < 0 || read(fd, magic, sizeof magic) != sizeof magic || magic[1] != 'E';
    wrong += close(fd) != 0;
    errno = 0;
    wrong += socket(99, SOCK_STREAM, 0) != -1 || errno != EAFNOSUPPORT;
    errno = 0;
    wrong += mkdir("/made", 0700) != -1 || errno != EEXIST;
  }
}

static void call_the_library(long count) {
  void *library = dlopen("/libinner.so", RTLD_NOW);
  int (*work)(int) = library == NULL ? NULL : (int (*)(int))dlsym(library, "inner_work");
  if (work == NULL) {
    ++wrong;
    return;
  }
  // Time to notice it.
  usleep(500000);
  for (long i = 0; i < count; ++i) wrong += work((int)i) != 3 * (int)i;
}

/// Writes what is there already: the page is the program's own from then on.
static void change_the_c_library(void) {
  unsigned char *code = (unsigned char *)((uintptr_t)dlsym(RTLD_DEFAULT, "open") & ~(uintptr_t)(kPage - 1));
  if (mprotect(code, kPage, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) ++wrong;
  *(volatile unsigned char *)code = *(volatile unsigned char *)code;
}

int main(int argc, char **argv) {
  if (argc != 2) return pause();
  const long count = atol(argv[1]);
  call_the_c_library(count);
  call_the_library(count);
  change_the_c_library();
  call_the_c_library(count);
  return wrong != 0;
}
