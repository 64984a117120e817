// sockets: listens, connects and accepts on loopback, over IPv4 and IPv6, and says what it did, a line
// each, tab-separated: action, transport, address, port, outcome.
#include <stdio.h>
#include <stdlib.h>

#include <winsock2.h>

#include <ws2tcpip.h>

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%d\n", what, WSAGetLastError());
  exit(1);
}

static struct sockaddr_storage loopback(int family, int port, int *length) {
  struct sockaddr_storage storage = {0};
  if (family == AF_INET) {
    struct sockaddr_in *address = (struct sockaddr_in *)&storage;
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *length = sizeof *address;
  } else {
    struct sockaddr_in6 *address = (struct sockaddr_in6 *)&storage;
    address->sin6_family = AF_INET6;
    address->sin6_port = htons(port);
    address->sin6_addr = in6addr_loopback;
    *length = sizeof *address;
  }
  return storage;
}

static const char *text(int family) { return family == AF_INET ? "127.0.0.1" : "::1"; }

/// A program that serves itself: the whole life of a connection.
static void talk(int family, int port, int by_wsa) {
  int length;
  struct sockaddr_storage address = loopback(family, port, &length), peer;
  SOCKET server = socket(family, SOCK_STREAM, 0);
  need(server != INVALID_SOCKET, "socket");
  need(bind(server, (struct sockaddr *)&address, length) == 0, "bind");
  need(listen(server, 1) == 0, "listen");
  printf("network_listening\ttcp\t%s\t%d\t\n", text(family), port);
  SOCKET client = by_wsa ? WSASocketA(family, SOCK_STREAM, 0, NULL, 0, 0)
                         : socket(family, SOCK_STREAM, 0);
  need((by_wsa ? WSAConnect(client, (struct sockaddr *)&address, length, NULL, NULL, NULL, NULL)
               : connect(client, (struct sockaddr *)&address, length)) == 0,
       "connect");
  printf("network_connected\ttcp\t%s\t%d\tsuccess\n", text(family), port);
  int peer_length = sizeof peer;
  SOCKET accepted = by_wsa ? WSAAccept(server, (struct sockaddr *)&peer, &peer_length, NULL, 0)
                           : accept(server, (struct sockaddr *)&peer, &peer_length);
  need(accepted != INVALID_SOCKET, "accept");
  printf("network_accepted\ttcp\t%s\t%d\t\n", text(family),
         ntohs(((struct sockaddr_in *)&peer)->sin_port));
  char byte = 0;
  need(send(client, "x", 1, 0) == 1 && recv(accepted, &byte, 1, 0) == 1 && byte == 'x', "send");
  closesocket(accepted);
  closesocket(client);
  closesocket(server);
}

int main(void) {
  WSADATA data;
  int length;
  need(WSAStartup(0x202, &data) == 0, "WSAStartup");
  talk(AF_INET, 4444, 0);
  talk(AF_INET6, 4445, 1);

  struct sockaddr_storage address = loopback(AF_INET, 9, &length);
  SOCKET refused = socket(AF_INET, SOCK_STREAM, 0);
  need(connect(refused, (struct sockaddr *)&address, length) != 0, "a connection refused");
  printf("network_connected\ttcp\t127.0.0.1\t9\tfailure\n");
  closesocket(refused);

  SOCKET pending = socket(AF_INET, SOCK_STREAM, 0);
  u_long on = 1;
  ioctlsocket(pending, FIONBIO, &on);
  address = loopback(AF_INET, 10, &length);
  need(connect(pending, (struct sockaddr *)&address, length) != 0 &&
           WSAGetLastError() == WSAEWOULDBLOCK,
       "a connection that does not wait");
  printf("network_connected\ttcp\t127.0.0.1\t10\tunknown\n");
  closesocket(pending);

  SOCKET datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  address = loopback(AF_INET, 5353, &length);
  need(bind(datagrams, (struct sockaddr *)&address, length) == 0, "bind");
  printf("network_listening\tudp\t127.0.0.1\t5353\t\n");
  return 0;
}
