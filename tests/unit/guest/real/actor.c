// Processes of known shape for the recorded guest: each role sets something up, then sleeps.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void *wait_forever(void *name) {
  prctl(PR_SET_NAME, name);
  for (;;) pause();
  return NULL;
}

static void threads(void) {
  static char *names[] = {"worker one", "worker\ttwo", "worker-three"};
  for (int i = 0; i < 3; ++i) {
    pthread_t thread;
    pthread_create(&thread, NULL, wait_forever, names[i]);
  }
}

/// Three thousand areas that cannot be merged, so that the tree of areas has three levels.
static void maps(void) {
  for (int i = 0; i < 3000; ++i) {
    void *at = mmap(NULL, 8192, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (i % 2 == 0) *(volatile char *)at = 1;
  }
  mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = memfd_create("payload", 0);
  if (ftruncate(fd, 8192) == 0)
    *(volatile char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, fd, 0) = 1;
  fd = open("/data/gone", O_RDWR | O_CREAT, 0600);
  if (ftruncate(fd, 16384) == 0)
    *(volatile char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096) = 1;
  unlink("/data/gone");
}

static void unix_socket(const char *name, size_t length) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, name, length);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t) + length);
  listen(fd, 1);
}

static void sockets(void) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  bind(server, (struct sockaddr *)&here, sizeof here);
  listen(server, 4);
  connect(client, (struct sockaddr *)&here, sizeof here);
  accept(server, NULL, NULL);
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(5353)};
  six.sin6_addr = in6addr_loopback;
  bind(socket(AF_INET6, SOCK_DGRAM, 0), (struct sockaddr *)&six, sizeof six);
  unix_socket("/data/control", sizeof "/data/control");
  unix_socket("\0abstract", sizeof "\0abstract" - 1);
  int pair[2];
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
}

static void files(void) {
  int ends[2];
  if (pipe(ends) != 0) exit(1);
  open("/data/file", O_RDWR | O_CREAT | O_APPEND, 0644);
  open("/data/removed", O_WRONLY | O_CREAT, 0644);
  unlink("/data/removed");
  open("/data/new\nline \xff", O_RDONLY | O_CREAT, 0644);
  open("/data", O_PATH);
  open("/proc/self/status", O_RDONLY);
  eventfd(0, 0);
  epoll_create1(0);
  inotify_init();
  memfd_create("hidden", 0);
  sockets();
  dup2(ends[0], 200);
}

int main(int argc, char **argv) {
  const char *role = argc > 1 ? argv[1] : "";
  if (strcmp(role, "threads") == 0) threads();
  if (strcmp(role, "maps") == 0) maps();
  if (strcmp(role, "files") == 0) files();
  if (strcmp(role, "user") == 0 && (setresgid(100, 100, 100) || setresuid(1000, 1001, 1002)))
    return 1;
  if (strcmp(role, "jail") == 0) {
    if (chroot("/data/jail") != 0 || chdir("/inner") != 0) return 1;
    open("/actor", O_RDONLY);
  }
  for (;;) pause();
}
