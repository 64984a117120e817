// The Windows API: its signatures as they are shipped (written and generated), and calls decoded
// with them.
#include <gmock/gmock.h>

#include <set>

#include "api/call.h"
#include "api/format.h"
#include "api/windows_values.h"
#include "source_root.h"
#include "support.h"

namespace glasshook::api {
namespace {

using capture::FieldKind;
using capture::RecordKind;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kAt = 0x7000'0000;  ///< some address; what is there is in the record

std::filesystem::path written_directory() {
  return glasshook::test::source_root() / "apis/windows";
}

ApiCatalogue load(std::vector<std::filesystem::path> directories) {
  Result<ApiCatalogue> loaded = ApiCatalogue::load(directories);
  if (loaded) return std::move(*loaded);
  ADD_FAILURE() << loaded.error().message << " " << loaded.error().remedy;
  return {};
}

const ApiCatalogue& windows() {
  static const ApiCatalogue catalogue = load({written_directory(), GLASSHOOK_WINDOWS_APIS});
  return catalogue;
}

const ApiCatalogue& generated() {
  static const ApiCatalogue catalogue = load({GLASSHOOK_WINDOWS_APIS});
  return catalogue;
}

std::string utf16(std::string_view ascii) {
  std::string wide;
  for (const char c : ascii) wide += {c, '\0'};
  return wide;
}

/// Little-endian words of the given sizes, one behind the other.
template <class... Values>
std::string packed(Values... values) {
  std::string bytes;
  (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  return bytes;
}

/// One call of a shipped function, put together like a probe would.
class Call {
 public:
  Call(std::string_view module, std::string_view function, std::vector<std::uint64_t> arguments)
      : signature_(windows().find(module, function)) {
    if (!signature_) {
      ADD_FAILURE() << "no " << module << "!" << function;
      return;
    }
    EXPECT_EQ(signature_->parameters.size(), arguments.size());
    entry_.words(kArgumentsField, std::move(arguments));
  }

  /// Data of a parameter, in the record its direction says.
  Call& data(std::string_view parameter, FieldKind kind, std::string_view bytes) {
    const std::size_t i = index(parameter);
    return put(i, static_cast<std::uint16_t>(kPointedField + i), kind, bytes);
  }
  /// Data behind a pointer in a structure: `path` is that of nested_data(), with the parameter's
  /// name before it.
  Call& nested(std::string_view parameter, std::string_view path, FieldKind kind,
               std::string_view bytes) {
    const std::vector<NestedData> plan = nested_data(windows().vocabulary(), *signature_);
    for (std::size_t n = 0; n < plan.size(); ++n) {
      const bool is_bytes = plan[n].data.kind == PointedData::Kind::bytes;
      if (plan[n].parameter == index(parameter) && plan[n].path == path &&
          is_bytes == (kind == FieldKind::bytes))
        return put(plan[n].parameter, static_cast<std::uint16_t>(kNestedField + n), kind, bytes);
    }
    ADD_FAILURE() << parameter << " has no " << path;
    return *this;
  }
  ApiCall returns(std::uint64_t result, std::uint64_t error = kUnknownErrno) {
    if (!signature_) return {};
    exit_.words(kResultField, {result, error});
    entry_view_ = entry_.view();
    exit_view_ = exit_.view();
    return decode_call(windows().vocabulary(), *signature_, &entry_view_, &exit_view_);
  }

 private:
  std::size_t index(std::string_view parameter) const {
    const auto found = std::ranges::find(signature_->parameters, parameter, &Parameter::name);
    EXPECT_NE(found, signature_->parameters.end()) << parameter;
    return static_cast<std::size_t>(found - signature_->parameters.begin());
  }
  Call& put(std::size_t parameter, std::uint16_t id, FieldKind kind, std::string_view bytes) {
    const bool is_out = signature_->parameters[parameter].direction != Direction::in;
    (is_out ? exit_ : entry_).field(id, kind, bytes);
    return *this;
  }

  const Signature* signature_;
  RecordBytes entry_{RecordKind::entry}, exit_{RecordKind::exit};
  capture::RecordView entry_view_, exit_view_;
};

TEST(WindowsCatalogue, HasThousandsOfFunctionsInAllModules) {
  EXPECT_GE(windows().all().size(), 3000u);
  const std::pair<const char*, std::size_t> least[] = {
      {"ntdll", 500},   {"kernel32", 1000}, {"advapi32", 450}, {"user32", 600}, {"ws2_32", 100},
      {"wininet", 100}, {"winhttp", 30},    {"shell32", 200},  {"ole32", 200},  {"crypt32", 180},
      {"bcrypt", 40},   {"psapi", 20},      {"iphlpapi", 100}};
  for (const auto& [module, count] : least) {
    std::size_t found = 0;
    for (const Signature& s : windows().all()) found += s.module == module;
    EXPECT_GE(found, count) << module;
  }
}

TEST(WindowsCatalogue, FindsFunctionsWhereverTheyAreExported) {
  const Signature* create = windows().find("kernel32", "CreateFileW");
  ASSERT_NE(create, nullptr);
  EXPECT_EQ(windows().find("C:\\windows\\system32\\KERNELBASE.DLL", "CreateFileW"), create);
  EXPECT_NE(windows().find("kernelbase.dll", "RegOpenKeyExW"), nullptr) << "advapi32 forwards it";
  EXPECT_EQ(windows().find("ntdll.dll", "CreateFileW"), nullptr);
  EXPECT_EQ(windows().find_all("kernelbase!CreateFileW"), std::vector{create});
  EXPECT_EQ(windows().nearest("CreateProcesW", 1).front(), "kernel32!CreateProcessW");
  ASSERT_NE(windows().find("ntdll", "ZwCreateFile"), nullptr);
  EXPECT_EQ(windows().find("ntdll", "ZwCreateFile")->parameters,
            windows().find("ntdll", "NtCreateFile")->parameters);
}

TEST(WindowsCatalogue, SaysWhatArgumentsAndResultsAre) {
  const auto text = [](const char* module, const char* name) {
    const Signature* found = windows().find(module, name);
    return found ? to_text(*found) : std::string("missing");
  };
  EXPECT_EQ(text("kernel32", "CreateProcessW"),
            "CreateProcessW(lpApplicationName: utf16, inout lpCommandLine: utf16, "
            "lpProcessAttributes: SECURITY_ATTRIBUTES*, lpThreadAttributes: SECURITY_ATTRIBUTES*, "
            "bInheritHandles: bool32, dwCreationFlags: flags<process_creation>, lpEnvironment: "
            "pointer, lpCurrentDirectory: utf16, lpStartupInfo: STARTUPINFOW*, out "
            "lpProcessInformation: PROCESS_INFORMATION*) -> bool32 ! null, last_error");
  EXPECT_EQ(text("kernel32", "CreateFileA"),
            "CreateFileA(lpFileName: string, dwDesiredAccess: flags<file_access>, dwShareMode: "
            "flags<file_share>, lpSecurityAttributes: SECURITY_ATTRIBUTES*, dwCreationDisposition: "
            "enum<creation_disposition>, dwFlagsAndAttributes: flags<file_flags_and_attributes>, "
            "hTemplateFile: handle) -> handle ! last_error");
  EXPECT_EQ(text("kernel32", "ReadFile"),
            "ReadFile(hFile: handle, out lpBuffer: bytes[*lpNumberOfBytesRead], "
            "nNumberOfBytesToRead: uint, out lpNumberOfBytesRead: uint*, inout lpOverlapped: "
            "OVERLAPPED*) -> bool32 ! null, last_error");
  EXPECT_EQ(text("ntdll", "NtQueryInformationProcess"),
            "NtQueryInformationProcess(ProcessHandle: handle, ProcessInformationClass: "
            "enum<PROCESSINFOCLASS>, out ProcessInformation: bytes[*ReturnLength], "
            "ProcessInformationLength: uint, out ReturnLength: uint*) -> ntstatus ! ntstatus");
  EXPECT_EQ(text("ws2_32", "connect"),
            "connect(s: handle, name: SOCKADDR*[namelen], namelen: int) -> int ! last_error");
  EXPECT_THAT(text("advapi32", "RegOpenKeyExW"), HasSubstr("-> win32_error ! win32_error"));
  EXPECT_THAT(text("ole32", "CoCreateInstance"), HasSubstr("rclsid: GUID*"));
  EXPECT_THAT(text("ole32", "CoCreateInstance"), HasSubstr("-> hresult ! hresult"));
  EXPECT_EQ(windows().find("kernel32", "ExitProcess")->returns, false);
  EXPECT_EQ(windows().find("kernel32", "IsDebuggerPresent")->convention, ResultConvention::plain);
}

TEST(WindowsCatalogue, EveryLineParsesToTheSame) {
  for (const Signature& s : windows().all()) {
    const std::string line = fmt::format("module {}\n{}: {}", s.module, s.category, to_text(s));
    const Result<ParsedFile> parsed = parse_api_file(line, "x");
    ASSERT_TRUE(parsed) << line << ": " << parsed.error().message;
    EXPECT_EQ(parsed->functions.at(0), s) << line;
  }
}

/// What people wrote is held against what the headers say, wherever they say something.
TEST(WindowsCatalogue, WrittenFunctionsHaveTheHeadersParameters) {
  std::size_t compared = 0;
  for (const Signature& s : windows().all()) {
    const Signature* header = generated().find(s.module, s.name);
    if (!header || *header == s) continue;
    ++compared;
    ASSERT_EQ(s.parameters.size(), header->parameters.size()) << s.name;
    for (std::size_t i = 0; i < s.parameters.size(); ++i)
      EXPECT_EQ(s.parameters[i].type.size, header->parameters[i].type.size)
          << s.name << ": " << s.parameters[i].name;
  }
  EXPECT_GE(compared, 40u);
}

TEST(WindowsCatalogue, WrittenStructuresHaveTheHeadersOffsets) {
  std::size_t compared = 0;
  for (const auto& [name, layout] : windows().vocabulary().structures) {
    const StructureLayout* header = generated().vocabulary().find_structure(name);
    if (!header || *header == layout) continue;
    ++compared;
    EXPECT_EQ(layout.size, header->size) << name;
    for (const StructureField& field : layout.fields) {
      const StructureField* known = generated().vocabulary().find_field(name, field.name);
      if (known) {
        EXPECT_EQ(field.offset, known->offset) << name << "." << field.name;
      }
    }
  }
  EXPECT_GE(compared, 8u);
}

TEST(WindowsCatalogue, KnowsNamesOfErrors) {
  const auto name = [](const char* set, std::uint64_t value) {
    const ValueSet* found = windows().vocabulary().find_set(set);
    return found ? std::string(enumerator(*found, value)) : std::string("no set");
  };
  EXPECT_EQ(name("ntstatus_names", 0), "STATUS_SUCCESS");
  EXPECT_EQ(name("ntstatus_names", 0xc0000034), "STATUS_OBJECT_NAME_NOT_FOUND");
  EXPECT_EQ(name("win32_error_names", 5), "ERROR_ACCESS_DENIED");
  EXPECT_EQ(name("win32_error_names", 10061), "WSAECONNREFUSED");
  EXPECT_EQ(name("win32_error_names", 12007), "ERROR_INTERNET_NAME_NOT_RESOLVED");
  EXPECT_EQ(name("hresult_names", 0x80004005), "E_FAIL");
  EXPECT_EQ(name("hresult_names", 1), "S_FALSE");
  EXPECT_EQ(name("predefined_keys", 0xffffffff80000002), "HKEY_LOCAL_MACHINE");
}

TEST(WindowsCall, CreateFile) {
  const auto create = [] {
    Call call("kernel32", "CreateFileW", {kAt, 0xc0000000, 3, 0, 3, 0x04000080, 0});
    call.data("lpFileName", FieldKind::utf16, utf16("C:\\a.txt"));
    return call;
  };
  EXPECT_EQ(to_text(create().returns(0x54)),
            "CreateFileW(\"C:\\\\a.txt\", GENERIC_READ|GENERIC_WRITE, FILE_SHARE_READ|"
            "FILE_SHARE_WRITE, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL|"
            "FILE_FLAG_DELETE_ON_CLOSE, NULL) = 0x54");
  const ApiCall failed = create().returns(~0ull, 2);
  EXPECT_TRUE(failed.failed);
  EXPECT_EQ(failed.error_name, "ERROR_FILE_NOT_FOUND");
  EXPECT_THAT(to_text(failed), HasSubstr(") = INVALID_HANDLE_VALUE ERROR_FILE_NOT_FOUND"));
  EXPECT_THAT(create().returns(~0ull).incomplete, Contains("the last error was not read"));
}

TEST(WindowsCall, NtCreateFileFollowsTheName) {
  const std::string attributes = packed(std::uint64_t{48}, std::uint64_t{0}, kAt + 0x100,
                                        std::uint64_t{0x40}, std::uint64_t{}, std::uint64_t{});
  const std::string name = packed(std::uint64_t{0x00180016}, kAt + 0x200);
  const auto create = [&] {
    Call call("ntdll", "NtCreateFile",
              {kAt, 0x100080, kAt + 8, kAt + 16, 0, 0x80, 1, 1, 0x20, 0, 0});
    call.data("FileHandle", FieldKind::bytes, packed(std::uint64_t{0x1c}))
        .data("ObjectAttributes", FieldKind::bytes, attributes)
        .data("IoStatusBlock", FieldKind::bytes, packed(std::uint64_t{0}, std::uint64_t{1}))
        .nested("ObjectAttributes", "ObjectName", FieldKind::bytes, name)
        .nested("ObjectAttributes", "ObjectName", FieldKind::utf16, utf16("\\??\\C:\\a.b"));
    return call;
  };
  const ApiCall call = create().returns(0);
  EXPECT_EQ(to_text(call),
            "NtCreateFile([0x1c], FILE_READ_ATTRIBUTES|SYNCHRONIZE, {RootDirectory=NULL, "
            "ObjectName=\"\\\\??\\\\C:\\\\a.b\", Attributes=OBJ_CASE_INSENSITIVE}, "
            "{Status=STATUS_SUCCESS, Information=1}, NULL, FILE_ATTRIBUTE_NORMAL, FILE_SHARE_READ, "
            "FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0) = STATUS_SUCCESS");
  ASSERT_EQ(call.arguments[2].nested.size(), 2u);
  EXPECT_EQ(call.arguments[2].nested[1].path, "ObjectName");
  EXPECT_EQ(call.arguments[2].nested[1].data, "\\??\\C:\\a.b");

  const ApiCall failed = create().returns(0xffffffffc0000034);
  EXPECT_TRUE(failed.failed);
  EXPECT_EQ(failed.error, 0xc0000034);
  EXPECT_THAT(to_text(failed), HasSubstr(") = 0xc0000034 STATUS_OBJECT_NAME_NOT_FOUND"));
  EXPECT_THAT(to_text(failed), StartsWith("NtCreateFile(0x70000000,")) << "not filled";
}

TEST(WindowsCall, PointersThatWereNotCapturedAreAddresses) {
  Call call("ntdll", "NtOpenKey", {kAt, 0x20019, kAt});
  call.data("ObjectAttributes", FieldKind::bytes,
            packed(std::uint64_t{48}, std::uint64_t{8}, std::uint64_t{0x123}, std::uint64_t{0},
                   std::uint64_t{}, std::uint64_t{}));
  EXPECT_THAT(to_text(call.returns(0)), HasSubstr("{RootDirectory=0x8, ObjectName=0x123, "));
}

TEST(WindowsCall, RegistryValuesAreShownByTheirType) {
  const auto set = [](std::uint64_t type, std::string_view bytes) {
    Call call("advapi32", "RegSetValueExW",
              {0xffffffff80000001, kAt, 0, type, kAt + 0x100, bytes.size()});
    call.data("lpValueName", FieldKind::utf16, utf16("Run"))
        .data("lpData", FieldKind::bytes, bytes);
    return call.returns(0);
  };
  EXPECT_EQ(to_text(set(1, utf16(std::string_view("C:\\x.exe\0", 9)))),
            "RegSetValueExW(HKEY_CURRENT_USER, \"Run\", 0, REG_SZ, \"C:\\\\x.exe\", 18) = "
            "ERROR_SUCCESS");
  EXPECT_EQ(set(1, utf16("x")).arguments[4].value, StructuredValue(std::string("x")));
  EXPECT_EQ(set(4, packed(std::uint32_t{7})).arguments[4].text, "0x7");
  EXPECT_EQ(set(4, "abc").arguments[4].text, "\"abc\"") << "a REG_DWORD of three bytes";
  EXPECT_EQ(set(11, packed(std::uint64_t{1} << 40)).arguments[4].text, "0x10000000000");
  EXPECT_EQ(set(7, utf16(std::string_view("a\0b\0\0", 5))).arguments[4].text, "[\"a\", \"b\"]");
  EXPECT_EQ(set(3, std::string_view("\1\2", 2)).arguments[4].text, "\"\\x01\\x02\"");

  Call query("advapi32", "RegQueryValueExW", {0x40, kAt, 0, kAt + 8, kAt + 16, kAt + 24});
  query.data("lpValueName", FieldKind::utf16, utf16("n"))
      .data("lpType", FieldKind::bytes, packed(std::uint32_t{1}))
      .data("lpData", FieldKind::bytes, utf16("value"))
      .data("lpcbData", FieldKind::bytes, packed(std::uint32_t{10}));
  EXPECT_EQ(to_text(query.returns(0)),
            "RegQueryValueExW(0x40, \"n\", NULL, [REG_SZ], \"value\", [10]) = ERROR_SUCCESS");
  EXPECT_EQ(to_text(Call("advapi32", "RegQueryValueExW", {0x40, 0, 0, 0, 0, 0}).returns(2)),
            "RegQueryValueExW(0x40, NULL, NULL, NULL, NULL, NULL) = 2 ERROR_FILE_NOT_FOUND");
}

TEST(WindowsCall, SocketAddresses) {
  const auto connect = [](std::string_view address) {
    Call call("ws2_32", "connect", {0x90, kAt, address.size()});
    call.data("name", FieldKind::bytes, address);
    return call;
  };
  const std::string v4("\x02\0\x01\xbb\x0a\0\0\x01\0\0\0\0\0\0\0\0", 16);
  EXPECT_EQ(to_text(connect(v4).returns(0)), "connect(0x90, 10.0.0.1:443, 16) = 0");
  EXPECT_EQ(to_text(connect(v4).returns(0xffffffff, 10061)),
            "connect(0x90, 10.0.0.1:443, 16) = -1 WSAECONNREFUSED");
  std::string v6(28, '\0');
  v6[0] = 23;
  v6[3] = 80;
  v6[23] = 1;
  EXPECT_EQ(to_text(connect(v6).returns(0)), "connect(0x90, [::1]:80, 28) = 0");
}

TEST(WindowsCall, CreateProcess) {
  std::string startup(104, '\0');
  startup[60] = 1;
  startup[64] = 5;
  Call call("kernel32", "CreateProcessW", {0, kAt, 0, 0, 0, 4, 0, 0, kAt + 0x100, kAt + 0x200});
  call.data("lpCommandLine", FieldKind::utf16, utf16("x.exe -q"))
      .data("lpStartupInfo", FieldKind::bytes, startup)
      .data(
          "lpProcessInformation", FieldKind::bytes,
          packed(std::uint64_t{0x10}, std::uint64_t{0x14}, std::uint32_t{300}, std::uint32_t{304}));
  EXPECT_EQ(to_text(call.returns(1)),
            "CreateProcessW(NULL, \"x.exe -q\", NULL, NULL, false, CREATE_SUSPENDED, NULL, NULL, "
            "{lpDesktop=NULL, lpTitle=NULL, dwFlags=STARTF_USESHOWWINDOW, wShowWindow=SW_SHOW, "
            "hStdInput=NULL, hStdOutput=NULL, hStdError=NULL}, {hProcess=0x10, hThread=0x14, "
            "dwProcessId=300, dwThreadId=304}) = true");
}

TEST(WindowsCall, SizesBehindPointersCutBuffers) {
  Call call("kernel32", "ReadFile", {0x20, kAt, 4096, kAt + 8, 0});
  call.data("lpBuffer", FieldKind::bytes, "hello")
      .data("lpNumberOfBytesRead", FieldKind::bytes, packed(std::uint32_t{5}));
  EXPECT_EQ(to_text(call.returns(1)), "ReadFile(0x20, \"hello\", 4096, [5], NULL) = true");

  Call short_one("ntdll", "NtReadFile", {0x20, 0, 0, 0, kAt, kAt + 16, 4096, 0, 0});
  short_one.data("IoStatusBlock", FieldKind::bytes, packed(std::uint64_t{0}, std::uint64_t{8}))
      .data("Buffer", FieldKind::bytes, "hello");
  EXPECT_THAT(to_text(short_one.returns(0)), HasSubstr("\"hello\"..., 4096")) << "8 were read";
}

TEST(WindowsCall, HresultsOfWin32Errors) {
  const ApiCall call = Call("ole32", "CoInitializeEx", {0, 2}).returns(0x80070002);
  EXPECT_EQ(to_text(call),
            "CoInitializeEx(NULL, COINIT_APARTMENTTHREADED) = 0x80070002 ERROR_FILE_NOT_FOUND");
  EXPECT_EQ(to_text(Call("ole32", "CoInitializeEx", {0, 0}).returns(1)),
            "CoInitializeEx(NULL, COINIT_MULTITHREADED) = S_FALSE");
  EXPECT_EQ(Call("ole32", "CoInitializeEx", {0, 0}).returns(0xfedcba98).error_name, "0xfedcba98");
}

TEST(WindowsCall, PseudoHandles) {
  EXPECT_THAT(to_text(Call("ntdll", "NtTerminateProcess", {~0ull, 0}).returns(0)),
              StartsWith("NtTerminateProcess(-1, "));
}

TEST(WindowsValues, Text) {
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  EXPECT_EQ(
      guid_text(bytes({"\x40\xfc\x29\x6b\x47\xca\x67\x10\xb3\x1d\0\xdd\x01\x06\x62\xda", 16})),
      "{6B29FC40-CA47-1067-B31D-00DD010662DA}");
  EXPECT_EQ(guid_text(bytes("short")), "");
  EXPECT_EQ(sid_text(bytes({"\1\1\0\0\0\0\0\5\x12\0\0\0", 12})), "S-1-5-18");
  EXPECT_EQ(sid_text(bytes({"\1\2\0\0\0\0\0\5\x12\0\0\0", 12})), "") << "a part is missing";
  EXPECT_EQ(sid_text(bytes({"\1\xff\0\0\0\0\0\5", 8})), "");
  EXPECT_EQ(sid_text(bytes({"\2\0\0\0\0\0\0\5", 8})), "");
  EXPECT_EQ(sid_text({}), "");
  EXPECT_EQ(filetime_text(0), "0");
  EXPECT_EQ(filetime_text(133590384001234567), "2024-05-01T12:00:00.1234567Z");
  EXPECT_EQ(filetime_text(static_cast<std::uint64_t>(-10'000'000)), "-10000000");
  EXPECT_EQ(utf8_of_utf16(bytes({"a\0\x3d\xd8\x0a\xde\x3d\xd8x", 9})),
            "a\xf0\x9f\x98\x8a\xef\xbf\xbd");
}

}  // namespace
}  // namespace glasshook::api
