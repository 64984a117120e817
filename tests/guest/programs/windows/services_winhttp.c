// The part of services.c that uses WinHTTP.
#include <stdio.h>

#include <windows.h>
#include <winhttp.h>

void ask_by_winhttp(void) {
  HINTERNET http = WinHttpOpen(L"glasshook", WINHTTP_ACCESS_TYPE_NO_PROXY, NULL, NULL, 0);
  HINTERNET host = WinHttpConnect(http, L"127.0.0.1", 83, 0);
  HINTERNET get =
      WinHttpOpenRequest(host, L"GET", L"/update", NULL, NULL, NULL, WINHTTP_FLAG_SECURE);
  printf("http_requested\tGET\thttps://127.0.0.1:83/update\t%d\n",
         !WinHttpSendRequest(get, NULL, 0, NULL, 0, 0, 0));
}
