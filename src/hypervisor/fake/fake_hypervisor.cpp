#include "hypervisor/fake/fake_hypervisor.h"

#include <algorithm>

#include "capture/verifier.h"

namespace glasshook::hypervisor {

bool FakeMemory::read(Gpa from, std::span<std::byte> out) const noexcept {
  if (from.value > bytes_.size() || out.size() > bytes_.size() - from.value) return false;
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(from.value), out.size(), out.begin());
  return true;
}

std::vector<PhysicalExtent> FakeMemory::populated() const { return {{Gpa{0}, bytes_.size()}}; }

std::span<const std::byte> FakeMemory::view(Gpa from, std::uint64_t size) const noexcept {
  if (from.value > bytes_.size() || size > bytes_.size() - from.value) return {};
  return std::span{bytes_}.subspan(from.value, size);
}

Result<> FakeHypervisor::enter(const char* method) {
  const auto it = failures_.find(method);
  if (it == failures_.end() || --it->second.first > 0) return {};
  Error error = it->second.second;
  failures_.erase(it);
  return std::unexpected(error);
}

Capabilities FakeHypervisor::capabilities() const {
  return {.backend = "fake",
          .vcpus = 1,
          .user_pages = true,
          .returns = true,
          .instructions = true,
          .max_sites = 0,
          .hidden_from_reads = true,
          .write_protected = true};
}

Result<> FakeHypervisor::set_kernel_space(AddressSpace) { return enter("set_kernel_space"); }

Result<> FakeHypervisor::set_return_thunks(const std::vector<Gva>&) {
  return enter("set_return_thunks");
}

Result<> FakeHypervisor::set_context_program(capture::Program program) {
  if (auto ok = enter("set_context_program"); !ok) return ok;
  return capture::verify(program, capture::ProgramRole::context);
}

Result<> FakeHypervisor::load(const HookPrograms& hook) {
  if (auto ok = enter("load"); !ok) return ok;
  if (auto ok = capture::verify(hook.entry, capture::ProgramRole::entry); !ok) return ok;
  if (hook.on_return)
    if (auto ok = capture::verify(*hook.on_return, capture::ProgramRole::exit); !ok) return ok;
  hooks_[hook.id] = hook;
  return {};
}

Result<> FakeHypervisor::place(Gpa page, const PageSites& sites) {
  if (auto ok = enter("place"); !ok) return ok;
  for (const EntrySite& entry : sites.entries)
    if (refused_.contains(entry.offset))
      return fail(ErrorCode::unsupported, "no hook at {}", entry.offset);
  places_[page] = sites;
  return {};
}

Result<> FakeHypervisor::place_at(PrivilegedInstruction, HookId) { return enter("place_at"); }

Result<> FakeHypervisor::watch_user_pages(PageOracle oracle) {
  if (auto ok = enter("watch_user_pages"); !ok) return ok;
  oracle_ = std::move(oracle);
  return {};
}

Result<> FakeHypervisor::unload(HookId id) {
  if (auto ok = enter("unload"); !ok) return ok;
  if (hooks_.erase(id) == 0) return fail(ErrorCode::not_found, "hook {} is not loaded", id.value);
  return {};
}

Result<> FakeHypervisor::commit() {
  if (auto ok = enter("commit"); !ok) return ok;
  ++commits_;
  return {};
}

Result<> FakeHypervisor::set_add(std::uint32_t set, std::uint64_t key) {
  if (auto ok = enter("set_add"); !ok) return ok;
  sets_[set].push_back(key);
  return {};
}

Result<> FakeHypervisor::set_remove(std::uint32_t set, std::uint64_t key) {
  if (auto ok = enter("set_remove"); !ok) return ok;
  std::erase(sets_[set], key);
  return {};
}

Result<> FakeHypervisor::set_rate(std::uint32_t, std::uint32_t, std::uint32_t) {
  return enter("set_rate");
}

Result<std::size_t> FakeHypervisor::poll(const RecordSink& sink, std::chrono::milliseconds) {
  if (auto ok = enter("poll"); !ok) return std::unexpected(ok.error());
  if (records_.empty() && ended_) return fail(ErrorCode::closed, "the scripted guest has ended");
  std::size_t handed_over = 0;
  for (; !records_.empty(); records_.pop_front()) {
    capture::RecordView view;
    if (capture::RecordView::parse(records_.front(), view)) {
      sink(view);
      ++handed_over;
    } else {
      ++counters_.malformed;
    }
  }
  counters_.records += handed_over;
  return handed_over;
}

std::chrono::system_clock::time_point FakeHypervisor::wall_time(std::uint64_t timestamp) const {
  return std::chrono::system_clock::time_point(std::chrono::nanoseconds(timestamp));
}

Result<std::vector<HookCounters>> FakeHypervisor::hook_counters() {
  if (auto ok = enter("hook_counters"); !ok) return std::unexpected(ok.error());
  std::vector<HookCounters> all;
  for (const auto& [id, hook] : hooks_) all.push_back({.id = id});
  return all;
}

Result<ProbeCounters> FakeHypervisor::probe_counters() {
  if (auto ok = enter("probe_counters"); !ok) return std::unexpected(ok.error());
  return counters_;
}

}  // namespace glasshook::hypervisor
