/* Functions to be counted, in a DLL whose code is mapped from its file. */
__declspec(noinline) int by_name(int mark, int n) { return mark + n; }
__declspec(noinline) int by_ordinal(int mark, int n) { return mark - n; }
