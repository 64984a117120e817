// direct_call: opens a file by ntdll's NtOpenFile, then by a copy of that function's few instructions
// in memory of its own, which enter the system call dispatcher without ntdll. Says for each: the way
// and the NTSTATUS, tab-separated.
#include <stdio.h>
#include <string.h>

#include <windows.h>
#include <winternl.h>

typedef NTSTATUS(NTAPI *OpenNtFile)(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *,
                                  ULONG, ULONG);
// mov r10, rcx; mov eax, NUMBER; the way into the system; ret
enum { kStubSize = 32 };

static void call(const char *way, void *function) {
  wchar_t text[] = L"\\??\\C:\\windows\\system32\\cmd.exe";
  UNICODE_STRING name = {sizeof text - 2, sizeof text, text};
  OBJECT_ATTRIBUTES attributes;
  IO_STATUS_BLOCK io;
  HANDLE file = NULL;
  InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
  const NTSTATUS status = ((OpenNtFile)function)(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &io,
                                               FILE_SHARE_READ, FILE_SYNCHRONOUS_IO_NONALERT);
  printf("%s\t%lx\n", way, (unsigned long)status);
  fflush(stdout);
  if (file != NULL) CloseHandle(file);
}

int main(void) {
  const void *function = (void *)GetProcAddress(GetModuleHandleA("ntdll.dll"), "NtOpenFile");
  void *stub = VirtualAlloc(NULL, kStubSize, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
  if (function == NULL || stub == NULL) return 1;
  memcpy(stub, function, kStubSize);
  call("ntdll", (void *)function);
  call("direct", stub);
  return 0;
}
