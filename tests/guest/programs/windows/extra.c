// extra.dll: a module that no Windows has.
__declspec(dllexport) int extra_number(void) { return 42; }
