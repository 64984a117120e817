// A library whose function calls back: odd_call(KIND, BACK, ARGUMENT) calls BACK(ARGUMENT) and
// returns KIND. odd_other() is another function, for frames that are used again.
int odd_call(int kind, void (*back)(void *), void *argument) {
  if (back) back(argument);
  return kind;
}

int odd_other(int kind) { return kind + 1000; }
