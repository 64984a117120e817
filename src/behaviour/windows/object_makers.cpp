#include "behaviour/windows/object_makers.h"

#include <array>

namespace glasshook::behaviour::windows {

std::span<const ObjectMaker> object_makers() {
  using enum ObjectKind;
  static constexpr auto kMakers = std::to_array<ObjectMaker>({
      {"NtCreateFile", "FileHandle", file},
      {"NtOpenFile", "FileHandle", file},
      {"NtCreateNamedPipeFile", "FileHandle", file},
      {"NtCreateMailslotFile", "FileHandle", file},
      {"NtCreateKey", "KeyHandle", key},
      {"NtCreateKeyTransacted", "KeyHandle", key},
      {"NtOpenKey", "KeyHandle", key},
      {"NtOpenKeyEx", "KeyHandle", key},
      {"NtOpenKeyTransacted", "KeyHandle", key},
      {"NtOpenKeyTransactedEx", "KeyHandle", key},
      {"NtOpenProcess", "ProcessHandle", process},
      {"NtCreateProcess", "ProcessHandle", process},
      {"NtCreateProcessEx", "ProcessHandle", process},
      {"NtOpenThread", "ThreadHandle", thread},
      {"NtCreateThread", "ThreadHandle", thread},
      {"NtCreateThreadEx", "ThreadHandle", thread},
      {"NtCreateSection", "SectionHandle", section},
      {"NtOpenSection", "SectionHandle", section},
      {"NtCreateMutant", "MutantHandle", mutex},
      {"NtOpenMutant", "MutantHandle", mutex},
      {"NtCreateEvent", "EventHandle", event},
      {"NtOpenEvent", "EventHandle", event},
      {"NtCreateSemaphore", "SemaphoreHandle", semaphore},
      {"NtOpenSemaphore", "SemaphoreHandle", semaphore},
      {"NtCreateTimer", "TimerHandle", timer},
      {"NtOpenTimer", "TimerHandle", timer},
      {"NtCreateJobObject", "JobHandle", job},
      {"NtOpenJobObject", "JobHandle", job},
      {"NtOpenProcessToken", "TokenHandle", token, ""},
      {"NtOpenThreadToken", "TokenHandle", token, ""},
      {"NtAlpcConnectPort", "PortHandle", port},
      {"NtOpenDirectoryObject", "DirectoryHandle", directory},
      {"NtCreateDirectoryObject", "DirectoryHandle", directory},
  });
  return kMakers;
}

}  // namespace glasshook::behaviour::windows
