// A library that inner_program.c loads while it runs: nobody has mapped it before.
int inner_work(int x) {
  __asm__ volatile("");
  return 3 * x;
}
