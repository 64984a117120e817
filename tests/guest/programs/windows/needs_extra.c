// needs_extra: ends with what extra.dll says.
__declspec(dllimport) int extra_number(void);
int main(void) { return extra_number(); }
