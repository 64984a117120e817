// random_actions SEED COUNT: does COUNT random things to files and the registry, and says on its
// standard output what it did and what came of it, a line each: the operation, 1 when it worked,
// then its parts. Texts and data are in hexadecimal, as they are in memory (texts: UTF-16LE). The
// last thing it does is to let a child write to a file that the child inherits.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>
#include <winternl.h>

BOOL WINAPI ConvertSidToStringSidW(PSID, LPWSTR*);  // sddl.h, which must not come first
NTSTATUS NTAPI NtSetValueKey(HANDLE, PUNICODE_STRING, ULONG, ULONG, PVOID, ULONG);

#define MOST 12
static const WCHAR* kFolders[] = {L"C:\\users\\root\\random", L"Z:\\tmp\\random"};
static const WCHAR kKeyRoot[] = L"Software\\Glasshook Random";
static WCHAR files[MOST][MAX_PATH];  // that are there; "" is a free place
static WCHAR keys[MOST][128];        // below kKeyRoot
static WCHAR values[MOST][64];       // names of values that may be in any key
static HKEY root;
static unsigned long long state;

static unsigned below(unsigned limit) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (unsigned)((state >> 16) % limit);
}

static void say_bytes(const void* bytes, size_t size) {
  putchar('\t');
  for (size_t i = 0; i < size; ++i) printf("%02x", ((const unsigned char*)bytes)[i]);
}
static void say_text(const WCHAR* text) { say_bytes(text, wcslen(text) * sizeof *text); }
static void say(const char* operation, int ok) { printf("%s\t%d", operation, ok != 0); }
static void end_line(void) { putchar('\n'); }

// Names that other systems find hard; none ends in a dot or blank, which Win32 would drop.
static void make_name(WCHAR* name) {
  static const WCHAR* kParts[] = {
      L"a",     L"Long name", L"\x00e9\x00df", L"\x4e2d\x6587", L"\xd83d\xde00",
      L"x.y.z", L"'quo te'",  L"%PATH%",       L"$x;&",         L"-rf"};
  swprintf(name, 48, L"%ls%u", kParts[below(10)], below(1000));
}

static WCHAR* any(WCHAR* list, size_t width) { return list + width * below(MOST); }
static WCHAR* any_file(void) { return any(files[0], MAX_PATH); }

static int find_place(int taken) {
  const unsigned first = below(MOST);
  for (unsigned i = 0; i < MOST; ++i)
    if ((files[(first + i) % MOST][0] != 0) == taken) return (int)((first + i) % MOST);
  return -1;
}

static void make_path(WCHAR* path) {
  WCHAR name[48];
  make_name(name);
  swprintf(path, MAX_PATH, L"%ls\\%ls", kFolders[below(2)], name);
}

// The same file in another way of writing.
static const WCHAR* spelled(const WCHAR* path) {
  static WCHAR other[4][MAX_PATH + 8];
  static unsigned next;
  WCHAR* text = other[next++ % 4];
  switch (below(4)) {
    case 0:
      swprintf(text, MAX_PATH, L"\\\\?\\%ls", path);
      return text;
    case 1:
      wcscpy(text, path);
      for (WCHAR* c = text; *c; ++c)
        if (*c == '\\') *c = '/';
      return text;
    case 2:  // the current directory is C:\users\root
      if (path[0] != 'C') return path;
      swprintf(text, MAX_PATH, L".\\nowhere\\..\\%ls", path + wcslen(L"C:\\users\\root\\"));
      return text;
    default:
      return path;
  }
}

static void write_some(HANDLE file, DWORD* bytes, DWORD* calls) {
  static char buffer[3000];
  for (unsigned left = below(4); left > 0; --left) {
    DWORD put = 0;
    if (WriteFile(file, buffer, 1 + below(sizeof buffer - 1), &put, NULL)) *bytes += put, ++*calls;
  }
}

static void create_file(void) {
  const int place = find_place(0);
  WCHAR path[MAX_PATH];
  if (place < 0 || below(8) == 0)
    wcscpy(path, any_file());
  else
    make_path(path);
  if (!path[0]) return;
  const DWORD disposition = below(2) ? CREATE_NEW : CREATE_ALWAYS;
  const DWORD flags = below(6) == 0 ? FILE_FLAG_DELETE_ON_CLOSE : 0;
  const int existed = GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
  if (existed && flags) return;
  HANDLE file = CreateFileW(spelled(path), GENERIC_WRITE | (flags ? DELETE : 0), 0, NULL,
                            disposition, flags, NULL);
  DWORD bytes = 0, calls = 0;
  if (file != INVALID_HANDLE_VALUE) {
    write_some(file, &bytes, &calls);
    HANDLE copy;
    if (below(3) == 0 &&
        DuplicateHandle(GetCurrentProcess(), file, GetCurrentProcess(), &copy, 0, 0,
                        DUPLICATE_SAME_ACCESS | (below(2) ? DUPLICATE_CLOSE_SOURCE : 0))) {
      write_some(copy, &bytes, &calls);
      CloseHandle(file);  // closed already in half of the cases
      file = copy;
      write_some(file, &bytes, &calls);
    }
    CloseHandle(file);
  }
  say("create", file != INVALID_HANDLE_VALUE);
  say_text(path);
  printf("\t%d\t%d\t%lu\t%lu", existed, flags != 0, bytes, calls), end_line();
  if (file != INVALID_HANDLE_VALUE && !existed && !flags && place >= 0) wcscpy(files[place], path);
}

static void read_file(void) {
  WCHAR path[MAX_PATH];
  wcscpy(path, any_file());
  if (!path[0]) make_path(path);
  HANDLE file =
      CreateFileW(spelled(path), GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
  DWORD bytes = 0, calls = 0, got = 0;
  char buffer[700];
  while (file != INVALID_HANDLE_VALUE && ReadFile(file, buffer, sizeof buffer, &got, NULL) &&
         got > 0)
    bytes += got, ++calls;
  if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  say("read", file != INVALID_HANDLE_VALUE);
  say_text(path), printf("\t%lu\t%lu", bytes, calls), end_line();
}

static void resize_file(void) {
  const int place = find_place(1);
  if (place < 0) return;
  const LONG size = (LONG)below(5000);
  HANDLE file = CreateFileW(spelled(files[place]), GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
  const int ok = file != INVALID_HANDLE_VALUE;
  if (ok) SetFilePointer(file, size, NULL, FILE_BEGIN), SetEndOfFile(file), CloseHandle(file);
  say("resize", ok);
  say_text(files[place]), printf("\t%ld", size), end_line();
}

static void move_file(void) {
  const int from = find_place(1), to = find_place(below(3) == 0);
  if (from < 0 || to < 0 || from == to) return;
  WCHAR path[MAX_PATH];
  if (files[to][0])
    wcscpy(path, files[to]);
  else
    make_path(path);
  const DWORD flags = below(2) ? MOVEFILE_REPLACE_EXISTING : 0;
  const int ok = MoveFileExW(spelled(files[from]), spelled(path), flags);
  say("move", ok);
  say_text(files[from]), say_text(path), printf("\t%d", flags != 0), end_line();
  if (ok) wcscpy(files[to], path), files[from][0] = 0;
}

static void copy_or_link(int link) {
  const int from = find_place(1), to = find_place(0);
  if (from < 0 || to < 0) return;
  WCHAR path[MAX_PATH];
  make_path(path);
  WIN32_FILE_ATTRIBUTE_DATA data = {0};
  GetFileAttributesExW(files[from], GetFileExInfoStandard, &data);
  const int ok = link ? CreateHardLinkW(spelled(path), spelled(files[from]), NULL)
                      : CopyFileW(spelled(files[from]), spelled(path), TRUE);
  say(link ? "link" : "copy", ok);
  say_text(files[from]), say_text(path), printf("\t%lu", data.nFileSizeLow), end_line();
  if (ok) wcscpy(files[to], path);
}

static void delete_file(void) {
  WCHAR* path = any_file();
  WCHAR other[MAX_PATH];
  if (!path[0]) make_path(path = other);
  int ok;
  if (below(2)) {
    ok = DeleteFileW(spelled(path));
  } else {
    HANDLE file =
        CreateFileW(spelled(path), DELETE, FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    FILE_DISPOSITION_INFO info = {TRUE};
    ok = file != INVALID_HANDLE_VALUE &&
         SetFileInformationByHandle(file, FileDispositionInfo, &info, sizeof info);
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  }
  say("delete", ok);
  say_text(path), end_line();
  if (ok) path[0] = 0;
}

static void change_attributes(void) {
  static const DWORD kAttributes[] = {FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_NORMAL,
                                      FILE_ATTRIBUTE_ARCHIVE,
                                      FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM};
  const int place = find_place(1);
  if (place < 0) return;
  const DWORD attributes = kAttributes[below(4)];
  const int ok = SetFileAttributesW(spelled(files[place]), attributes);
  say("attributes", ok);
  say_text(files[place]), printf("\t%lu", attributes), end_line();
}

static void change_times(void) {
  const int place = find_place(1);
  if (place < 0) return;
  HANDLE file =
      CreateFileW(spelled(files[place]), FILE_WRITE_ATTRIBUTES, 7, NULL, OPEN_EXISTING, 0, NULL);
  const unsigned long long ticks = 132000000000000000ull + 10000000ull * below(1000000);
  FILETIME time = {(DWORD)ticks, (DWORD)(ticks >> 32)};
  const int ok = file != INVALID_HANDLE_VALUE && SetFileTime(file, NULL, NULL, &time);
  if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  say("times", ok);
  say_text(files[place]), printf("\t%llu", ticks), end_line();
}

static void use_directory(void) {
  WCHAR path[MAX_PATH], pattern[MAX_PATH + 4];
  make_path(path);
  wcscat(path, L".d");
  int ok = CreateDirectoryW(spelled(path), NULL);
  say("mkdir", ok), say_text(path), end_line();
  ok = CreateDirectoryW(spelled(path), NULL);
  say("mkdir", ok), say_text(path), end_line();
  swprintf(pattern, MAX_PATH, L"%ls\\%ls", path, below(2) ? L"*" : L"nothing.*");
  WIN32_FIND_DATAW found;
  HANDLE search = FindFirstFileW(pattern, &found);
  if (search != INVALID_HANDLE_VALUE) FindClose(search);
  say("list", search != INVALID_HANDLE_VALUE), say_text(path), end_line();
  ok = RemoveDirectoryW(spelled(path));
  say("rmdir", ok), say_text(path), end_line();
}

static WCHAR* any_key(void) { return any(keys[0], 128); }

static void create_key(void) {
  WCHAR* key = any_key();
  if (!key[0]) make_name(key);
  DWORD disposition = 0;
  const int asks = below(2);
  HKEY handle;
  const LONG status = RegCreateKeyExW(root, key, 0, NULL, 0, KEY_ALL_ACCESS, NULL, &handle,
                                      asks ? &disposition : NULL);
  if (!status) RegCloseKey(handle);
  say("key", !status);
  say_text(key), printf("\t%d\t%lu", asks, disposition), end_line();
}

static void delete_key(void) {
  WCHAR* key = any_key();
  if (!key[0]) return;
  const LONG status = RegDeleteKeyW(root, key);
  say("delete key", !status);
  say_text(key), end_line();
}

static DWORD make_data(DWORD* type, WCHAR* data) {
  static const DWORD kTypes[] = {REG_SZ,    REG_EXPAND_SZ, REG_MULTI_SZ, REG_DWORD,
                                 REG_QWORD, REG_BINARY,    0x1234};
  *type = kTypes[below(7)];
  switch (*type) {
    case REG_DWORD:
    case REG_QWORD:
      for (int i = 0; i < 4; ++i) data[i] = (WCHAR)below(65536);
      return *type == REG_DWORD ? 4 : 8;
    case REG_BINARY:
    case 0x1234: {
      const DWORD size = below(below(4) ? 100 : 1500);
      for (DWORD i = 0; i < size; ++i) ((BYTE*)data)[i] = (BYTE)below(256);
      return size;
    }
    default:
      make_name(data);
      size_t length = wcslen(data) + 1;
      if (*type == REG_MULTI_SZ)
        make_name(data + length), length += wcslen(data + length) + 1, data[length++] = 0;
      return (DWORD)(length * sizeof *data);
  }
}

// What a value's name may be: also one that Win32 cannot write, with a NUL at its end.
static void set_value(HKEY handle, const WCHAR* key) {
  WCHAR* name = any(values[0], 64);
  WCHAR data[1024];
  DWORD type;
  const DWORD size = make_data(&type, data);
  if (below(5) == 0) wcscpy(name, below(2) ? L"" : L"lone \xd800 surrogate");
  const int hidden = below(5) == 0;
  UNICODE_STRING text = {(USHORT)((wcslen(name) + hidden) * 2), sizeof values[0], name};
  const LONG status = hidden ? NtSetValueKey(handle, &text, 0, type, data, size)
                             : RegSetValueExW(handle, name, 0, type, (BYTE*)data, size);
  say("set", !status);
  say_text(key), say_bytes(name, text.Length), printf("\t%lu", type), say_bytes(data, size),
      end_line();
}

static void use_value(void) {
  WCHAR* key = any_key();
  HKEY handle;
  const LONG opened = key[0] ? RegOpenKeyExW(root, key, 0, KEY_ALL_ACCESS, &handle) : 1;
  if (!key[0]) return;
  say("open key", !opened), say_text(key), end_line();
  if (opened) return;
  for (unsigned i = below(3); i > 0; --i) set_value(handle, key);
  WCHAR* name = any(values[0], 64);
  if (below(2)) {
    BYTE data[2048];
    DWORD type = 0, size = sizeof data;
    const LONG status = RegQueryValueExW(handle, name, NULL, &type, data, &size);
    say("query", !status);
    say_text(key), say_text(name), printf("\t%lu", type), say_bytes(data, status ? 0 : size),
        end_line();
  } else {
    const LONG status = RegDeleteValueW(handle, name);
    say("delete value", !status), say_text(key), say_text(name), end_line();
  }
  RegCloseKey(handle);
}

static void use_child(void) {
  static const WCHAR path[] = L"C:\\users\\root\\random\\inherited";
  SECURITY_ATTRIBUTES inherit = {sizeof inherit, NULL, TRUE};
  HANDLE file = CreateFileW(path, GENERIC_WRITE, 7, &inherit, CREATE_NEW, 0, NULL);
  WCHAR self[MAX_PATH], command[MAX_PATH + 64];
  GetModuleFileNameW(NULL, self, MAX_PATH);
  swprintf(command, MAX_PATH + 64, L"\"%ls\" %lu", self, (unsigned long)(ULONG_PTR)file);
  STARTUPINFOW startup = {.cb = sizeof startup};
  PROCESS_INFORMATION child = {0};
  DWORD status = 1;
  if (CreateProcessW(self, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child)) {
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &status);
    CloseHandle(child.hThread), CloseHandle(child.hProcess);
  }
  CloseHandle(file);
  say("inherit", status == 0), say_text(path), printf("\t%lu", child.dwProcessId), end_line();
}

static void say_user(void) {
  BYTE buffer[128];
  DWORD size = sizeof buffer;
  HANDLE token;
  WCHAR* text = NULL;
  if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) &&
      GetTokenInformation(token, TokenUser, buffer, size, &size) &&
      ConvertSidToStringSidW(((TOKEN_USER*)buffer)->User.Sid, &text))
    say("user", 1), say_text(text), end_line();
}

static void act(void) {
  switch (below(24)) {
    case 0:
    case 1:
    case 2:
    case 3:
      create_file();
      break;
    case 4:
    case 5:
      read_file();
      break;
    case 6:
      resize_file();
      break;
    case 7:
    case 8:
      move_file();
      break;
    case 9:
      copy_or_link(0);
      break;
    case 10:
      copy_or_link(1);
      break;
    case 11:
    case 12:
      delete_file();
      break;
    case 13:
      change_attributes();
      break;
    case 14:
      change_times();
      break;
    case 15:
      use_directory();
      break;
    case 16:
    case 17:
      create_key();
      break;
    case 18:
      delete_key();
      break;
    default:
      use_value();
      break;
  }
}

int main(int argc, char** argv) {
  if (argc == 2) {
    DWORD put = 0;
    return !WriteFile((HANDLE)(ULONG_PTR)strtoul(argv[1], NULL, 10), "from the child", 14, &put,
                      NULL);
  }
  if (argc != 3) return 2;
  state = 0x9e3779b97f4a7c15ull * (strtoull(argv[1], NULL, 10) + 1);
  static char output[1 << 16];
  setvbuf(stdout, output, _IOFBF, sizeof output);
  say_user();
  for (int i = 0; i < 2; ++i) {
    const int ok = CreateDirectoryW(kFolders[i], NULL);
    say("mkdir", ok), say_text(kFolders[i]), end_line();
  }
  DWORD disposition = 0;
  const LONG status = RegCreateKeyExW(HKEY_CURRENT_USER, kKeyRoot, 0, NULL, 0, KEY_ALL_ACCESS, NULL,
                                      &root, &disposition);
  say("key", !status), say_text(L""), printf("\t1\t%lu", disposition), end_line();
  for (int i = 0; i < MOST; ++i) make_name(values[i]);
  for (long left = strtol(argv[2], NULL, 10); left > 0; --left) act();
  use_child();
  return 0;
}
