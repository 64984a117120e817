#include "hypervisor/qemu/late_frees.h"

#include <glib.h>

#include <vector>

#include "hypervisor/qemu/import_slot.h"

namespace glasshook::hypervisor::qemu {
namespace {

thread_local bool t_keeps = false;
/// Of this reset and of the one before. Only the thread that keeps uses them.
std::vector<void*> g_kept, g_kept_before;

void free_or_keep(void* memory) {
  if (!t_keeps) [[likely]]
    return (g_free)(memory);
  g_kept.push_back(memory);
}

}  // namespace

Result<> LateFrees::install() {
  return replace_import("g_free", reinterpret_cast<void*>(&free_or_keep));
}

void LateFrees::begin() { t_keeps = true; }

void LateFrees::end() {
  t_keeps = false;
  for (void* memory : g_kept_before) (g_free)(memory);
  g_kept_before = std::move(g_kept);
  g_kept.clear();
}

}  // namespace glasshook::hypervisor::qemu
