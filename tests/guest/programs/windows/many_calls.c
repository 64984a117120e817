// many_calls THREADS CALLS: each thread calls CompareFileTime CALLS times. Prints "pid N", "tid N" for
// each thread (Win32 ids), and how long the calls took, "ns N".
#include <stdio.h>
#include <stdlib.h>

#include <windows.h>

enum { kMark = 0x5eed, kMaxThreads = 64 };
static long calls;

static DWORD WINAPI work(void *id) {
  const FILETIME early = {0, 0}, late = {kMark, 0};
  *(DWORD *)id = GetCurrentThreadId();
  for (long i = 0; i < calls; ++i)
    if (CompareFileTime(&early, &late) != -1) abort();
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int threads = atoi(argv[1]);
  calls = atol(argv[2]);
  HANDLE handles[kMaxThreads];
  DWORD ids[kMaxThreads];
  LARGE_INTEGER begin, end, frequency;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&begin);
  for (int t = 0; t < threads; ++t) handles[t] = CreateThread(NULL, 0, work, &ids[t], 0, NULL);
  for (int t = 0; t < threads; ++t) WaitForSingleObject(handles[t], INFINITE);
  QueryPerformanceCounter(&end);
  printf("pid %lu\n", GetCurrentProcessId());
  for (int t = 0; t < threads; ++t) printf("tid %lu\n", ids[t]);
  printf("ns %.0f\n", (end.QuadPart - begin.QuadPart) * 1e9 / frequency.QuadPart);
  return 0;
}
