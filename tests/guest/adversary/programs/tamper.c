// tamper WAY: changes the code of its C library, or has it changed.
#include <sys/ptrace.h>

#include "adversary.h"

typedef long (*Absolute)(long);

static Absolute absolute_api;

static long replacement(long value) { return value + 1000; }

static void write_jump(unsigned char *at) {
  unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
  const uint64_t target = (uint64_t)replacement;
  memcpy(jump + 2, &target, 8);
  memcpy(at, jump, sizeof jump);
}

/// A child whose code this process changes.
static void change_other(void) {
  int go[2];
  char byte;
  if (pipe(go) != 0) abort();
  const pid_t pid = fork();
  if (pid == 0) {
    if (read(go[0], &byte, 1) != 1) _exit(1);
    _exit(absolute_api(-5) == 5 ? 0 : 1);
  }
  ptrace(PTRACE_ATTACH, pid, NULL, NULL);
  waitpid(pid, NULL, 0);
  // The alignment behind the function.
  unsigned char *behind = (unsigned char *)absolute_api + 15;
  const long word = ptrace(PTRACE_PEEKTEXT, pid, behind, NULL);
  ptrace(PTRACE_POKETEXT, pid, behind, (void *)(word ^ 1));
  ptrace(PTRACE_DETACH, pid, NULL, NULL);
  int status = 0;
  if (write(go[1], "x", 1) != 1) abort();
  waitpid(pid, &status, 0);
  verdict("other process", "pid %d status %d", pid, status);
}

int main(int count, char **arguments) {
  const char *way = count > 1 ? arguments[1] : "none";
  absolute_api = (Absolute)dlsym(RTLD_DEFAULT, "labs");
  verdict("pid", "%d", getpid());
  verdict("before", "%ld", absolute_api(-1));
  unsigned char *entry = (unsigned char *)absolute_api, before[12];
  memcpy(before, entry, sizeof before);
  if (strcmp(way, "own") == 0) {
    if (mprotect(page_of(entry), 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) abort();
    write_jump(entry);
  } else if (strcmp(way, "same") == 0) {
    // A private copy, but with the file's bytes.
    if (mprotect(page_of(entry), 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) abort();
    write_jump(entry);
    memcpy(entry, before, sizeof before);
  } else if (strcmp(way, "other") == 0) {
    change_other();
  }
  verdict("after", "%ld at %lx", absolute_api(-2), (unsigned long)entry);
  return 0;
}
