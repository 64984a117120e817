// inject: puts code into children of its own by several ways, and says what it did, a line each,
// tab-separated: the way, the child's Win32 process id, the address of the memory, its bytes, where
// the child begins to run, and how the child ended. What is put there ends the child with status 77.
// As "inject wait" it is such a child: it waits alertably, and would end with status 1.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>
#include <winternl.h>

typedef NTSTATUS(NTAPI *CreateSection)(HANDLE *, ACCESS_MASK, void *, LARGE_INTEGER *, ULONG, ULONG,
                                       HANDLE);
typedef NTSTATUS(NTAPI *MapView)(HANDLE, HANDLE, void **, ULONG_PTR, SIZE_T, LARGE_INTEGER *,
                                 SIZE_T *, DWORD, ULONG, ULONG);

static char library[MAX_PATH];
static PROCESS_INFORMATION child;
static unsigned char code[] = {
    0x48, 0x83, 0xe4, 0xf0,                    // and rsp, -16
    0x48, 0x83, 0xec, 0x20,                    // sub rsp, 32
    0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff,  // mov rcx, -1
    0xba, 77,   0,    0,    0,                 // mov edx, 77
    0x48, 0xb8, 0,    0,    0,    0,    0, 0, 0, 0,  // mov rax, NtTerminateProcess
    0xff, 0xd0,                                      // call rax
};
enum { kFunctionAt = 22 };

static void *ntdll(const char *name) {
  return (void *)GetProcAddress(GetModuleHandleA("ntdll.dll"), name);
}

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

static void start_child(DWORD flags) {
  static char self[MAX_PATH];
  char line[MAX_PATH + 10];
  STARTUPINFOA startup = {.cb = sizeof startup};
  GetModuleFileNameA(NULL, self, MAX_PATH);
  snprintf(line, sizeof line, "\"%s\" wait", self);
  need(CreateProcessA(NULL, line, NULL, NULL, FALSE, flags, NULL, NULL, &startup, &child),
       "CreateProcess");
  if (flags == 0) Sleep(1500);  // until it waits
}

static void finish(const char *way, const void *memory, size_t bytes, const void *start) {
  DWORD status = 0;
  need(WaitForSingleObject(child.hProcess, 20000) == WAIT_OBJECT_0, "the child did not end");
  GetExitCodeProcess(child.hProcess, &status);
  printf("%s\t%lu\t%llx\t%zu\t%llx\t%lu\n", way, child.dwProcessId, (unsigned long long)memory, bytes,
         (unsigned long long)start, status);
  fflush(stdout);
  CloseHandle(child.hThread);
  CloseHandle(child.hProcess);
}

static void *put(const void *bytes, size_t size) {
  DWORD old;
  SIZE_T written = 0;
  void *memory =
      VirtualAllocEx(child.hProcess, NULL, 4096, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
  need(memory != NULL, "VirtualAllocEx");
  need(WriteProcessMemory(child.hProcess, memory, bytes, size, &written) && written == size,
       "WriteProcessMemory");
  need(VirtualProtectEx(child.hProcess, memory, 4096, PAGE_EXECUTE_READ, &old), "VirtualProtectEx");
  return memory;
}

static void run_thread(const void *start, void *argument) {
  HANDLE thread = CreateRemoteThread(child.hProcess, NULL, 0, (LPTHREAD_START_ROUTINE)start, argument,
                                     0, NULL);
  need(thread != NULL, "CreateRemoteThread");
  WaitForSingleObject(thread, 10000);
  CloseHandle(thread);
}

static void by_thread(void) {
  start_child(0);
  void *memory = put(code, sizeof code);
  run_thread(memory, NULL);
  finish("thread", memory, sizeof code, memory);
}

static void by_library(void) {
  start_child(0);
  void *memory = put(library, strlen(library) + 1);
  run_thread((void *)LoadLibraryA, memory);
  finish("library", memory, strlen(library) + 1, (void *)LoadLibraryA);
}

static void by_apc(void) {
  start_child(0);
  HANDLE process = OpenProcess(PROCESS_VM_OPERATION | PROCESS_VM_WRITE, FALSE, child.dwProcessId);
  need(process != NULL, "OpenProcess");
  CloseHandle(process);
  void *memory = put(code, sizeof code);
  need(QueueUserAPC((PAPCFUNC)memory, child.hThread, 0), "QueueUserAPC");
  finish("apc", memory, sizeof code, memory);
}

static void set_start(HANDLE thread, void *start, int is_new) {
  CONTEXT context = {.ContextFlags = CONTEXT_FULL};
  need(GetThreadContext(thread, &context), "GetThreadContext");
  // What has not run yet is begun by ntdll, with the address in rcx.
  *(is_new ? &context.Rcx : &context.Rip) = (ULONG_PTR)start;
  need(SetThreadContext(thread, &context), "SetThreadContext");
}

static void by_hollowing(void) {
  start_child(CREATE_SUSPENDED);
  void *memory = put(code, sizeof code);
  set_start(child.hThread, memory, 1);
  need(ResumeThread(child.hThread) == 1, "ResumeThread");
  finish("hollowing", memory, sizeof code, memory);
}

static void by_hijacking(void) {
  start_child(0);
  HANDLE thread = OpenThread(THREAD_ALL_ACCESS, FALSE, child.dwThreadId);
  need(thread != NULL, "OpenThread");
  void *memory = put(code, sizeof code);
  need(SuspendThread(thread) == 0, "SuspendThread");
  set_start(thread, memory, 0);
  need(ResumeThread(thread) == 1, "ResumeThread");
  CloseHandle(thread);
  finish("hijacking", memory, sizeof code, memory);
}

static void by_section(void) {
  start_child(0);
  HANDLE section = NULL;
  LARGE_INTEGER size = {.QuadPart = 4096};
  void *here = NULL, *there = NULL;
  SIZE_T view = 0;
  const MapView map = ntdll("NtMapViewOfSection");
  const CreateSection create = ntdll("NtCreateSection");
  need(create(&section, SECTION_ALL_ACCESS, NULL, &size, PAGE_EXECUTE_READWRITE, SEC_COMMIT, NULL) == 0,
       "NtCreateSection");
  need(map(section, GetCurrentProcess(), &here, 0, 0, NULL, &view, 1, 0, PAGE_READWRITE) == 0, "map");
  memcpy(here, code, sizeof code);
  view = 0;
  need(map(section, child.hProcess, &there, 0, 0, NULL, &view, 1, 0, PAGE_EXECUTE_READ) == 0, "map");
  CloseHandle(section);
  run_thread(there, NULL);
  finish("section", there, view, there);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "wait") == 0) {
    for (int i = 0; i < 200; ++i) SleepEx(100, TRUE);
    return 1;
  }
  void *end = ntdll("NtTerminateProcess");
  memcpy(code + kFunctionAt, &end, sizeof end);
  GetFullPathNameA("end_77.dll", MAX_PATH, library, NULL);
  printf("inject\t%lu\t%s\n", GetCurrentProcessId(), library);
  by_thread();
  by_library();
  by_apc();
  by_hollowing();
  by_hijacking();
  by_section();
  // One more, which it ends.
  start_child(0);
  need(TerminateProcess(child.hProcess, 9), "TerminateProcess");
  finish("terminated", NULL, 0, NULL);
  return 3;
}
