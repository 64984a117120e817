// Leads a function that the main program imports elsewhere.
#pragma once

#include <vector>

#include "base/result.h"

namespace glasshook::hypervisor::qemu {

/// The slots through which this process's main program calls one function that it imports (ELF
/// gABI, dynamic linking; x86-64 psABI 4.4), also where the linker has made them read-only.
/// Libraries keep the function that they have. Threads may call through the slots at any time.
class Import {
 public:
  /// ErrorCode::not_found when the main program does not import `name`.
  [[nodiscard]] static Result<Import> find(const char* name);

  /// From now on the program calls `replacement`. Fails when a slot cannot be written.
  [[nodiscard]] Result<> replace(void* replacement) const;
  /// From now on the program calls what it did when it was found.
  [[nodiscard]] Result<> restore() const;

 private:
  struct Slot {
    void** place;
    void* found;
    bool read_only;
  };
  static Result<> write(const Slot& slot, void* function);

  std::vector<Slot> slots_;  ///< at least one
};

}  // namespace glasshook::hypervisor::qemu
