// churn WAY LIBRARY COPIES: uses physical pages for code, gives them back, and has new libraries
// written into them. The code is that of a just-in-time compiler (`rewrite`), or the library's own
// (`same`).
#include "adversary.h"

#define PAGES 1000
#define REWRITES 70

static unsigned char library[64 * 1024];
static ssize_t library_size;

static long rewrite(unsigned char *code) {
  long sum = 0;
  for (uint32_t i = 0; i < REWRITES; ++i)
    for (int p = 0; p < PAGES; ++p) {
      // mov eax, i; ret
      const unsigned char number[] = {0xb8, (unsigned char)i, 0, 0, 0, 0xc3};
      memcpy(code + p * PAGE, number, sizeof number);
      sum += ((long (*)(void))(code + p * PAGE))();
    }
  return sum;
}

/// Runs the library's function on every page, without the library.
static long run_copies(unsigned char *code, const char *path) {
  void *handle = dlopen(path, RTLD_NOW);
  unsigned char *function = dlsym(handle, "churn_call");
  struct link_map *map;
  dlinfo(handle, RTLD_DI_LINKMAP, &map);
  // Its code is at the same place in the file as in memory: one page, which has not run.
  const size_t offset = (size_t)(function - (unsigned char *)map->l_addr);
  long sum = 0;
  for (int p = 0; p < PAGES; ++p) {
    memcpy(code + p * PAGE, library + (offset & ~(PAGE - 1)), PAGE);
    sum += ((int (*)(int))(code + p * PAGE + offset % PAGE))(p);
  }
  return sum;
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  const int copies = atoi(arguments[3]);
  unsigned char *code = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = open(arguments[2], O_RDONLY);
  library_size = read(fd, library, sizeof library);
  close(fd);
  const int same = strcmp(arguments[1], "same") == 0;
  verdict("code", "%ld", same ? run_copies(code, arguments[2]) : rewrite(code));
  munmap(code, PAGES * PAGE);
  int (*calls[64])(int);
  for (int i = 0; i < copies && i < 64; ++i) {
    char path[64];
    snprintf(path, sizeof path, "./libchurn%d.so", i);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (write(fd, library, (size_t)library_size) != library_size) abort();
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
