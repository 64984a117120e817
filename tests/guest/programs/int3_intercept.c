// Preloaded into the QEMU that emulates AMD's virtualisation. That QEMU checks a guest's INT3 against
// the intercept of software interrupts (exit code 0x75) instead of that of exception 3 (0x43), so a
// breakpoint instruction would never be seen by KVM. This corrects the one constant, when it is
// found exactly once.
#define _GNU_SOURCE
#include <link.h>
#include <string.h>
#include <sys/mman.h>

/// xor edx,edx; mov esi,0x75; call cpu_svm_check_intercept_param
static const unsigned char kCheck[] = {0x31, 0xd2, 0xbe, 0x75, 0, 0, 0, 0xe8};

static int correct(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  unsigned char *found = NULL;
  int count = 0;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    unsigned char *code = (unsigned char *)(object->dlpi_addr + part->p_vaddr);
    for (size_t at = 0; at + sizeof kCheck < part->p_memsz; ++at)
      if (memcmp(code + at, kCheck, sizeof kCheck) == 0) found = code + at, ++count;
  }
  if (count == 1) {
    unsigned char *page = (unsigned char *)((unsigned long)found & ~4095ul);
    mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
    found[3] = 0x43;
    mprotect(page, 8192, PROT_READ | PROT_EXEC);
  }
  return 1;  // the first object is the program itself
}

__attribute__((constructor)) static void begin(void) { dl_iterate_phdr(correct, NULL); }
