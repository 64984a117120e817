// services: loads libraries, makes named objects, makes, starts, stops and deletes a service, asks
// for names and for web pages, and says what it did, a line each, tab-separated. As "services serve" it is the service.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winsock2.h>

#include <windows.h>
#include <wininet.h>
#include <ws2tcpip.h>

void ask_by_winhttp(void);  // its header and wininet's exclude each other

static const char kName[] = "GlasshookTest";
static SERVICE_STATUS_HANDLE status_handle;
static HANDLE stopped;

static void WINAPI control(DWORD code) {
  if (code == SERVICE_CONTROL_STOP) SetEvent(stopped);
}

static void tell(DWORD state) {
  SERVICE_STATUS status = {.dwServiceType = SERVICE_WIN32_OWN_PROCESS,
                           .dwCurrentState = state,
                           .dwControlsAccepted = SERVICE_ACCEPT_STOP};
  SetServiceStatus(status_handle, &status);
}

static void WINAPI serve(DWORD count, char **names) {
  (void)count, (void)names;
  stopped = CreateEventA(NULL, TRUE, FALSE, NULL);
  status_handle = RegisterServiceCtrlHandlerA(kName, control);
  tell(SERVICE_RUNNING);
  WaitForSingleObject(stopped, 20000);
  tell(SERVICE_STOPPED);
}

static void need(int ok, const char *what) {
  if (ok) return;
  printf("FAILED\t%s\t%lu\n", what, GetLastError());
  exit(1);
}

static void use_service(void) {
  char self[MAX_PATH], line[MAX_PATH + 20];
  SERVICE_STATUS status;
  GetModuleFileNameA(NULL, self, MAX_PATH);
  snprintf(line, sizeof line, "\"%s\" serve", self);
  SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_ALL_ACCESS);
  need(manager != NULL, "OpenSCManager");
  SC_HANDLE made = CreateServiceA(manager, kName, "A service of a test", SERVICE_ALL_ACCESS,
                                  SERVICE_WIN32_OWN_PROCESS, SERVICE_DEMAND_START, 0, line, NULL,
                                  NULL, NULL, NULL, NULL);
  need(made != NULL, "CreateService");
  printf("service_created\t%s\t%s\n", kName, line);
  CloseServiceHandle(made);
  SC_HANDLE service = OpenServiceA(manager, kName, SERVICE_ALL_ACCESS);
  need(service != NULL, "OpenService");
  need(StartServiceA(service, 0, NULL), "StartService");
  printf("service_started\t%s\n", kName);
  for (int i = 0; i < 100; ++i) {
    need(QueryServiceStatus(service, &status), "QueryServiceStatus");
    if (status.dwCurrentState == SERVICE_RUNNING) break;
    Sleep(100);
  }
  need(ControlService(service, SERVICE_CONTROL_STOP, &status), "ControlService");
  printf("service_stopped\t%s\n", kName);
  need(DeleteService(service), "DeleteService");
  printf("service_deleted\t%s\n", kName);
  CloseServiceHandle(service);
  CloseServiceHandle(manager);
}

static void load_libraries(void) {
  static const char *kLibraries[] = {"version.dll", "crypt32.dll"};
  for (int i = 0; i < 2; ++i) {
    char path[MAX_PATH];
    HMODULE module = LoadLibraryA(kLibraries[i]);
    need(module != NULL, "LoadLibrary");
    GetModuleFileNameA(module, path, MAX_PATH);
    printf("library_loaded\t%s\t%llx\n", path, (unsigned long long)module);
  }
}

static void make_objects(void) {
  need(CreateMutexA(NULL, FALSE, "Glasshook Mutex") != NULL, "CreateMutex");
  printf("object_created\tmutex\tGlasshook Mutex\n");
  need(OpenMutexA(SYNCHRONIZE, FALSE, "Glasshook Mutex") != NULL, "OpenMutex");
  printf("object_opened\tmutex\tGlasshook Mutex\n");
  need(CreateEventA(NULL, FALSE, FALSE, "Global\\Glasshook Event") != NULL, "CreateEvent");
  printf("object_created\tevent\tGlobal\\Glasshook Event\n");
  need(CreateNamedPipeA("\\\\.\\pipe\\glasshook pipe", PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE, 1, 512, 512, 0,
                        NULL) != INVALID_HANDLE_VALUE,
       "CreateNamedPipe");
  printf("object_created\tpipe\t\\\\.\\pipe\\glasshook pipe\n");
}

static void ask_for_names(void) {
  WSADATA data;
  struct addrinfo *found;
  WSAStartup(0x202, &data);
  printf("name_resolved\tlocalhost\t%d\n", getaddrinfo("localhost", "80", NULL, &found));
  printf("name_resolved\tno-such-host.invalid\t%d\n",
         getaddrinfo("no-such-host.invalid", NULL, NULL, &found) != 0);
}

static void ask_for_pages(void) {
  HINTERNET session = InternetOpenA("glasshook", INTERNET_OPEN_TYPE_DIRECT, NULL, NULL, 0);
  HINTERNET connection = InternetConnectA(session, "127.0.0.1", 81, NULL, NULL,
                                          INTERNET_SERVICE_HTTP, 0, 0);
  HINTERNET request = HttpOpenRequestA(connection, "POST", "/gate.php?id=1", NULL, NULL, NULL, 0, 0);
  printf("http_requested\tPOST\thttp://127.0.0.1:81/gate.php?id=1\t%d\n",
         !HttpSendRequestA(request, NULL, 0, "data", 4));
  InternetCloseHandle(request);
  printf("http_requested\tGET\thttp://127.0.0.1:82/a\t%d\n",
         InternetOpenUrlA(session, "http://127.0.0.1:82/a", NULL, 0, 0, 0) == NULL);
  ask_by_winhttp();
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "serve") == 0) {
    const SERVICE_TABLE_ENTRYA table[] = {{(char *)kName, serve}, {NULL, NULL}};
    return !StartServiceCtrlDispatcherA(table);
  }
  load_libraries();
  make_objects();
  use_service();
  ask_for_names();
  ask_for_pages();
  return 0;
}
