// windows_calls COUNT [TIMES]: COUNT rounds of calls that name something of its own, some of which fail:
// CreateFileW, GetFileAttributesW, DeleteFileW, RegOpenKeyExW, one of each a round. With TIMES it does all that so
// many times, prints a line before and after each, and idles a while then: who reads the lines can tell what passed
// between them.
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

static const wchar_t kFile[] = L"peers-own.txt", kNoFile[] = L"peers-own-none.txt",
                     kNoKey[] = L"Software\\peers-own";

static void call(long count) {
  for (; count > 0; --count) {
    HKEY key;
    const HANDLE file = CreateFileW(kFile, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE || !CloseHandle(file)) abort();
    if (GetFileAttributesW(kFile) == INVALID_FILE_ATTRIBUTES) abort();
    if (DeleteFileW(kNoFile)) abort();
    if (RegOpenKeyExW(HKEY_CURRENT_USER, kNoKey, 0, KEY_READ, &key) == ERROR_SUCCESS) abort();
  }
}

static void mark(void) {
  puts("");
  fflush(stdout);
  Sleep(100);
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) return 2;
  const long count = atol(argv[1]);
  if (argc == 2) call(count);
  for (long i = argc == 3 ? atol(argv[2]) : 0; i > 0; --i) {
    mark();
    call(count);
    mark();
  }
  return 0;
}
