// Work of a Windows program: registry opens|paced COUNT. Opens and closes a key of the registry COUNT times,
// or COUNT times a second for one second (as often as it can when that is less). Prints the nanoseconds it took.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

static long long now(void) {
  LARGE_INTEGER counter, frequency;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&counter);
  return counter.QuadPart * (1000000000 / frequency.QuadPart);
}

static void open_once(void) {
  HKEY key;
  if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, L"Software\\Microsoft", 0, KEY_READ, &key) != 0) abort();
  RegCloseKey(key);
}

// Sleep() counts in milliseconds: what became due meanwhile is done at once.
static void paced(long count) {
  const long long begin = now(), end = begin + 1000000000;
  for (long i = 0; now() < end; ++i) {
    while (begin + i * (1000000000 / count) > now()) Sleep(1);
    open_once();
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const long count = atol(argv[2]);
  const long long begin = now();
  if (strcmp(argv[1], "paced") == 0)
    paced(count);
  else
    for (long i = 0; i < count; ++i) open_once();
  printf("%lld\n", now() - begin);
  return 0;
}
