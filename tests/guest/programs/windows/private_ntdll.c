// private_ntdll: calls NtOpenFile of ntdll where the loader has put it, and of copies that it makes of
// ntdll: bytes in anonymous memory, the image mapped once more, the file mapped as it is. Says for
// each: the way, the address of the function, and the NTSTATUS, tab-separated.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>
#include <winternl.h>

typedef NTSTATUS(NTAPI *OpenNtFile)(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *,
                                  ULONG, ULONG);
typedef NTSTATUS(NTAPI *MapView)(HANDLE, HANDLE, void **, ULONG_PTR, SIZE_T, LARGE_INTEGER *,
                                 SIZE_T *, DWORD, ULONG, ULONG);

static const char kFile[] = "C:\\windows\\system32\\ntdll.dll";

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

static void call(const char *way, void *function) {
  wchar_t text[] = L"\\??\\C:\\windows\\system32\\cmd.exe";
  UNICODE_STRING name = {sizeof text - 2, sizeof text, text};
  OBJECT_ATTRIBUTES attributes;
  IO_STATUS_BLOCK io;
  HANDLE file = NULL;
  InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
  const NTSTATUS status = ((OpenNtFile)function)(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &io,
                                               FILE_SHARE_READ, FILE_SYNCHRONOUS_IO_NONALERT);
  printf("%s\t%llx\t%lx\n", way, (unsigned long long)function, (unsigned long)status);
  fflush(stdout);
  if (file != NULL) CloseHandle(file);
}

int main(void) {
  char *loaded = (char *)GetModuleHandleA("ntdll.dll");
  const IMAGE_NT_HEADERS *headers =
      (IMAGE_NT_HEADERS *)(loaded + ((IMAGE_DOS_HEADER *)loaded)->e_lfanew);
  const size_t rva = (char *)GetProcAddress((HMODULE)loaded, "NtOpenFile") - loaded;
  call("loaded", loaded + rva);

  // Only the code: other sections hold state.
  const IMAGE_SECTION_HEADER *text = IMAGE_FIRST_SECTION(headers);
  char *copy = VirtualAlloc(NULL, headers->OptionalHeader.SizeOfImage, MEM_COMMIT | MEM_RESERVE,
                            PAGE_EXECUTE_READWRITE);
  need(copy != NULL, "VirtualAlloc");
  memcpy(copy + text->VirtualAddress, loaded + text->VirtualAddress, text->Misc.VirtualSize);
  call("copied", copy + rva);

  HANDLE file = CreateFileA(kFile, GENERIC_READ | GENERIC_EXECUTE, FILE_SHARE_READ, NULL,
                            OPEN_EXISTING, 0, NULL);
  need(file != INVALID_HANDLE_VALUE, "CreateFile");
  HANDLE image = CreateFileMappingA(file, NULL, PAGE_EXECUTE_READ | SEC_IMAGE, 0, 0, NULL);
  need(image != NULL, "CreateFileMapping of the image");
  const MapView map = (MapView)(void *)GetProcAddress((HMODULE)loaded, "NtMapViewOfSection");
  void *base = NULL;
  SIZE_T size = 0;
  const NTSTATUS status =
      map(image, GetCurrentProcess(), &base, 0, 0, NULL, &size, 1, 0, PAGE_EXECUTE_READ);
  need(status >= 0 && base != loaded, "NtMapViewOfSection");
  call("image", (char *)base + rva);

  HANDLE flat = CreateFileMappingA(file, NULL, PAGE_EXECUTE_READ, 0, 0, NULL);
  need(flat != NULL, "CreateFileMapping of the file");
  base = MapViewOfFile(flat, FILE_MAP_READ | FILE_MAP_EXECUTE, 0, 0, 0);
  need(base != NULL, "MapViewOfFile");
  call("file", (char *)base + rva - text->VirtualAddress + text->PointerToRawData);
  return 0;
}
