/* A DLL that ends the process that loads it, with status 77. */
#include <windows.h>

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {
  (void)self, (void)reserved;
  if (reason == DLL_PROCESS_ATTACH) TerminateProcess(GetCurrentProcess(), 77);
  return TRUE;
}
