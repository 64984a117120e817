/* Functions to be counted, of a DLL. */
__declspec(noinline) int by_name(int mark, int n) { return mark + n; }
__declspec(noinline) int by_ordinal(int mark, int n) { return mark - n; }
