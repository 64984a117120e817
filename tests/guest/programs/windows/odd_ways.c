// odd_ways: does things by functions that few programs use, and ends a thread inside a call. Says
// what it did, a line each, tab-separated; what this Windows refuses it says too ("refused").
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#include <windows.h>
#include <winternl.h>

LONG NTAPI NtDeleteFile(OBJECT_ATTRIBUTES *attributes);
LONG NTAPI NtRenameKey(HANDLE key, UNICODE_STRING *name);

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

/// An answer of an Nt function: says what was done, or that it was refused.
static void say(LONG status, const char *action, const char *path, const char *target) {
  if (status < 0)
    printf("refused\t%s\t%s\t%lx\n", action, path, (unsigned long)status);
  else
    printf("%s\t%s\t%s\n", action, path, target);
}

static HANDLE make(const char *path) {
  HANDLE file = CreateFileA(path, GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                            CREATE_ALWAYS, 0, NULL);
  need(file != INVALID_HANDLE_VALUE, path);
  return file;
}

static void delete_by_name(void) {
  OBJECT_ATTRIBUTES attributes = {.Length = sizeof attributes};
  UNICODE_STRING name;
  CloseHandle(make("C:\\by_name.txt"));
  RtlInitUnicodeString(&name, L"\\??\\C:\\by_name.txt");
  attributes.ObjectName = &name;
  say(NtDeleteFile(&attributes), "file_deleted", "C:\\by_name.txt", "");
}

static LONG set(HANDLE file, void *information, ULONG size, int class) {
  IO_STATUS_BLOCK block;
  return NtSetInformationFile(file, &block, information, size, (FILE_INFORMATION_CLASS)class);
}

static void delete_and_rename_by_extended_classes(void) {
  enum { kDispositionEx = 64, kRenameEx = 65 };
  ULONG delete_it = 1;
  HANDLE file = make("C:\\extended.txt");
  LONG status = set(file, &delete_it, sizeof delete_it, kDispositionEx);
  CloseHandle(file);
  say(status, "file_deleted", "C:\\extended.txt", "");

  struct {
    ULONG flags;
    HANDLE root;
    ULONG length;
    WCHAR name[40];
  } rename = {.flags = 1};
  wcscpy(rename.name, L"\\??\\C:\\extended_new.txt");
  rename.length = 2 * (ULONG)wcslen(rename.name);
  file = make("C:\\extended_old.txt");
  status = set(file, &rename, sizeof rename, kRenameEx);
  CloseHandle(file);
  say(status, "file_renamed", "C:\\extended_old.txt", "C:\\extended_new.txt");
}

static void rename_a_key(void) {
  HKEY key;
  need(RegCreateKeyA(HKEY_LOCAL_MACHINE, "Software\\OddOld", &key) == 0, "RegCreateKey");
  UNICODE_STRING name;
  RtlInitUnicodeString(&name, L"OddNew");
  say(NtRenameKey(key, &name), "registry_key_renamed", "HKLM\\Software\\OddOld",
      "HKLM\\Software\\OddNew");
  RegCloseKey(key);
}

static DWORD WINAPI wait_for_ever(void *event) { return WaitForSingleObject(event, INFINITE); }

/// Its call never returns; those that begin later must not be taken for it.
static void end_a_thread_in_a_call(void) {
  HANDLE event = CreateEventA(NULL, TRUE, FALSE, NULL);
  HANDLE thread = CreateThread(NULL, 0, wait_for_ever, event, 0, NULL);
  Sleep(300);
  need(TerminateThread(thread, 77), "TerminateThread");
  need(WaitForSingleObject(thread, 5000) == WAIT_OBJECT_0, "WaitForSingleObject");
  DWORD status = 0;
  GetExitCodeThread(thread, &status);
  need(status == 77, "the status of the thread");
  printf("wait\t2\n");  // one without an end, one with
}

int main(void) {
  delete_by_name();
  delete_and_rename_by_extended_classes();
  rename_a_key();
  end_a_thread_in_a_call();
  return 0;
}
