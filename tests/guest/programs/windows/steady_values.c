// steady_values: sets a value of the registry to 0, 1, 2, ... until it is ended, and says a line
// for each.
#include <stdio.h>
#include <windows.h>

int main(void) {
  HKEY key;
  if (RegCreateKeyExA(HKEY_CURRENT_USER, "Software\\Glasshook Steady", 0, NULL, 0, KEY_ALL_ACCESS,
                      NULL, &key, NULL))
    return 1;
  for (DWORD i = 0;; ++i) {
    if (RegSetValueExA(key, "Count", 0, REG_DWORD, (const BYTE*)&i, sizeof i)) return 2;
    printf("%lu\n", i), fflush(stdout);
    Sleep(10);
  }
}
