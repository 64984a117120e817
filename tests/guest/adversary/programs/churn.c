// churn LIBRARY COPIES: makes physical pages look like those of a just-in-time compiler, gives them
// back, and has new libraries read into them.
#include "adversary.h"

#define PAGES 1000
#define REWRITES 70

int main(int count, char **arguments) {
  if (count < 3) return 2;
  const int copies = atoi(arguments[2]);
  unsigned char *code = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  long sum = 0;
  for (uint32_t i = 0; i < REWRITES; ++i)
    for (int p = 0; p < PAGES; ++p) {
      // mov eax, i; ret
      const unsigned char number[] = {0xb8, (unsigned char)i, 0, 0, 0, 0xc3};
      memcpy(code + p * PAGE, number, sizeof number);
      sum += ((long (*)(void))(code + p * PAGE))();
    }
  verdict("rewritten", "%ld", sum);
  static unsigned char library[64 * 1024];
  int fd = open(arguments[1], O_RDONLY);
  const ssize_t size = read(fd, library, sizeof library);
  close(fd);
  munmap(code, PAGES * PAGE);
  int (*calls[64])(int);
  for (int i = 0; i < copies && i < 64; ++i) {
    char path[64];
    snprintf(path, sizeof path, "./libchurn%d.so", i);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (write(fd, library, (size_t)size) != size) abort();
    close(fd);
    calls[i] = (int (*)(int))dlsym(dlopen(path, RTLD_NOW), "churn_call");
    if (calls[i](i) != i + 1) abort();
  }
  verdict("libraries", "%d", copies);
  // Longer than a page has to rest.
  usleep(3000000);
  for (int i = 0; i < copies && i < 64; ++i)
    if (calls[i](1000 + i) != 1001 + i) abort();
  verdict("end", "%d", 0);
  return 0;
}
