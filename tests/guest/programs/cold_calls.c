// Looks functions of a library up, one after the other, and calls each: cold_calls LIBRARY
// FUNCTIONS STEP CALLS. Of the functions cold_function_of_a_library_with_many_names_<i>, i below
// FUNCTIONS, every STEP-th is called CALLS times. Prints how many calls that was.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const int functions = atoi(argv[2]), step = atoi(argv[3]), calls = atoi(argv[4]);
  void *library = dlopen(argv[1], RTLD_LAZY);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 3;
  }
  long made = 0;
  for (int i = 0; i < functions; i += step) {
    char name[80];
    snprintf(name, sizeof name, "cold_function_of_a_library_with_many_names_%d", i);
    int (*function)(int) = (int (*)(int))dlsym(library, name);
    if (function == NULL) return 4;
    for (int call = 0; call < calls; ++call, ++made)
      if (function(call) != call + i) return 5;
  }
  printf("%ld\n", made);
  return 0;
}
