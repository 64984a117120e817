// habits: asks for keys, uses the clipboard, makes keys for encryption, sleeps and looks at the time.
// Says how often, a line each, tab-separated.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>
#include <bcrypt.h>
#include <wincrypt.h>

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

static LRESULT CALLBACK on_key(int code, WPARAM w, LPARAM l) { return CallNextHookEx(NULL, code, w, l); }

static void use_input(void) {
  for (int i = 0; i < 25; ++i) GetAsyncKeyState('A');
  printf("keyboard_watched\tGetAsyncKeyState\t25\n");
  need(SetWindowsHookExA(WH_KEYBOARD_LL, on_key, GetModuleHandleA(NULL), 0) != NULL,
       "SetWindowsHookEx");
  printf("keyboard_watched\tSetWindowsHookExA\t1\n");
  need(OpenClipboard(NULL), "OpenClipboard");
  EmptyClipboard();
  HGLOBAL memory = GlobalAlloc(GMEM_MOVEABLE, 16);
  strcpy(GlobalLock(memory), "text");
  GlobalUnlock(memory);
  need(SetClipboardData(CF_TEXT, memory) != NULL, "SetClipboardData");
  printf("clipboard_written\tSetClipboardData\tCF_TEXT\n");
  need(GetClipboardData(CF_TEXT) != NULL, "GetClipboardData");
  printf("clipboard_read\tGetClipboardData\tCF_TEXT\n");
  CloseClipboard();
}

static void make_keys(void) {
  HCRYPTPROV provider;
  HCRYPTKEY key;
  BCRYPT_ALG_HANDLE algorithm;
  BCRYPT_KEY_HANDLE other;
  UCHAR secret[32] = {1};
  need(CryptAcquireContextA(&provider, NULL, NULL, PROV_RSA_AES, CRYPT_VERIFYCONTEXT),
       "CryptAcquireContext");
  need(CryptGenKey(provider, CALG_AES_256, CRYPT_EXPORTABLE, &key), "CryptGenKey");
  printf("crypto_key_made\tCryptGenKey\tCALG_AES_256\n");
  need(BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_AES_ALGORITHM, NULL, 0) == 0, "AES");
  need(BCryptGenerateSymmetricKey(algorithm, &other, NULL, 0, secret, sizeof secret, 0) == 0,
       "BCryptGenerateSymmetricKey");
  printf("crypto_key_made\tBCryptGenerateSymmetricKey\tAES\n");
}

int main(void) {
  use_input();
  make_keys();
  for (int i = 0; i < 20; ++i) Sleep(15);
  for (int i = 0; i < 500; ++i) GetTickCount();
  printf("time_used\t20\t300\t500\n");
  return 0;
}
