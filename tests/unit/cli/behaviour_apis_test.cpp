// What behaviour families ask for is in the catalogue, with the parameters they look at.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "api/catalogue.h"
#include "behaviour/family.h"
#include "hook/selector.h"
#include "monitor/family_apis.h"
#include "source_root.h"

namespace glasshook::cli {
namespace {

const api::ApiCatalogue& catalogue() {
  static const auto loaded = [] {
    const std::filesystem::path directories[] = {test::source_root() / "apis" / "windows",
                                                 GLASSHOOK_WINDOWS_APIS};
    return api::ApiCatalogue::load(directories).value();
  }();
  return loaded;
}

TEST(BehaviourApis, AllHaveSignatures) {
  const api::ApiCatalogue linux;
  monitor::FamilyApis apis;
  for (const auto& family : behaviour::make_families())
    EXPECT_EQ(apis.add(*family, {linux, &catalogue()}), std::vector<std::string>{})
        << family->name();
  EXPECT_GE(apis.selection().apis.size(), 20u);
  // But for functions of modules that nobody describes.
  for (const hook::SelectedExport& selected : apis.selection().exports)
    EXPECT_EQ(selected.given, "ntdll.so") << selected.function;
}

void expect_in(std::string_view module, std::string_view function,
               std::initializer_list<std::string_view> names) {
  const api::Signature* signature = catalogue().find(module, function);
  ASSERT_NE(signature, nullptr) << function;
  for (const std::string_view name : names)
    EXPECT_NE(std::ranges::find(signature->parameters, name, &api::Parameter::name),
              signature->parameters.end())
        << function << " " << name;
}

void expect(std::string_view function, std::initializer_list<std::string_view> names) {
  expect_in("ntdll", function, names);
}

TEST(BehaviourApis, HaveTheParametersThatFamiliesLookAt) {
  expect("NtCreateFile",
         {"FileHandle", "DesiredAccess", "ObjectAttributes", "IoStatusBlock", "CreateOptions"});
  expect("NtOpenFile",
         {"FileHandle", "DesiredAccess", "ObjectAttributes", "IoStatusBlock", "OpenOptions"});
  for (const char* name : {"NtReadFile", "NtWriteFile", "NtReadFileScatter", "NtWriteFileGather"})
    expect(name, {"FileHandle", "IoStatusBlock", "Length"});
  expect("NtDeleteFile", {"ObjectAttributes"});
  expect("NtQueryDirectoryFile", {"FileHandle", "FileName"});
  expect("NtSetInformationFile", {"FileHandle", "FileInformation", "FileInformationClass"});
  for (const char* name : {"NtCreateKey", "NtCreateKeyTransacted"})
    expect(name, {"KeyHandle", "ObjectAttributes", "Disposition"});
  for (const char* name :
       {"NtOpenKey", "NtOpenKeyEx", "NtOpenKeyTransacted", "NtOpenKeyTransactedEx"})
    expect(name, {"KeyHandle", "ObjectAttributes"});
  expect("NtRenameKey", {"KeyHandle", "NewName"});
  expect("NtSetValueKey", {"KeyHandle", "ValueName", "Type", "Data", "DataSize"});
  expect("NtQueryValueKey",
         {"KeyHandle", "ValueName", "KeyValueInformationClass", "KeyValueInformation"});
  expect("NtEnumerateValueKey", {"KeyHandle", "KeyValueInformationClass", "KeyValueInformation"});
  expect("NtDeleteValueKey", {"KeyHandle", "ValueName"});
  expect("NtClose", {"Handle"});
  expect("NtDuplicateObject", {"SourceProcessHandle", "SourceHandle", "TargetProcessHandle",
                               "TargetHandle", "HandleAttributes", "Options"});
  expect("NtSetInformationObject", {"Handle", "ObjectInformationClass", "ObjectInformation"});
  expect("NtCreateUserProcess",
         {"ProcessHandle", "ThreadHandle", "ProcessFlags", "ThreadFlags", "ProcessParameters"});
}

TEST(BehaviourApis, HaveTheParametersOfProcessesAndThreads) {
  expect_in("kernel32", "CreateProcessInternalW",
            {"lpApplicationName", "lpCommandLine", "dwCreationFlags", "lpProcessInformation"});
  expect("NtOpenProcess", {"ProcessHandle", "DesiredAccess", "ClientId"});
  expect("NtOpenThread", {"ThreadHandle", "ClientId"});
  expect("NtTerminateProcess", {"ProcessHandle", "ExitStatus"});
  expect("NtAllocateVirtualMemory", {"ProcessHandle", "BaseAddress", "RegionSize", "Protect"});
  expect("NtAllocateVirtualMemoryEx",
         {"ProcessHandle", "BaseAddress", "RegionSize", "PageProtection"});
  expect("NtWriteVirtualMemory", {"ProcessHandle", "BaseAddress", "Buffer", "NumberOfBytesToWrite",
                                  "NumberOfBytesWritten"});
  expect("NtProtectVirtualMemory", {"ProcessHandle", "BaseAddress", "RegionSize", "NewProtection"});
  expect("NtCreateSection", {"SectionHandle", "AllocationAttributes", "FileHandle"});
  expect("NtMapViewOfSection",
         {"SectionHandle", "ProcessHandle", "BaseAddress", "ViewSize", "Win32Protect"});
  expect("NtMapViewOfSectionEx",
         {"SectionHandle", "ProcessHandle", "BaseAddress", "ViewSize", "PageProtection"});
  for (const char* name : {"NtUnmapViewOfSection", "NtUnmapViewOfSectionEx"})
    expect(name, {"ProcessHandle", "BaseAddress"});
  expect("NtCreateThreadEx", {"ThreadHandle", "ProcessHandle", "StartRoutine"});
  expect("NtCreateThread", {"ThreadHandle", "ProcessHandle"});
  expect("NtQueueApcThread",
         {"ThreadHandle", "ApcRoutine", "ApcArgument1", "ApcArgument2", "ApcArgument3"});
  expect("NtSetContextThread", {"ThreadHandle", "ThreadContext"});
  for (const char* name : {"NtSuspendThread", "NtResumeThread"}) expect(name, {"ThreadHandle"});
  for (const char* name : {"NtSuspendProcess", "NtResumeProcess"}) expect(name, {"ProcessHandle"});
  expect("NtDelayExecution", {"DelayInterval"});
}

TEST(BehaviourApis, HaveTheParametersOfServicesAndRequests) {
  expect_in("advapi32", "CreateServiceW",
            {"lpServiceName", "lpDisplayName", "dwServiceType", "dwStartType", "lpBinaryPathName",
             "lpServiceStartName"});
  expect_in("advapi32", "OpenServiceW", {"lpServiceName"});
  for (const char* name : {"StartServiceW", "DeleteService"})
    expect_in("advapi32", name, {"hService"});
  expect_in("advapi32", "ControlService", {"hService", "dwControl"});
  expect_in("advapi32", "CloseServiceHandle", {"hSCObject"});
  expect_in("ws2_32", "getaddrinfo", {"nodename"});
  expect_in("ws2_32", "GetAddrInfoW", {"pNodeName"});
  expect_in("ws2_32", "GetAddrInfoExW", {"pName"});
  expect_in("ws2_32", "gethostbyname", {"name"});
  expect_in("dnsapi", "DnsQuery_W", {"pszName"});
  expect_in("wininet", "InternetConnectW", {"lpszServerName", "nServerPort"});
  expect_in("wininet", "HttpOpenRequestW", {"hConnect", "lpszVerb", "lpszObjectName", "dwFlags"});
  for (const char* name : {"HttpSendRequestW", "HttpSendRequestExW"})
    expect_in("wininet", name, {"hRequest"});
  expect_in("wininet", "InternetOpenUrlW", {"lpszUrl"});
  expect_in("winhttp", "WinHttpConnect", {"pswzServerName", "nServerPort"});
  expect_in("winhttp", "WinHttpOpenRequest", {"hConnect", "pwszVerb", "pwszObjectName", "dwFlags"});
  expect_in("winhttp", "WinHttpSendRequest", {"hRequest"});
  for (const char* name : {"SetWindowsHookExA", "SetWindowsHookExW"})
    expect_in("user32", name, {"idHook"});
  for (const char* name : {"GetClipboardData", "SetClipboardData"})
    expect_in("user32", name, {"uFormat"});
  for (const char* name : {"CryptGenKey", "CryptDeriveKey"})
    expect_in("advapi32", name, {"Algid", "dwFlags"});
  expect_in("bcrypt", "BCryptOpenAlgorithmProvider", {"phAlgorithm", "pszAlgId"});
  expect_in("bcrypt", "BCryptGenerateSymmetricKey", {"hAlgorithm", "cbSecret"});
  expect_in("bcrypt", "BCryptGenerateKeyPair", {"hAlgorithm", "dwLength"});
}

}  // namespace
}  // namespace glasshook::cli
