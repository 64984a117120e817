// Works on /data of whatever root it runs in: in_container CALLS. Prints its process id, that of a
// child which executes this program again, and how often each called open().
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(9);
}

static void open_often(const char *path, int calls) {
  for (int i = 0; i < calls; ++i) {
    const int fd = open(path, O_RDONLY);
    must(fd >= 0, path);
    close(fd);
  }
}

int main(int argc, char **argv) {
  if (argc == 3) {  // the child
    open_often("/data/child", atoi(argv[1]));
    return 0;
  }
  const int calls = atoi(argv[1]);
  open_often("/data/marker", calls);
  const int fd = open("/data/made", O_WRONLY | O_CREAT, 0644);
  must(fd >= 0 && write(fd, "twelve bytes", 12) == 12, "made");
  close(fd);
  must(rename("/data/made", "/data/kept") == 0, "rename");
  must(mkdir("/data/dir", 0755) == 0, "mkdir");
  must(chmod("/data/marker", 0600) == 0, "chmod");
  must(unlink("/data/doomed") == 0, "unlink");
  must(symlink("kept", "/data/symlink") == 0, "symlink");

  const pid_t child = fork();
  if (child == 0) {
    execl("/app", "/app", argv[1], "child", (char *)NULL);
    _exit(8);
  }
  int status = 0;
  must(waitpid(child, &status, 0) == child && status == 0, "child");
  printf("%d %d %d\n", (int)getpid(), (int)child, calls);
  return 0;
}
