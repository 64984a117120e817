// poison WAY: before anybody runs the library's code, code of the same content is run where it
// means something else. What is learnt of a page must not be taken for another page of that
// content.
#include "adversary.h"

typedef uint32_t (*Swap)(uint32_t);

/// The page of the file on which `htonl` lies, without ever having run it.
static void read_page(const struct Text *libc, const void *function, unsigned char *out) {
  const size_t in_text = (size_t)(page_of(function) - libc->start);
  const int fd = open(libc->path, O_RDONLY);
  if (pread(fd, out, PAGE, (off_t)(libc->offset + in_text)) != (ssize_t)PAGE) abort();
  close(fd);
}

int main(int count, char **arguments) {
  const char *way = count > 1 ? arguments[1] : "none";
  const struct Text libc = libc_text();
  Swap swap = (Swap)dlsym(RTLD_DEFAULT, "htonl");
  const size_t offset = (size_t)((unsigned char *)swap - page_of(swap));
  unsigned char *page = NULL;
  verdict("way", "%s", way);
  if (strcmp(way, "anonymous") == 0) {
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    read_page(&libc, (void *)swap, page);
  } else if (strcmp(way, "file") == 0) {
    unsigned char content[PAGE];
    read_page(&libc, (void *)swap, content);
    const int fd = open("other_file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (write(fd, content, PAGE) != (ssize_t)PAGE) abort();
    page = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  } else if (strcmp(way, "other_module") == 0) {
    // Over a page of a module that has hooks elsewhere, or none.
    struct Text all[16];
    const int n = texts(all, 16);
    for (int i = 0; i < n; ++i)
      if (strstr(all[i].name, "poison")) page = all[i].start;
    static unsigned char content[PAGE];
    read_page(&libc, (void *)swap, content);
    // The last page of a mapping of this program: not the one that runs.
    const int fd = open("/proc/self/exe", O_RDONLY);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0);
    memcpy(page, content, PAGE);
  }
  if (page) verdict("elsewhere", "%u", ((Swap)(page + offset))(1));
  verdict("library", "%u", swap(2));
  verdict("end", "%d", 0);
  return 0;
}
