// hello [STATUS [WORD]...]: says where it is and what it was given; ends with STATUS (0).
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(int argc, char** argv) {
  char directory[MAX_PATH];
  GetCurrentDirectoryA(sizeof directory, directory);
  printf("hello from %s in %s\n", argv[0], directory);
  for (int i = 1; i < argc; ++i) printf("argument %d: %s\n", i, argv[i]);
  fprintf(stderr, "hello, errors\n");
  return argc > 1 ? atoi(argv[1]) : 0;
}
