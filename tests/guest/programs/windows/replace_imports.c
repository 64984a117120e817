// Replaces imports of this program: once by a function of its own, once by memory of nobody. Then
// does ordinary things until it has been seen.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

static DWORD WINAPI own_version(void) { return 42; }

// The slot that the loader filled with an address.
static void **slot_of(const char *module, const char *name) {
  char *base = (char *)GetModuleHandleA(NULL);
  IMAGE_NT_HEADERS *nt = (IMAGE_NT_HEADERS *)(base + ((IMAGE_DOS_HEADER *)base)->e_lfanew);
  IMAGE_DATA_DIRECTORY *directory =
      &nt->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
  IMAGE_IMPORT_DESCRIPTOR *from = (IMAGE_IMPORT_DESCRIPTOR *)(base + directory->VirtualAddress);
  for (; from->Name; ++from) {
    if (_stricmp(base + from->Name, module)) continue;
    uint64_t *lookup = (uint64_t *)(base + from->OriginalFirstThunk);
    void **slot = (void **)(base + from->FirstThunk);
    for (; *lookup; ++lookup, ++slot)
      if (!(*lookup >> 63) && !strcmp(base + *lookup + 2, name)) return slot;
  }
  return NULL;
}

static void replace(const char *module, const char *name, void *by) {
  void **slot = slot_of(module, name);
  DWORD before;
  if (!slot) ExitProcess(3);
  VirtualProtect(slot, sizeof *slot, PAGE_READWRITE, &before);
  *slot = by;
  VirtualProtect(slot, sizeof *slot, before, &before);
  printf("%s!%s\t%p\t%p\n", module, name, (void *)slot, by);
}

int main(void) {
  // mov $7, %eax; ret
  static const unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};
  void *nobody =
      VirtualAlloc(NULL, 4096, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
  memcpy(nobody, code, sizeof code);
  printf("base\t%p\n", (void *)GetModuleHandleA(NULL));
  replace("kernel32.dll", "GetVersion", (void *)own_version);
  replace("kernel32.dll", "GetTickCount", nobody);
  printf("called\t%lu\t%lu\n", GetVersion(), GetTickCount());
  fflush(stdout);
  for (int i = 0; i < 100; ++i) {
    HANDLE file = CreateFileA("C:\\nothing", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    Sleep(100);
  }
  return 0;
}
