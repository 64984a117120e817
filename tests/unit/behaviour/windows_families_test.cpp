#include <gmock/gmock.h>

#include <functional>

#include "behaviour/fake_guest.h"
#include "behaviour/windows/autostart.h"
#include "behaviour/windows/nt_path.h"
#include "behaviour/windows/objects.h"
#include "behaviour/windows/registry_data.h"

namespace glasshook::behaviour {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using windows::file_name;
using windows::FileKind;

constexpr std::uint64_t kGenericRead = 0x80000000, kDelete = 0x10000;
constexpr std::uint64_t kDeleteOnClose = 0x1000, kDirectoryFile = 1;
constexpr std::uint64_t kOpened = 1, kCreated = 2;

std::string status_block(std::uint64_t information, std::uint64_t status = 0) {
  return bytes_of(status) + bytes_of(information);
}

/// One of several processes that use files and keys.
class WindowsGuest : public FakeGuest {
 public:
  using FakeGuest::FakeGuest;

  void open(std::uint64_t handle, const std::string& name, std::uint64_t outcome = kOpened,
            std::uint64_t options = 0, std::uint64_t access = kGenericRead,
            std::uint64_t root = 0) {
    user_call("NtCreateFile", caller,
              {{"FileHandle", 0x10, bytes_of(handle)},
               {"DesiredAccess", access},
               attributes(name, root, object_flags),
               {"IoStatusBlock", 0x20, status_block(outcome)},
               {"CreateOptions", options}});
  }
  void open_key(std::uint64_t handle, const std::string& name, std::uint64_t root = 0) {
    user_call("NtOpenKeyEx", caller,
              {{"KeyHandle", 0x10, bytes_of(handle)}, attributes(name, root)});
  }
  void close(std::uint64_t handle, std::uint64_t status = 0) {
    user_call("NtClose", caller, {{"Handle", handle}}, status);
  }
  void write(std::uint64_t handle, std::uint64_t bytes) {
    user_call(
        "NtWriteFile", caller,
        {{"FileHandle", handle}, {"IoStatusBlock", 0x20, status_block(bytes)}, {"Length", bytes}});
  }
  void set_information(std::uint64_t handle, std::uint64_t kind, const std::string& data) {
    user_call(
        "NtSetInformationFile", caller,
        {{"FileHandle", handle}, {"FileInformation", 0x20, data}, {"FileInformationClass", kind}});
  }
  void duplicate(std::uint64_t from, std::uint64_t to, std::uint64_t options,
                 std::uint64_t target = ~0ull) {
    user_call("NtDuplicateObject", caller,
              {{"SourceProcessHandle", ~0ull},
               {"SourceHandle", from},
               {"TargetProcessHandle", target},
               {"TargetHandle", 0x30, bytes_of(to)},
               {"Options", options}});
  }
  /// Path and action of the only event.
  std::string told() {
    const Event event = only();
    const char* field = event.find("file.path") != nullptr ? "file.path" : "registry.path";
    return std::string(event.action) + " " + text_of(event, field);
  }

  Caller caller{.process = make_process(10), .win32_process_id = 32};
  std::uint64_t object_flags = 0;
};

std::string rename_to(const std::string& name, std::uint64_t root = 0, bool replace = false) {
  const std::string text = wide(name);
  return bytes_of(replace ? 1 : 0) + bytes_of(root) + bytes_of(text.size(), 4) + text;
}

TEST(NtPath, FilesAsPeopleWriteThem) {
  EXPECT_EQ(file_name("\\??\\C:\\a\\b").text, "C:\\a\\b");
  EXPECT_EQ(file_name("\\??\\C:\\").text, "C:\\");
  EXPECT_EQ(file_name("\\??\\C:\\a\\").text, "C:\\a");
  EXPECT_EQ(file_name("\\??\\z:").text, "z:");
  EXPECT_EQ(file_name("\\DosDevices\\Z:\\x").text, "Z:\\x");
  EXPECT_EQ(file_name("\\??\\UNC\\server\\share\\x").text, "\\\\server\\share\\x");
  EXPECT_EQ(file_name("\\??\\unc\\server\\share\\x").kind, FileKind::file);
  EXPECT_EQ(file_name("\\??\\pipe\\p").text, "\\\\.\\pipe\\p");
  EXPECT_EQ(file_name("\\Device\\NamedPipe\\p").kind, FileKind::pipe);
  EXPECT_EQ(file_name("\\??\\PhysicalDrive0").text, "\\\\.\\PhysicalDrive0");
  EXPECT_EQ(file_name("\\Device\\Afd").text, "\\Device\\Afd");
  EXPECT_EQ(file_name("\\Device\\Afd").kind, FileKind::device);
  EXPECT_EQ(file_name(std::string("\\??\\C:\\a\0", 9)).text, std::string("C:\\a\0", 5));
  EXPECT_EQ(file_name("").text, "");
  EXPECT_EQ(file_name("\\??\\").text, "\\\\.");
}

TEST(NtPath, KeysAndNamedObjects) {
  using windows::object_name;
  using windows::registry_name;
  EXPECT_EQ(registry_name("\\REGISTRY\\machine\\Software"), "HKLM\\Software");
  EXPECT_EQ(registry_name("\\Registry\\Machine"), "HKLM");
  EXPECT_EQ(registry_name("\\Registry\\User\\S-1-5-18\\x\\"), "HKU\\S-1-5-18\\x");
  EXPECT_EQ(registry_name("\\Registry\\Machines"), "\\Registry\\Machines");
  EXPECT_EQ(registry_name("\\Registry"), "\\Registry");
  EXPECT_EQ(object_name("\\Sessions\\1\\BaseNamedObjects\\m"), "m");
  EXPECT_EQ(object_name("\\BaseNamedObjects\\m"), "m");
  EXPECT_EQ(object_name("\\Sessions\\1"), "\\Sessions\\1");
  EXPECT_EQ(object_name("m"), "m");
}

TEST(WindowsFiles, OpensAndWhatTheyCameTo) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kCreated);
  Event event = guest.only();
  EXPECT_EQ(event.action, "file_created");
  EXPECT_EQ(text_of(event, "file.path"), "C:\\a");
  EXPECT_EQ(text_of(event, "glasshook.open.disposition"), "FILE_CREATED");
  guest.open(0x34, "\\??\\C:\\d", kCreated, kDirectoryFile);
  EXPECT_EQ(guest.told(), "directory_created C:\\d");
  guest.open(0x38, "\\??\\C:\\b", 3);
  EXPECT_EQ(text_of(guest.only(), "glasshook.open.disposition"), "FILE_OVERWRITTEN");
  guest.open(0x3c, "\\??\\C:\\c");
  EXPECT_EQ(guest.told(), "file_opened C:\\c");
  // For what else is done to it, or for its entries.
  guest.open(0x40, "\\??\\C:\\c", kOpened, 0, kDelete);
  guest.open(0x44, "\\??\\C:\\d", kOpened, kDirectoryFile);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.open(0x48, "e\\f", kOpened, 0, kGenericRead, 0x44);
  EXPECT_EQ(guest.told(), "file_opened C:\\d\\e\\f");
  guest.open(0x4c, "e", kOpened, 0, kGenericRead, 0x999c);
  event = guest.only();
  EXPECT_EQ(text_of(event, "file.path"), "e");
  EXPECT_EQ(text_of(event, "glasshook.handle.unresolved"), "true");
}

TEST(WindowsFiles, ReadsAndWritesAreToldWhenTheLastHandleIsClosed) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kCreated);
  guest.duplicate(0x30, 0x34, 2);
  guest.events.clear();
  guest.write(0x30, 10);
  guest.write(0x34 | 3, 20);  // the low bits are the program's own
  guest.close(0x30);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.close(0x34, 0xc0000008);
  guest.close(0x34);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "file_written");
  EXPECT_EQ(text_of(event, "file.path"), "C:\\a");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "30");
  EXPECT_EQ(text_of(event, "glasshook.operations"), "2");
  guest.close(0x34);  // twice
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(WindowsFiles, AnOperationThatGoesOnSaysNoBytesAndNoneSaysMoreThanAsked) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kCreated);
  guest.events.clear();
  const auto read = [&](std::uint64_t bytes, std::uint64_t status) {
    guest.user_call("NtReadFile", guest.caller,
                    {{"FileHandle", 0x30},
                     {"IoStatusBlock", 0x20, status_block(bytes, status)},
                     {"Length", 0xabcd00000040}});
  };
  read(5, 0x103);
  read(1'000'000, 0);
  guest.close(0x30);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "file_read");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "64");
  EXPECT_EQ(text_of(event, "glasshook.operations"), "2");
}

TEST(WindowsFiles, UnknownHandlesAreSaidToBe) {
  WindowsGuest guest("windows-file");
  guest.write(0xc, 5);
  guest.write(0xc, 6);
  guest.family().on_end(guest);
  const Event event = guest.only();
  EXPECT_EQ(event.find("file.path"), nullptr);
  EXPECT_EQ(text_of(event, "glasshook.handle.unresolved"), "true");
  EXPECT_EQ(text_of(event, "glasshook.handle.value"), "0xc");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "11");
}

TEST(WindowsFiles, DeletedInAllWays) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kOpened, kDeleteOnClose, kDelete);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.close(0x30);
  EXPECT_EQ(guest.told(), "file_deleted C:\\a");
  guest.open(0x30, "\\??\\C:\\b", kOpened, 0, kDelete);
  guest.set_information(0x30, 13, std::string(1, '\1'));
  guest.set_information(0x30, 13, std::string(1, '\0'));  // thought better of it
  guest.close(0x30);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.open(0x30, "\\??\\C:\\b", kOpened, 0, kDelete);
  guest.set_information(0x30, 13, std::string(1, '\1'));
  guest.close(0x30);
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.delete.method"), "FileDispositionInformation");
  guest.open(0x30, "\\??\\C:\\d", kOpened, kDirectoryFile, kDelete);
  guest.set_information(0x30, 64, bytes_of(3, 4));
  guest.family().on_process_exit(guest.caller.process, guest);  // that closes it
  EXPECT_EQ(guest.told(), "directory_deleted C:\\d");
  guest.user_call("NtDeleteFile", guest.caller, {attributes("\\??\\C:\\x")});
  EXPECT_EQ(guest.told(), "file_deleted C:\\x");
}

TEST(WindowsFiles, NewNames) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\d\\a", kOpened, 0, kDelete);
  guest.set_information(0x30, 10, rename_to("\\??\\C:\\e\\b", 0, true));
  Event event = guest.only();
  EXPECT_EQ(event.action, "file_renamed");
  EXPECT_EQ(text_of(event, "file.path"), "C:\\d\\a");
  EXPECT_EQ(text_of(event, "file.target_path"), "C:\\e\\b");
  EXPECT_EQ(text_of(event, "glasshook.rename.replace"), "true");
  guest.set_information(0x30, 65, rename_to("c"));
  event = guest.only();
  EXPECT_EQ(text_of(event, "file.path"), "C:\\e\\b");
  EXPECT_EQ(text_of(event, "file.target_path"), "C:\\e\\c");
  guest.open(0x34, "\\??\\C:\\f", kOpened, kDirectoryFile);
  guest.set_information(0x30, 11, rename_to("hard", 0x34));
  event = guest.only();
  EXPECT_EQ(event.action, "file_linked");
  EXPECT_EQ(text_of(event, "file.path"), "C:\\e\\c");
  EXPECT_EQ(text_of(event, "file.target_path"), "C:\\f\\hard");
  // A length that goes beyond what was captured, and a structure that was cut.
  std::string wild = rename_to("x");
  wild.replace(16, 4, "\xff\xff\xff\xff");
  guest.set_information(0x30, 10, wild);
  EXPECT_EQ(text_of(guest.only(), "glasshook.name_truncated"), "true");
  guest.set_information(0x30, 10, wild.substr(0, 19));
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(WindowsFiles, AttributesTimesAndSizes) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kOpened, 0, 0x100);
  guest.set_information(0x30, 4,
                        bytes_of(0) + bytes_of(~0ull) + bytes_of(0) + bytes_of(0) + bytes_of(3));
  Event event = guest.only();
  EXPECT_EQ(event.action, "file_attribute_changed");
  EXPECT_EQ(text_of(event, "file.attributes"), "readonly,hidden");
  guest.set_information(0x30, 4, bytes_of(116444736000000000) + std::string(32, '\0'));
  event = guest.only();
  EXPECT_EQ(event.action, "file_times_changed");
  EXPECT_EQ(text_of(event, "file.created"), "1970-01-01T00:00:00.000000000Z");
  guest.set_information(0x30, 20, bytes_of(77));
  event = guest.only();
  EXPECT_EQ(event.action, "file_truncated");
  EXPECT_EQ(text_of(event, "file.size"), "77");
}

TEST(WindowsFiles, CopiesAndListings) {
  WindowsGuest guest("windows-file");
  guest.caller.call = 5;
  guest.user_call_entered("CopyFileExW", guest.caller, {});
  guest.caller.call = 1;
  guest.open(0x30, "\\??\\C:\\a");
  guest.open(0x34, "\\??\\C:\\b", kCreated, 0, 0x40000000);
  guest.caller.call = 5;
  guest.user_call("CopyFileExW", guest.caller, {}, 1);
  ASSERT_EQ(guest.events.size(), 3u);
  EXPECT_EQ(guest.events[2].action, "file_copied");
  EXPECT_EQ(text_of(guest.events[2], "file.path"), "C:\\a");
  EXPECT_EQ(text_of(guest.events[2], "file.target_path"), "C:\\b");
  guest.events.clear();
  guest.caller.call = 1;
  guest.open(0x38, "\\??\\C:\\d", kOpened, kDirectoryFile);
  for (int i = 0; i < 3; ++i)
    guest.user_call("NtQueryDirectoryFile", guest.caller,
                    {{"FileHandle", 0x38}, {"FileName", 1, "x", {{"", "*.txt", false}}}});
  const Event event = guest.only();
  EXPECT_EQ(event.action, "directory_listed");
  EXPECT_EQ(text_of(event, "glasshook.directory.pattern"), "*.txt");
}

TEST(WindowsHandles, AreReusedWhateverWasLost) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kCreated);
  guest.write(0x30, 1);
  guest.events.clear();
  guest.open(0x30, "\\??\\C:\\b", kCreated);  // its close was not seen
  EXPECT_THAT(guest.actions(), ElementsAre("file_written", "file_created"));
  // A close that returns after the handle was given out again is the older one's.
  guest.caller.seconds = 5;
  guest.open(0x30, "\\??\\C:\\c", kCreated);
  guest.events.clear();
  guest.caller.seconds = 3;
  guest.close(0x30);
  guest.caller.seconds = 6;
  guest.write(0x30, 7);
  guest.close(0x30);
  EXPECT_EQ(guest.told(), "file_written C:\\c");
  guest.write(0x30, 7);
  guest.close(0x30);
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");
}

TEST(WindowsHandles, ThousandsOfThem) {
  WindowsGuest guest("windows-file");
  for (std::uint64_t i = 1; i <= 2'000; ++i) {
    guest.open(4 * i, "\\??\\C:\\" + std::to_string(i), kCreated);
    guest.write(4 * i, i);
  }
  guest.events.clear();
  guest.family().on_process_exit(guest.caller.process, guest);
  ASSERT_EQ(guest.events.size(), 2'000u);
  EXPECT_EQ(text_of(guest.events[76], "file.path"), "C:\\77");
  EXPECT_EQ(text_of(guest.events[76], "glasshook.bytes"), "77");
  guest.events.clear();
  guest.family().on_end(guest);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(WindowsHandles, ClosedByTheirDuplication) {
  WindowsGuest guest("windows-file");
  guest.open(0x30, "\\??\\C:\\a", kCreated);
  guest.write(0x30, 1);
  guest.events.clear();
  guest.duplicate(0x30, 0x34, 1);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.write(0x34, 1);
  guest.close(0x30);
  guest.close(0x34);
  EXPECT_EQ(text_of(guest.only(), "glasshook.bytes"), "2");
  guest.open(0x30, "\\??\\C:\\b", kCreated);
  guest.write(0x30, 1);
  guest.events.clear();
  guest.duplicate(0x30, 0x34, 1, 0x777c);  // into a process nobody knows
  EXPECT_EQ(guest.told(), "file_written C:\\b");
}

TEST(WindowsHandles, AreDuplicatedIntoProcessesThatAreKnown) {
  FakeGuest context("windows-file");
  windows::Objects objects;
  std::uint64_t calls = 0;
  // Lets `check` look at a call that `process` has made.
  const auto call = [&](const std::shared_ptr<Process>& process, std::uint32_t win32_id,
                        const std::string& name, const std::vector<Argument>& given,
                        const std::function<void(const UserCall&)>& check = nullptr) {
    api::Signature signature;
    signature.name = name;
    api::ApiCall decoded;
    decoded.signature = &signature;
    decoded.returned = true;
    for (const Argument& argument : given) {
      api::ArgumentValue value;
      value.name = argument.name;
      value.raw = argument.raw;
      value.data = argument.data;
      value.captured = !argument.data.empty();
      value.nested = argument.nested;
      decoded.arguments.push_back(value);
    }
    const UserCall user_call{.api = decoded,
                             .as = signature,
                             .began = at_second(static_cast<int>(++calls)),
                             .ended = at_second(static_cast<int>(calls)),
                             .process = process,
                             .win32_process_id = win32_id,
                             .id = calls};
    objects.see(user_call, context);
    objects.see(user_call, context);  // the next family passes it on too
    if (check) check(user_call);
  };
  const auto giver = make_process(10), taker = make_process(20);
  call(taker, 64, "NtClose", {{"Handle", 0x4}});
  call(giver, 32, "NtCreateMutant", {{"MutantHandle", 1, bytes_of(0x30)}, attributes("m", 0x99c)});
  call(giver, 32, "NtOpenProcess",
       {{"ProcessHandle", 1, bytes_of(0x40)}, {"ClientId", 1, bytes_of(64) + bytes_of(0)}});
  EXPECT_EQ(objects.handles(), 2u);
  EXPECT_EQ(objects.process_by_win32_id(64), taker);
  call(giver, 32, "NtDuplicateObject",
       {{"SourceProcessHandle", ~0ull},
        {"SourceHandle", 0x30},
        {"TargetProcessHandle", 0x40},
        {"TargetHandle", 1, bytes_of(0x50)}});
  call(taker, 64, "NtClose", {{"Handle", 0x4}}, [&](const UserCall& made) {
    const windows::ObjectPtr mutex = objects.find(made, 0x50);
    ASSERT_NE(mutex, nullptr);
    EXPECT_EQ(mutex->kind, windows::ObjectKind::mutex);
    EXPECT_EQ(mutex->name, "m");
    EXPECT_EQ(mutex->handles, 2u);
    EXPECT_EQ(objects.find(made, 0x30), nullptr);
  });
  objects.process_exited(taker, at_second(99), context);
  objects.process_exited(taker, at_second(99), context);
  EXPECT_EQ(objects.process_by_win32_id(64), nullptr);
  EXPECT_EQ(objects.handles(), 2u);
}

TEST(WindowsHandles, AreInheritedWhenThatIsAskedFor) {
  WindowsGuest guest("windows-file");
  constexpr std::uint64_t kInheritable = 2, kInheritHandles = 4;
  const auto create_child = [&](std::uint32_t pid, std::uint64_t flags) {
    guest.caller.call = pid;
    guest.user_call_entered("NtCreateUserProcess", guest.caller, {{"ProcessFlags", flags}});
    auto between = make_process(pid + 1);  // Wine forks twice
    between->parent = guest.caller.process;
    auto child = make_process(pid);
    child->parent = between;
    return Caller{.process = child, .win32_process_id = pid};
  };
  guest.open(0x30, "\\??\\C:\\private", kCreated);
  guest.object_flags = kInheritable;
  guest.open(0x34, "\\??\\C:\\shared", kCreated);
  const Caller parent = guest.caller;
  guest.events.clear();

  const Caller heir = create_child(100, kInheritHandles);
  guest.caller = heir;
  guest.write(0x34, 5);
  guest.write(0x30, 6);
  guest.family().on_process_exit(heir.process, guest);
  std::vector<std::string> told;
  for (const Event& event : guest.events)
    told.push_back(text_of(event, "file.path") + text_of(event, "glasshook.handle.value"));
  EXPECT_THAT(told, ::testing::UnorderedElementsAre("C:\\shared(none)", "(none)0x30"));
  guest.events.clear();

  guest.caller = parent;
  guest.caller = create_child(200, 0);
  guest.write(0x34, 5);
  guest.family().on_process_exit(guest.caller.process, guest);
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");

  // Two at once that inherit different things: neither is said to be either.
  guest.caller = parent;
  (void)create_child(300, kInheritHandles);
  guest.caller = parent;
  guest.caller = create_child(400, 0);
  guest.write(0x34, 5);
  guest.family().on_process_exit(guest.caller.process, guest);
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");
}

TEST(WindowsRegistry, KeysByTheirFullPaths) {
  WindowsGuest guest("windows-registry");
  guest.open_key(0x30, "\\Registry\\Machine");
  EXPECT_EQ(guest.told(), "registry_key_opened HKLM");
  const auto create = [&](std::uint64_t handle, std::optional<std::uint64_t> disposition) {
    guest.user_call("NtCreateKey", guest.caller,
                    {{"KeyHandle", 0x10, bytes_of(handle)},
                     attributes("Software\\x", 0x30),
                     {"Disposition", 0x20, disposition ? bytes_of(*disposition, 4) : ""}});
    return guest.only();
  };
  Event event = create(0x34, 1);
  EXPECT_EQ(event.action, "registry_key_created");
  EXPECT_EQ(text_of(event, "registry.hive"), "HKLM");
  EXPECT_EQ(text_of(event, "registry.key"), "Software\\x");
  EXPECT_EQ(text_of(event, "registry.path"), "HKLM\\Software\\x");
  EXPECT_EQ(create(0x38, 2).action, "registry_key_opened");
  event = create(0x3c, std::nullopt);
  EXPECT_EQ(event.action, "registry_key_opened");
  EXPECT_EQ(text_of(event, "glasshook.registry.maybe_created"), "true");
  guest.user_call("NtRenameKey", guest.caller,
                  {{"KeyHandle", 0x34}, {"NewName", 1, "x", {{"", "y", false}}}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "registry.path"), "HKLM\\Software\\x");
  EXPECT_EQ(text_of(event, "glasshook.registry.target_path"), "HKLM\\Software\\y");
  guest.user_call("NtDeleteKey", guest.caller, {{"KeyHandle", 0x34}});
  EXPECT_EQ(guest.told(), "registry_key_deleted HKLM\\Software\\y");
  guest.user_call("NtDeleteKey", guest.caller, {{"KeyHandle", 0x34}}, 0xc0000022);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.user_call("NtDeleteKey", guest.caller, {{"KeyHandle", 0x9990}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.handle.unresolved"), "true");
}

TEST(WindowsRegistry, ValuesByTheirTypes) {
  WindowsGuest guest("windows-registry");
  guest.open_key(0x30, "\\Registry\\User\\S-1-5-21-1");
  guest.events.clear();
  const auto set = [&](std::uint64_t type, const std::string& data, std::uint64_t size) {
    guest.user_call("NtSetValueKey", guest.caller,
                    {{"KeyHandle", 0x30},
                     {"ValueName", 1, "x", {{"", "v", false}}},
                     {"Type", type},
                     {"Data", 2, data},
                     {"DataSize", size}});
    const Event event = guest.only();
    EXPECT_EQ(text_of(event, "registry.path"), "HKU\\S-1-5-21-1\\v");
    return text_of(event, "registry.data.type") + " " + text_of(event, "registry.data.strings") +
           " " + text_of(event, "registry.data.bytes") + " " +
           text_of(event, "glasshook.registry.data_truncated");
  };
  EXPECT_EQ(set(1, wide("ab") + std::string(2, '\0'), 6), "REG_SZ ab (none) (none)");
  EXPECT_EQ(set(2, wide("ab"), 4), "REG_EXPAND_SZ ab (none) (none)");
  EXPECT_EQ(set(7, wide(std::string("a\0b\0\0", 5)), 10), "REG_MULTI_SZ a,b (none) (none)");
  EXPECT_EQ(set(4, bytes_of(4660, 4), 4), "REG_DWORD 4660 (none) (none)");
  EXPECT_EQ(set(5, std::string("\0\0\x12\x34", 4), 4), "REG_DWORD_BIG_ENDIAN 4660 (none) (none)");
  EXPECT_EQ(set(11, bytes_of(~0ull), 8), "REG_QWORD 18446744073709551615 (none) (none)");
  EXPECT_EQ(set(3, "foo", 3), "REG_BINARY (none) Zm9v (none)");
  EXPECT_EQ(set(4, "foo", 3), "REG_DWORD (none) Zm9v (none)");
  EXPECT_EQ(set(3, "foo", 5000), "REG_BINARY (none) Zm9v true");
  EXPECT_EQ(set(0x12345678, "foo", 2), "0x12345678 (none) Zm8= (none)");
  guest.user_call("NtDeleteValueKey", guest.caller, {{"KeyHandle", 0x30}});
  EXPECT_EQ(guest.told(), "registry_value_deleted HKU\\S-1-5-21-1\\(Default)");
}

TEST(WindowsRegistry, PlacesThatStartThings) {
  using windows::autostart_technique;
  EXPECT_EQ(autostart_technique(R"(HKU\S-1-5-18\Software\Microsoft\Windows\CurrentVersion\Run\x)"),
            "T1547.001");
  EXPECT_EQ(autostart_technique(
                R"(HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\RunOnce\(Default))"),
            "T1547.001");
  EXPECT_EQ(autostart_technique(R"(HKLM\System\CurrentControlSet\Services\x\ImagePath)"),
            "T1543.003");
  EXPECT_EQ(autostart_technique(R"(HKLM\Software\Microsoft\Windows\CurrentVersion\Runner\x)"), "");
  EXPECT_EQ(autostart_technique(""), "");
  WindowsGuest guest("windows-registry");
  guest.open_key(0x30, "\\Registry\\Machine\\Software\\Microsoft\\Windows\\CurrentVersion\\Run");
  guest.events.clear();
  guest.user_call("NtSetValueKey", guest.caller,
                  {{"KeyHandle", 0x30}, {"ValueName", 1, "x", {{"", "evil", false}}}, {"Type", 1}});
  EXPECT_EQ(text_of(guest.only(), "threat.technique.id"), "T1547.001");
}

TEST(WindowsRegistry, QueriesGiveWhatWasRead) {
  WindowsGuest guest("windows-registry");
  guest.open_key(0x30, "\\Registry\\Machine\\x");
  guest.events.clear();
  const std::string partial = bytes_of(0, 4) + bytes_of(1, 4) + bytes_of(4, 4) + wide("hi");
  guest.user_call("NtQueryValueKey", guest.caller,
                  {{"KeyHandle", 0x30},
                   {"ValueName", 1, "x", {{"", "v", false}}},
                   {"KeyValueInformationClass", 2},
                   {"KeyValueInformation", 2, partial}});
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "registry.value"), "v");
  EXPECT_EQ(text_of(event, "registry.data.strings"), "hi");
  guest.user_call("NtQueryValueKey", guest.caller, {{"KeyHandle", 0x30}}, 0x80000005);
  EXPECT_THAT(guest.events, IsEmpty());
  std::string full = bytes_of(0, 4) + bytes_of(4, 4) + bytes_of(24, 4) + bytes_of(4, 4) +
                     bytes_of(2, 4) + wide("n") + std::string(2, '\0') + bytes_of(7, 4);
  const auto enumerate = [&] {
    guest.user_call(
        "NtEnumerateValueKey", guest.caller,
        {{"KeyHandle", 0x30}, {"KeyValueInformationClass", 1}, {"KeyValueInformation", 2, full}});
  };
  enumerate();
  event = guest.only();
  EXPECT_EQ(text_of(event, "registry.value"), "n");
  EXPECT_EQ(text_of(event, "registry.data.strings"), "7");
  full.replace(8, 4, "\xff\xff\xff\xff");  // data that lies nowhere
  full.replace(16, 4, "\xff\xff\xff\xff");
  enumerate();
  EXPECT_EQ(text_of(guest.only(), "glasshook.registry.data_truncated"), "true");
}

}  // namespace
}  // namespace glasshook::behaviour
