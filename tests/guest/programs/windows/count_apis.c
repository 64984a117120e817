// count_apis THREADS CALLS: in each thread, calls functions CALLS times by every way that leads to
// them. Prints "pid N" and "tid N" for each thread (Win32 ids), and the address it passes.
#include <stdio.h>
#include <stdlib.h>
#include <winsock2.h>

#include <windows.h>

enum { kMark = 0x5eed, kMaxThreads = 64 };
int by_name(int mark, int n);
int forwarded(int mark, int n);
int stub(int mark, int n);

typedef int (*Function)(int, int);
typedef LONG(WINAPI *Compare)(const FILETIME *, const FILETIME *);
typedef u_long(WINAPI *Swap)(u_long);

static long calls;
static Compare compare_kernel32, compare_kernelbase;
static Swap swap;
static Function ordinal;
static FILETIME early, late;
static void *block;

static void expect(int good) {
  if (!good) abort();
}

static DWORD WINAPI work(void *id) {
  *(DWORD *)id = GetCurrentThreadId();
  for (long i = 0; i < calls; ++i) {
    expect(CompareFileTime(&early, &late) == -1);
    expect(compare_kernel32(&early, &late) == -1);
    expect(compare_kernelbase(&early, &late) == -1);
    expect(HeapSize(GetProcessHeap(), 0, block) == 77);
    expect(swap(kMark) == 0xed5e0000);
    expect(by_name(kMark, i) == kMark + i);
    expect(forwarded(kMark, i) == kMark + i);
    expect(stub(kMark, i) == kMark + i);
    expect(ordinal(kMark, i) == kMark - i);
  }
  return 0;
}

static void *find(const char *module, const char *name) {
  void *found = (void *)GetProcAddress(LoadLibraryA(module), name);
  expect(found != NULL);
  return found;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int threads = atoi(argv[1]);
  calls = atol(argv[2]);
  // What nobody else passes to these functions.
  late.dwLowDateTime = kMark;
  block = HeapAlloc(GetProcessHeap(), 0, 77);
  compare_kernel32 = find("kernel32.dll", "CompareFileTime");
  compare_kernelbase = find("kernelbase.dll", "CompareFileTime");
  swap = find("ws2_32.dll", (const char *)8);  // htonl
  ordinal = find("count_target.dll", (const char *)12);
  HANDLE handles[kMaxThreads];
  DWORD ids[kMaxThreads];
  for (int t = 0; t < threads; ++t) handles[t] = CreateThread(NULL, 0, work, &ids[t], 0, NULL);
  for (int t = 0; t < threads; ++t) WaitForSingleObject(handles[t], INFINITE);
  printf("pid %lu\n", GetCurrentProcessId());
  for (int t = 0; t < threads; ++t) printf("tid %lu\n", ids[t]);
  printf("block %llu\n", (unsigned long long)block);
  return 0;
}
