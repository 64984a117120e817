// windows_calls COUNT: COUNT rounds of calls that name something of its own, some of which fail:
// CreateFileW, GetFileAttributesW, DeleteFileW, RegOpenKeyExW, one of each a round.
#include <stdlib.h>
#include <windows.h>

static const wchar_t kFile[] = L"peers-own.txt", kNoFile[] = L"peers-own-none.txt",
                     kNoKey[] = L"Software\\peers-own";

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  for (long i = atol(argv[1]); i > 0; --i) {
    HKEY key;
    const HANDLE file = CreateFileW(kFile, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE || !CloseHandle(file)) abort();
    if (GetFileAttributesW(kFile) == INVALID_FILE_ATTRIBUTES) abort();
    if (DeleteFileW(kNoFile)) abort();
    if (RegOpenKeyExW(HKEY_CURRENT_USER, kNoKey, 0, KEY_READ, &key) == ERROR_SUCCESS) abort();
  }
  return 0;
}
