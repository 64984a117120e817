#include "hypervisor/qemu/late_frees.h"

#include <glib.h>

#include <optional>
#include <vector>

#include "hypervisor/qemu/import_slot.h"

namespace glasshook::hypervisor::qemu {
namespace {

/// QEMU frees much while it translates: its calls are led here during resets only.
std::optional<Import> g_frees;
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
  auto frees = Import::find("g_free");
  if (!frees) return std::unexpected(frees.error());
  // What cannot be written now could not be later either.
  if (auto ok = frees->restore(); !ok) return ok;
  g_frees = std::move(*frees);
  return {};
}

void LateFrees::begin() {
  t_keeps = true;
  if (g_frees) (void)g_frees->replace(reinterpret_cast<void*>(&free_or_keep));
}

void LateFrees::end() {
  if (g_frees) (void)g_frees->restore();
  t_keeps = false;
  for (void* memory : g_kept_before) (g_free)(memory);
  g_kept_before = std::move(g_kept);
  g_kept.clear();
}

}  // namespace glasshook::hypervisor::qemu
