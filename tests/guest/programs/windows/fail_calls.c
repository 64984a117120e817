// Makes calls that fail, and prints what Windows says about each: "NAME ERROR", in decimal.
#include <stdio.h>
#include <windows.h>

typedef LONG(WINAPI *Close)(HANDLE);

int main(void) {
  CreateFileW(L"C:\\no such folder\\x", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
  printf("CreateFileW %lu\n", GetLastError());
  DeleteFileW(L"C:\\no such file");
  printf("DeleteFileW %lu\n", GetLastError());
  HKEY key;
  printf("RegOpenKeyExW %lu\n",
         RegOpenKeyExW(HKEY_LOCAL_MACHINE, L"Software\\No such key", 0, KEY_READ, &key));
  const Close close = (Close)(void *)GetProcAddress(GetModuleHandleA("ntdll.dll"), "NtClose");
  printf("NtClose %lu\n", (unsigned long)close((HANDLE)0x5eed0));
  return 0;
}
