// Memory that QEMU frees too early.
#pragma once

#include "base/result.h"

namespace glasshook::hypervisor::qemu {

/// During a plugin's reset QEMU (10.0, plugin_unregister_cb__locked() in plugins/core.c) frees what
/// its lists of callbacks consist of. Running vCPUs are kept out meanwhile, but not those that go
/// idle or wake (qemu_process_cpu_events()), which walk these lists and crash. So what is freed
/// during a reset lives until the next.
class LateFrees {
 public:
  /// Fails where QEMU's calls of g_free() cannot be led here, which begin() and end() leave alone
  /// then.
  [[nodiscard]] static Result<> install();

  /// The calling thread has a reset come: what it frees from now on is kept. One thread at a time.
  static void begin();
  /// The reset is done: frees what was kept of the one before.
  static void end();
};

}  // namespace glasshook::hypervisor::qemu
