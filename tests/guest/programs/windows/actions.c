// actions: does things to files, the registry and processes, and says on its standard output what it
// did, a line each, tab-separated: the truth that observers are held to. Ends with status 0 when all
// of it worked. As "actions child" it is the process that it starts: it ends with status 42.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static char work[MAX_PATH];  // the directory it works in
static const char kKey[] = "Software\\Glasshook Actions";

static void did(const char* format, ...) {
  va_list list;
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  putchar('\n');
}

static void need(int ok, const char* what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

static const char* in_work(const char* name) {
  static char paths[4][MAX_PATH];
  static int next;
  char* path = paths[next++ % 4];
  snprintf(path, MAX_PATH, "%s\\%s", work, name);
  return path;
}

static void write_file(const char* path, DWORD size) {
  HANDLE file = CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
  need(file != INVALID_HANDLE_VALUE, "CreateFileA");
  did("file_created\t%s", path);
  char* bytes = calloc(1, size);
  DWORD put = 0;
  need(WriteFile(file, bytes, size, &put, NULL) && put == size, "WriteFile");
  free(bytes);
  did("file_written\t%s\t%lu", path, put);
  CloseHandle(file);
}

static void read_file(const char* path) {
  HANDLE file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
  need(file != INVALID_HANDLE_VALUE, "CreateFileA");
  char bytes[512];
  DWORD got = 0, total = 0;
  while (ReadFile(file, bytes, sizeof bytes, &got, NULL) && got > 0) total += got;
  did("file_read\t%s\t%lu", path, total);
  CloseHandle(file);
}

static void use_files(void) {
  need(CreateDirectoryA(work, NULL), "CreateDirectoryA");
  did("directory_created\t%s", work);
  write_file(in_work("one.txt"), 1000);
  read_file(in_work("one.txt"));
  need(CopyFileA(in_work("one.txt"), in_work("two.txt"), TRUE), "CopyFileA");
  did("file_copied\t%s\t%s", in_work("one.txt"), in_work("two.txt"));
  need(MoveFileA(in_work("two.txt"), in_work("three.txt")), "MoveFileA");
  did("file_renamed\t%s\t%s", in_work("two.txt"), in_work("three.txt"));
  need(DeleteFileA(in_work("one.txt")), "DeleteFileA");
  did("file_deleted\t%s", in_work("one.txt"));
  const char* brief = in_work("brief.txt");
  HANDLE file = CreateFileA(brief, GENERIC_WRITE | DELETE, 0, NULL, CREATE_NEW,
                            FILE_FLAG_DELETE_ON_CLOSE, NULL);
  need(file != INVALID_HANDLE_VALUE, "CreateFileA");
  did("file_created\t%s", brief);
  CloseHandle(file);
  did("file_deleted\t%s", brief);
  need(DeleteFileA(in_work("three.txt")), "DeleteFileA");
  did("file_deleted\t%s", in_work("three.txt"));
  need(RemoveDirectoryA(work), "RemoveDirectoryA");
  did("directory_deleted\t%s", work);
}

static void use_registry(void) {
  HKEY key;
  need(RegCreateKeyExA(HKEY_CURRENT_USER, kKey, 0, NULL, 0, KEY_ALL_ACCESS, NULL, &key, NULL) == 0,
       "RegCreateKeyExA");
  did("key_created\tHKCU\\%s", kKey);
  const char* text = "C:\\evil.exe";
  need(RegSetValueExA(key, "Text", 0, REG_SZ, (const BYTE*)text, strlen(text) + 1) == 0,
       "RegSetValueExA");
  did("value_set\tHKCU\\%s\tText\tREG_SZ\t%s", kKey, text);
  const DWORD number = 0x1234;
  need(RegSetValueExA(key, "Number", 0, REG_DWORD, (const BYTE*)&number, sizeof number) == 0,
       "RegSetValueExA");
  did("value_set\tHKCU\\%s\tNumber\tREG_DWORD\t%lu", kKey, number);
  char back[64];
  DWORD size = sizeof back;
  need(RegQueryValueExA(key, "Text", NULL, NULL, (BYTE*)back, &size) == 0, "RegQueryValueExA");
  did("value_queried\tHKCU\\%s\tText\tREG_SZ\t%s", kKey, back);
  need(RegDeleteValueA(key, "Text") == 0, "RegDeleteValueA");
  did("value_deleted\tHKCU\\%s\tText", kKey);
  RegCloseKey(key);
  need(RegDeleteKeyA(HKEY_CURRENT_USER, kKey) == 0, "RegDeleteKeyA");
  did("key_deleted\tHKCU\\%s", kKey);
}

static void use_processes(void) {
  char self[MAX_PATH], command[MAX_PATH + 16];
  GetModuleFileNameA(NULL, self, sizeof self);
  snprintf(command, sizeof command, "\"%s\" child", self);
  STARTUPINFOA startup = {.cb = sizeof startup};
  PROCESS_INFORMATION child;
  need(CreateProcessA(self, command, NULL, NULL, FALSE, CREATE_SUSPENDED, NULL, NULL, &startup,
                      &child),
       "CreateProcessA");
  did("process_created\t%lu\t%s\t%s", child.dwProcessId, self, command);
  need(ResumeThread(child.hThread) == 1, "ResumeThread");
  WaitForSingleObject(child.hProcess, INFINITE);
  DWORD status = 0;
  need(GetExitCodeProcess(child.hProcess, &status), "GetExitCodeProcess");
  did("process_exited\t%lu\t%lu", child.dwProcessId, status);
  CloseHandle(child.hThread);
  CloseHandle(child.hProcess);
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return 42;
  GetCurrentDirectoryA(sizeof work - 16, work);
  strcat(work, "\\actions.tmp");
  use_files();
  use_registry();
  use_processes();
  return 0;
}
