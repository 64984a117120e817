// The families of Windows processes and of what they do to each other.
#include <gmock/gmock.h>

#include <limits>
#include <random>

#include "behaviour/fake_guest.h"
#include "behaviour/windows/injection_story.h"
#include "behaviour/windows/target.h"

namespace glasshook::behaviour::windows {
namespace {

using namespace behaviour::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kSelf = ~std::uint64_t{0};

std::string process_information(std::uint64_t process, std::uint64_t thread, std::uint64_t pid,
                                std::uint64_t tid) {
  return bytes_of(process) + bytes_of(thread) + bytes_of(pid, 4) + bytes_of(tid, 4);
}

/// A CONTEXT with these registers.
std::string thread_context(std::uint64_t rcx, std::uint64_t rip) {
  std::string context(256, '\0');
  context.replace(128, 8, bytes_of(rcx));
  context.replace(248, 8, bytes_of(rip));
  return context;
}

class Injection : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kProcess = 0x40, kThread = 0x44;

  /// A child with Win32 id 300, thread 304.
  void create(std::uint64_t flags) {
    guest.user_call("NtCreateUserProcess", caller,
                    {{"ProcessHandle", 1, bytes_of(kProcess)},
                     {"ThreadHandle", 1, bytes_of(kThread)},
                     {"ProcessParameters", 1, "x", {{"ImagePathName", "\\??\\C:\\child.exe"}}}});
    ++caller.call;
    guest.user_call("CreateProcessInternalW", caller,
                    {{"dwCreationFlags", flags},
                     {"lpProcessInformation", 1, process_information(kProcess, kThread, 300, 304)}},
                    1);
    ++caller.call;
    guest.events.clear();
  }
  void write(std::uint64_t address, std::string bytes) {
    const std::uint64_t size = bytes.size();
    call("NtWriteVirtualMemory", {{"ProcessHandle", kProcess},
                                  {"BaseAddress", address},
                                  {"Buffer", 1, std::move(bytes)},
                                  {"NumberOfBytesToWrite", size}});
  }
  void call(std::string_view function, const std::vector<Argument>& arguments,
            std::uint64_t result = 0) {
    guest.user_call(function, caller, arguments, result);
    ++caller.call;
  }
  /// The story among the events, which are forgotten.
  Event story() {
    Event found;
    for (Event& event : guest.events)
      if (event.action == "process_injected") found = std::move(event);
    guest.events.clear();
    return found;
  }

  FakeGuest guest{"windows-injection"};
  Caller caller{.process = make_process(10), .win32_process_id = 200};
};

TEST_F(Injection, AThreadInMemoryThatWasWritten) {
  create(0);
  call("NtAllocateVirtualMemory", {{"ProcessHandle", kProcess},
                                   {"BaseAddress", 1, bytes_of(0x340000)},
                                   {"RegionSize", 1, bytes_of(4096)},
                                   {"Protect", 4}});
  const Event allocated = guest.only();
  EXPECT_EQ(allocated.action, "process_memory_allocated");
  EXPECT_EQ(text_of(allocated, "glasshook.target.windows_process_id"), "300");
  EXPECT_EQ(text_of(allocated, "glasshook.target.executable"), "C:\\child.exe");
  EXPECT_EQ(text_of(allocated, "glasshook.target.name"), "child.exe");
  EXPECT_EQ(text_of(allocated, "glasshook.address"), "0x340000");
  write(0x340010, "code");
  call("NtCreateThreadEx", {{"ThreadHandle", 1, bytes_of(0x48)},
                            {"ProcessHandle", kProcess},
                            {"StartRoutine", 0x340010}});
  const Event told = story();
  EXPECT_EQ(text_of(told, "glasshook.injection.method"), "remote thread");
  EXPECT_EQ(text_of(told, "threat.technique.id"), "T1055.002");
  EXPECT_EQ(text_of(told, "glasshook.injection.start"), "0x340010");
  EXPECT_EQ(text_of(told, "glasshook.injection.steps"),
            "allocated memory,wrote memory,created thread");
  EXPECT_EQ(text_of(told, "glasshook.bytes"), "4");
  // Its first resume belongs to its making.
  call("NtResumeThread", {{"ThreadHandle", 0x48}});
  EXPECT_THAT(guest.actions(), IsEmpty());
  // Another thread tells nothing new, unless something was written since.
  call("NtCreateThreadEx", {{"ThreadHandle", 1, bytes_of(0x4c)}, {"ProcessHandle", kProcess}});
  EXPECT_THAT(guest.actions(), ElementsAre("process_thread_created"));
}

TEST_F(Injection, ALibraryIsOneOnlyWhenTheTargetsOwnCodeLoadsIt) {
  create(0);
  write(0x340000, wide("C:\\x.DLL") + std::string(2, '\0'));
  call(
      "NtCreateThreadEx",
      {{"ThreadHandle", 1, bytes_of(0x48)}, {"ProcessHandle", kProcess}, {"StartRoutine", 0x7b00}});
  Event told = story();
  EXPECT_EQ(text_of(told, "glasshook.injection.method"), "dll injection");
  EXPECT_EQ(text_of(told, "threat.technique.id"), "T1055.001");
  EXPECT_EQ(text_of(told, "glasshook.injection.library"), "C:\\x.DLL");
  write(0x350000, "code");
  call("NtCreateThreadEx", {{"ThreadHandle", 1, bytes_of(0x4c)},
                            {"ProcessHandle", kProcess},
                            {"StartRoutine", 0x350000}});
  told = story();
  EXPECT_EQ(text_of(told, "glasshook.injection.method"), "remote thread");
}

TEST_F(Injection, HollowingIsToldWhenTheProcessGoesOn) {
  create(4);
  write(0x340000, "code");
  call("NtSetContextThread",
       {{"ThreadHandle", kThread}, {"ThreadContext", 1, thread_context(0x340000, 0x17005dc20)}});
  EXPECT_EQ(text_of(guest.events.back(), "glasshook.address"), "0x340000");
  EXPECT_EQ(story().action, "") << "it does not run yet";
  call("NtResumeThread", {{"ThreadHandle", kThread}});
  const Event told = story();
  EXPECT_EQ(text_of(told, "glasshook.injection.method"), "process hollowing");
  EXPECT_EQ(text_of(told, "glasshook.injection.start"), "0x340000");
  EXPECT_EQ(text_of(told, "glasshook.injection.steps"),
            "created suspended,wrote memory,set thread context,resumed thread");
}

TEST_F(Injection, OverwrittenEntryOfASuspendedProcess) {
  create(4);
  write(0x140001000, "code");
  call("NtResumeThread", {{"ThreadHandle", kThread}});
  const Event told = story();
  EXPECT_EQ(text_of(told, "threat.technique.id"), "T1055.012");
  EXPECT_EQ(told.find("glasshook.injection.start"), nullptr);
}

TEST_F(Injection, OneselfIsNoTarget) {
  create(0);
  for (const std::uint64_t handle : {kSelf, std::uint64_t{0x50}}) {
    if (handle != kSelf)
      call("NtOpenProcess",
           {{"ProcessHandle", 1, bytes_of(handle)}, {"ClientId", 1, bytes_of(200) + bytes_of(0)}});
    call("NtAllocateVirtualMemory", {{"ProcessHandle", handle}, {"Protect", 0x40}});
    call("NtProtectVirtualMemory", {{"ProcessHandle", handle}, {"NewProtection", 0x40}});
    call("NtWriteVirtualMemory", {{"ProcessHandle", handle}, {"NumberOfBytesToWrite", 4}});
    call("NtCreateThreadEx", {{"ThreadHandle", 1, bytes_of(0x60)}, {"ProcessHandle", handle}});
    call("NtSuspendThread", {{"ThreadHandle", 0x60}});
  }
  EXPECT_THAT(guest.actions(), IsEmpty());
  // A real handle made of the pseudo handle is still oneself.
  call("NtDuplicateObject", {{"SourceProcessHandle", kSelf},
                             {"SourceHandle", kSelf},
                             {"TargetProcessHandle", kSelf},
                             {"TargetHandle", 1, bytes_of(0x70)}});
  call("NtWriteVirtualMemory", {{"ProcessHandle", 0x70}, {"NumberOfBytesToWrite", 4}});
  EXPECT_THAT(guest.actions(), IsEmpty());
}

TEST_F(Injection, AnUnknownHandleIsSaidToBeUnknown) {
  write(0x1000, "code");
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.handle.unresolved"), "true");
  EXPECT_EQ(text_of(event, "glasshook.handle.value"), "0x40");
  EXPECT_EQ(event.find("glasshook.target.windows_process_id"), nullptr);
}

TEST_F(Injection, FurtherWritesAreAddedUp) {
  create(0);
  for (std::uint64_t i = 0; i < 100; ++i) write(0x340000 + 8 * i, "12345678");
  EXPECT_THAT(guest.actions(), ElementsAre("process_memory_written"));
  guest.family().on_process_exit(caller.process, guest);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.operations"), "99");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "792");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x340008");
  guest.family().on_end(guest);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST_F(Injection, HandlesIntoAndOutOfOthers) {
  create(0);
  call("NtDuplicateObject", {{"SourceProcessHandle", kSelf},
                             {"SourceHandle", kThread},
                             {"TargetProcessHandle", kProcess},
                             {"TargetHandle", 1, bytes_of(0x10)}});
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.duplicate.direction"), "into");
  EXPECT_EQ(text_of(event, "glasshook.duplicate.type"), "thread");
  call("NtDuplicateObject", {{"SourceProcessHandle", kProcess},
                             {"SourceHandle", 8},
                             {"TargetProcessHandle", kSelf},
                             {"TargetHandle", 1, bytes_of(0x14)}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.duplicate.direction"), "out_of");
}

TEST(InjectionStory, RangesThatWrapAndContentThatIsNoText) {
  InjectionStory story;
  story.add_memory(~std::uint64_t{0} - 4, 100);
  story.add_memory(0x1000, 0);
  EXPECT_TRUE(story.has_memory_at(~std::uint64_t{0} - 1));
  EXPECT_FALSE(story.has_memory_at(2));
  EXPECT_FALSE(story.has_memory_at(0x1000));
  story.add_content("");
  story.add_content(".dll");
  story.add_content(std::string("\xff\xfe.dll", 6));
  story.add_content(std::string("a\0", 2));
  EXPECT_EQ(story.library(), "");
  story.add_content("x.dLl");
  story.add_content("y.dll");
  EXPECT_EQ(story.library(), "x.dLl");
  for (std::uint64_t i = 0; i < 10'000; ++i) story.add_memory(i << 20, 16);
  story.add_written(1, ~std::uint64_t{0});
}

TEST(ProcessFamily, CreationIsToldOnceWithWhatBothCallsKnow) {
  FakeGuest guest("windows-process");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  caller.call = 1;
  guest.user_call_entered("CreateProcessInternalW", caller, {});
  caller.call = 2;
  guest.user_call("NtCreateUserProcess", caller,
                  {{"ProcessHandle", 1, bytes_of(0x40)},
                   {"ProcessParameters",
                    1,
                    "x",
                    {{"ImagePathName", "\\??\\C:\\a.exe"}, {"CommandLine", "a.exe /x"}}}});
  EXPECT_THAT(guest.events, IsEmpty());
  caller.call = 1;
  guest.user_call("CreateProcessInternalW", caller,
                  {{"dwCreationFlags", 4},
                   {"lpCommandLine", 1, "a.exe"},
                   {"lpProcessInformation", 1, process_information(0x40, 0x44, 300, 304)}},
                  1);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "process_created");
  EXPECT_EQ(text_of(event, "glasshook.target.windows_process_id"), "300");
  EXPECT_EQ(text_of(event, "glasshook.target.executable"), "C:\\a.exe");
  EXPECT_EQ(text_of(event, "glasshook.target.command_line"), "a.exe /x");
  EXPECT_EQ(text_of(event, "glasshook.create.flags"), "0x4");
  // Without CreateProcess it is told with what is known.
  caller.call = 3;
  guest.user_call("NtCreateUserProcess", caller,
                  {{"ProcessHandle", 1, bytes_of(0x50)},
                   {"ProcessParameters", 1, "x", {{"ImagePathName", "\\??\\C:\\b.exe"}}}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.target.executable"), "C:\\b.exe");
}

TEST(ProcessFamily, OpensAreToldOnceForEachAccess) {
  FakeGuest guest("windows-process");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto open = [&](std::uint64_t pid, std::uint64_t access) {
    ++caller.call;
    guest.user_call("NtOpenProcess", caller,
                    {{"ProcessHandle", 1, bytes_of(0x40 + 4 * caller.call)},
                     {"DesiredAccess", access},
                     {"ClientId", 1, bytes_of(pid) + bytes_of(0)}});
  };
  open(300, 0x10);
  EXPECT_EQ(text_of(guest.only(), "glasshook.access"), "0x10");
  open(300, 0x10);
  open(200, 0x10);
  EXPECT_THAT(guest.events, IsEmpty());
  open(300, 0x20);
  open(301, 0x10);
  EXPECT_EQ(guest.events.size(), 2u);
}

TEST(ProcessFamily, EndsOfItselfAndOfOthers) {
  FakeGuest guest("windows-process");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  guest.user_call_entered("NtTerminateProcess", caller,
                          {{"ProcessHandle", kSelf}, {"ExitStatus", 0xffffffff'c0000005}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.exit_status"), "3221225477");
  guest.unreturned_user_call("NtTerminateProcess", caller, {{"ProcessHandle", kSelf}});
  ++caller.call;
  guest.user_call("NtTerminateProcess", caller, {{"ProcessHandle", 0}, {"ExitStatus", 1}});
  EXPECT_THAT(guest.events, IsEmpty()) << "its other threads";
  ++caller.call;
  guest.user_call("NtTerminateProcess", caller, {{"ProcessHandle", 0x40}, {"ExitStatus", 1}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");
}

TEST(WindowsBypass, CodeOutsideOfEveryModuleIsToldOnceForEachPlace) {
  FakeGuest guest("windows-bypass");
  Caller caller{.process = make_process(10), .win32_process_id = 200, .address = 0x17000dbd0};
  const auto call = [&](std::uint64_t address) {
    caller.address = address;
    ++caller.call;
    guest.user_call("NtOpenFile", caller, {});
  };
  call(0x17000dbd0);
  call(0x17000dff0);
  EXPECT_THAT(guest.events, IsEmpty());
  EXPECT_EQ(guest.module_reads, 1) << "the page is known to be ntdll's";
  guest.windows_module = "";
  call(0x10adbd0);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "api_bypassed");
  EXPECT_EQ(text_of(event, "glasshook.bypass.origin"), "private_copy");
  EXPECT_EQ(text_of(event, "glasshook.bypass.function"), "ntdll!NtOpenFile");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x10adbd0");
  call(0x10adbd0);
  call(0x17000dbd0);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.windows_module = std::nullopt;
  call(0x20adbd0);
  call(0);
  EXPECT_THAT(guest.events, IsEmpty()) << "nothing is known of it";
  guest.windows_module = "";
  call(0x20adbd0);
  EXPECT_EQ(guest.events.size(), 1u);
}

TEST(WindowsModules, AreToldWhenTheLoaderMapsThem) {
  FakeGuest guest("windows-module");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto call = [&](std::string_view function, const std::vector<Argument>& arguments) {
    ++caller.call;
    guest.user_call(function, caller, arguments);
  };
  const auto load = [&](std::uint64_t protection, std::uint64_t process) {
    call("NtOpenFile",
         {{"FileHandle", 1, bytes_of(0x1c)},
          {"ObjectAttributes", 1, std::string(48, '\0'), {{"ObjectName", "\\??\\C:\\x.dll"}}}});
    call("NtCreateSection", {{"SectionHandle", 1, bytes_of(0x20)},
                             {"AllocationAttributes", 0x1000000},
                             {"FileHandle", 0x1c}});
    call("NtMapViewOfSection", {{"SectionHandle", 0x20},
                                {"ProcessHandle", process},
                                {"BaseAddress", 1, bytes_of(0x370000000)},
                                {"Win32Protect", protection}});
  };
  load(2, kSelf);
  load(0x20, 0x99);
  EXPECT_THAT(guest.events, IsEmpty()) << "for its resources, and into another process";
  load(0x20, kSelf);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "library_loaded");
  EXPECT_EQ(text_of(event, "dll.path"), "C:\\x.dll");
  EXPECT_EQ(text_of(event, "dll.name"), "x.dll");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x370000000");
  load(0x20, kSelf);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(WindowsServices, GoByTheNameOfTheirHandle) {
  FakeGuest guest("windows-service");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto call = [&](std::string_view function, const std::vector<Argument>& arguments,
                        std::uint64_t result = 1) {
    ++caller.call;
    guest.user_call(function, caller, arguments, result);
  };
  call("CreateServiceW",
       {{"lpServiceName", 1, "svc"}, {"lpBinaryPathName", 1, "C:\\svc.exe"}, {"dwStartType", 2}},
       0x1234);
  const Event created = guest.only();
  EXPECT_EQ(text_of(created, "service.name"), "svc");
  EXPECT_EQ(text_of(created, "glasshook.service.command_line"), "C:\\svc.exe");
  call("StartServiceW", {{"hService", 0x1234}});
  EXPECT_EQ(text_of(guest.only(), "service.name"), "svc");
  call("ControlService", {{"hService", 0x1234}, {"dwControl", 4}});
  EXPECT_THAT(guest.events, IsEmpty()) << "an inquiry";
  call("CloseServiceHandle", {{"hSCObject", 0x1234}});
  call("DeleteService", {{"hService", 0x1234}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.value"), "0x1234");
}

TEST(WindowsRequests, UrlsAreMadeOfWhatTheHandlesWereMadeWith) {
  FakeGuest guest("windows-request");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto call = [&](std::string_view function, const std::vector<Argument>& arguments,
                        std::uint64_t result = 1) {
    ++caller.call;
    guest.user_call(function, caller, arguments, result);
  };
  const auto sent = [&] {
    call("HttpSendRequestW", {{"hRequest", 3}});
    return text_of(guest.only(), "url.full");
  };
  call("InternetConnectW", {{"lpszServerName", 1, "x.example"}, {"nServerPort", 80}}, 2);
  call("HttpOpenRequestW", {{"hConnect", 2}, {"lpszVerb", 1, "POST"}, {"lpszObjectName", 1, "a"}},
       3);
  EXPECT_EQ(sent(), "http://x.example/a");
  call("HttpOpenRequestW", {{"hConnect", 2}, {"dwFlags", 0x800000}}, 3);
  EXPECT_EQ(sent(), "https://x.example:80/");
  call("HttpOpenRequestW", {{"hConnect", 9}, {"lpszObjectName", 1, "/b"}}, 3);
  EXPECT_EQ(sent(), "/b") << "the server is unknown";
  // WinHTTP numbers its handles by itself.
  call("WinHttpSendRequest", {{"hRequest", 3}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");
  // InternetOpenUrl sends a request of its own.
  guest.user_call_entered("InternetOpenUrlW", caller, {});
  call("HttpSendRequestW", {{"hRequest", 3}});
  call("InternetOpenUrlW", {{"lpszUrl", 1, "http://y.example/"}});
  EXPECT_EQ(text_of(guest.only(), "url.full"), "http://y.example/");
}

TEST(WindowsRequests, LookupsAreToldOnceAndNotOfAddresses) {
  FakeGuest guest("windows-request");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  for (const char* address : {"127.0.0.1", "::1", ""}) {
    guest.user_call_entered("getaddrinfo", caller, {});
    guest.user_call("getaddrinfo", caller, {{"nodename", 1, address}});
  }
  EXPECT_THAT(guest.events, IsEmpty());
  guest.user_call_entered("GetAddrInfoW", caller, {});
  guest.user_call_entered("getaddrinfo", caller, {});
  guest.user_call("getaddrinfo", caller, {{"nodename", 1, "x.example"}});
  guest.user_call("GetAddrInfoW", caller, {{"pNodeName", 1, "x.example"}}, 0x80000000);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "dns.question.name"), "x.example");
  EXPECT_EQ(text_of(event, "event.outcome"), "failure");
}

TEST(WindowsInput, TheFirstAtOnceAndHowManyAtTheEnd) {
  FakeGuest guest("windows-input");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto call = [&](std::string_view function, const std::vector<Argument>& arguments,
                        std::uint64_t result = 1) {
    ++caller.call;
    guest.user_call(function, caller, arguments, result);
  };
  for (int i = 0; i < 10; ++i) call("GetAsyncKeyState", {}, 0xffff8001);
  EXPECT_THAT(guest.actions(), ElementsAre("keyboard_watched"));
  call("SetWindowsHookExW", {{"idHook", 5}});
  EXPECT_THAT(guest.events, IsEmpty()) << "not of the keyboard";
  call("SetWindowsHookExW", {{"idHook", 13}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.method"), "SetWindowsHookExW");
  call("GetClipboardData", {{"uFormat", 13}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.clipboard.format"), "0xd");
  guest.family().on_process_exit(caller.process, guest);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.method"), "GetAsyncKeyState");
  EXPECT_EQ(text_of(event, "glasshook.operations"), "10");
}

TEST(WindowsTime, SleepsAndChecksAreAddedUp) {
  FakeGuest guest("windows-time");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  const auto sleep = [&](std::int64_t interval) {
    ++caller.call;
    guest.user_call("NtDelayExecution", caller,
                    {{"DelayInterval", 1, bytes_of(static_cast<std::uint64_t>(interval))}});
  };
  sleep(-5'000'000);
  sleep(-15'000'000);
  sleep(std::numeric_limits<std::int64_t>::min());
  sleep(123);
  for (int i = 0; i < 7; ++i) guest.user_call("GetTickCount", caller, {}, 5);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.family().on_process_exit(caller.process, guest);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.time.sleeps"), "4");
  EXPECT_EQ(text_of(event, "glasshook.time.slept_ms"), "2000");
  EXPECT_EQ(text_of(event, "glasshook.time.checks"), "7");
}

TEST(WindowsCrypto, KeysWithTheirAlgorithm) {
  FakeGuest guest("windows-crypto");
  Caller caller{.process = make_process(10), .win32_process_id = 200};
  guest.user_call("CryptGenKey", caller, {{"Algid", 0x6610}, {"dwFlags", 0x01000001}}, 1);
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.crypto.algorithm"), "0x6610");
  EXPECT_EQ(text_of(event, "glasshook.crypto.bits"), "256");
  ++caller.call;
  guest.user_call("BCryptOpenAlgorithmProvider", caller,
                  {{"phAlgorithm", 1, bytes_of(0x99)}, {"pszAlgId", 1, "AES"}});
  ++caller.call;
  guest.user_call("BCryptGenerateSymmetricKey", caller, {{"hAlgorithm", 0x99}, {"cbSecret", 16}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.crypto.algorithm"), "AES");
  EXPECT_EQ(text_of(event, "glasshook.crypto.bits"), "128");
}

/// Calls with no, short, and wild arguments, failed and lost ones, in any order.
TEST(WindowsFamilies, TrustNoCall) {
  constexpr std::string_view kNames[] = {"ProcessHandle",
                                         "ThreadHandle",
                                         "BaseAddress",
                                         "RegionSize",
                                         "NumberOfBytesToWrite",
                                         "NumberOfBytesWritten",
                                         "Buffer",
                                         "SectionHandle",
                                         "ViewSize",
                                         "SourceProcessHandle",
                                         "SourceHandle",
                                         "TargetProcessHandle",
                                         "TargetHandle",
                                         "ThreadContext",
                                         "ClientId",
                                         "lpProcessInformation",
                                         "ProcessParameters",
                                         "DesiredAccess",
                                         "NewProtection",
                                         "dwCreationFlags",
                                         "StartRoutine",
                                         "ApcRoutine",
                                         "ApcArgument1",
                                         "ExitStatus",
                                         "FileHandle",
                                         "ObjectAttributes",
                                         "lpServiceName",
                                         "lpBinaryPathName"};
  std::mt19937 random(7);
  for (const auto& named : make_families()) {
    if (named->platform() != Platform::windows) continue;
    FakeGuest guest(named->name());
    const auto apis = named->apis();
    for (int i = 0; i < 500; ++i) {
      const std::string& selector = apis[random() % apis.size()].selector;
      const std::string function = selector.substr(selector.find('!') + 1);
      Caller caller{.process = make_process(10 + random() % 3),
                    .call = random() % 64,
                    .win32_process_id = static_cast<std::uint32_t>(200 + random() % 3)};
      if (random() % 16 == 0) caller.process = nullptr;
      std::vector<Argument> arguments;
      for (const std::string_view name : kNames) {
        if (random() % 4 == 0) continue;
        const std::uint64_t raw = random() % 2 != 0 ? random() % 80 : ~std::uint64_t{random() % 4};
        std::string data(random() % 3 == 0 ? random() % 300 : random() % 17, '\0');
        for (char& c : data) c = static_cast<char>(random() % 3 == 0 ? random() : random() % 80);
        arguments.push_back({std::string(name), raw, std::move(data)});
        if (random() % 4 == 0) arguments.back().nested = {{"ObjectName", "\\\xff\\x"}};
      }
      switch (random() % 4) {
        case 0:
          guest.user_call_entered(function, caller, arguments);
          break;
        case 1:
          guest.unreturned_user_call(function, caller, arguments);
          break;
        default:
          guest.user_call(function, caller, arguments, random() % 5 == 0 ? 0xc0000005 : 1);
      }
      if (random() % 256 == 0) guest.family().on_process_exit(caller.process, guest);
      guest.events.clear();
    }
    guest.family().on_end(guest);
  }
}

}  // namespace
}  // namespace glasshook::behaviour::windows
