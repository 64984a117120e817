#include "monitor/hook_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "capture/builder.h"
#include "hook/spec.h"

namespace glasshook::monitor {

using hypervisor::HookId;
using linux_guest::Symbol;

namespace {

/// The first of the functions that this kernel has.
std::optional<Symbol> choose(const linux_guest::KernelSymbols& symbols,
                             const std::vector<std::string>& functions) {
  for (const std::string& name : functions)
    if (auto symbol = symbols.find(name)) return symbol;
  return std::nullopt;
}

}  // namespace

std::shared_ptr<const HookMeaning> HookSet::find(std::uint32_t id) const {
  const std::lock_guard lock(mutex_);
  const auto it = meanings_.find(id);
  return it == meanings_.end() ? nullptr : it->second;
}

void HookSet::remember(HookId id, HookMeaning meaning) {
  const std::lock_guard lock(mutex_);
  meanings_[id.value] = std::make_shared<const HookMeaning>(std::move(meaning));
}

bool HookSet::is_possible(const hook::HookSpec& spec) const {
  if (spec.instruction) return capabilities_.instructions;
  if (capabilities_.max_sites != 0 && !spec.choke_point) return false;
  return capabilities_.returns || !spec.exit.enabled;
}

void HookSet::add_family(behaviour::Family& family) {
  const auto specs = family.hooks();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].stands_in && capabilities_.returns) continue;
    if (specs[i].optional && !choose(kernel_->symbols(), specs[i].functions)) continue;
    if (!is_possible(specs[i])) {
      ++left_out_;
      continue;
    }
    const auto added =
        add_spec(specs[i], {.name = {}, .meaning = FamilyHook{&family, i, specs[i]}});
    if (!added)
      missing_.push_back(fmt::format("{} ({}): {}", specs[i].functions.front(), family.name(),
                                     added.error().message));
  }
}

Result<> HookSet::add_tree() {
  for (const hook::HookSpec& spec : hook::tree_hooks()) {
    if (!is_possible(spec)) {
      missing_.push_back(
          "ends of processes that are followed: a later process with the same id is followed too");
      continue;
    }
    if (auto added = add_spec(spec, {.name = {}, .meaning = TreeHook{}}); !added) return added;
  }
  return {};
}

Result<> HookSet::add_entries(const hypervisor::KernelEntries& entries) {
  using capture::Op;
  constexpr capture::Reg kLstar{kEntriesLstar}, kIdt{kEntriesIdt}, kCpu{kEntriesCpu};
  if (capabilities_.max_sites != 0)
    return fail(ErrorCode::unsupported, "{} hooks {} places", capabilities_.backend,
                capabilities_.max_sites);
  const auto function = choose(kernel_->symbols(), {"scheduler_tick", "sched_tick"});
  if (!function) return fail(ErrorCode::not_found, "this kernel has no function scheduler_tick");
  if (auto set = hypervisor_->set_kernel_entries(entries); !set) return set;
  capture::Builder builder;
  const auto idt = builder.new_label(), fine = builder.new_label(), moved = builder.new_label();
  builder.load_cpu(kLstar, capture::CpuRegister::lstar)
      .load_cpu(kIdt, capture::CpuRegister::idt_base)
      .load_cpu(kCpu, capture::CpuRegister::vcpu)
      .jump_if(Op::jump_eq, kLstar, std::uint64_t{0}, idt)
      .jump_if(Op::jump_ne, kLstar, entries.system_call.value, moved)
      .bind(idt)
      .jump_if(Op::jump_eq, kIdt, std::uint64_t{0}, fine)
      .jump_if(Op::jump_ne, kIdt, entries.interrupt_table.value, moved)
      .bind(fine)
      .stop()
      .bind(moved)
      .emit_words(hook::kFirstCapture, kLstar, kEntriesWords)
      .send();
  auto program = builder.build();
  if (!program) return std::unexpected(program.error());
  return add_own(*function, std::move(*program), {.name = {}, .meaning = EntriesHook{}}, false);
}

Result<> HookSet::add_own(const Symbol& function, capture::Program program, HookMeaning meaning,
                          bool uncovers) {
  const HookId id = next_id();
  if (auto loaded = hypervisor_->load(
          {.id = id, .entry = std::move(program), .on_return = {}, .uncovers = uncovers});
      !loaded)
    return loaded;
  if (auto planned = plan({function, id, false}); !planned) return planned;
  meaning.name = "kernel!" + function.name;
  remember(id, std::move(meaning));
  return {};
}

Result<> HookSet::add_code_hooks() {
  auto hooks = code_hooks(*kernel_);
  if (!hooks) return std::unexpected(hooks.error());
  for (CodeHook& hook : *hooks)
    if (auto added = add_own(hook.function, std::move(hook.program),
                             {.name = {}, .meaning = CodeHookOf{hook.kind}},
                             hook.kind == CodeHookKind::file_read);
        !added)
      return added;
  return {};
}

Result<> HookSet::add_instruction(const hook::HookSpec& spec, HookMeaning meaning) {
  const HookId id = next_id();
  const auto programs = hook::compile(spec, nullptr, *target_, id);
  if (!programs) return std::unexpected(programs.error());
  if (auto loaded = hypervisor_->load(*programs); !loaded) return loaded;
  meaning.name = spec.functions.front();
  remember(id, std::move(meaning));
  return hypervisor_->place_at(*spec.instruction, id);
}

Result<> HookSet::add_spec(const hook::HookSpec& spec, HookMeaning meaning) {
  if (spec.instruction) return add_instruction(spec, std::move(meaning));
  const auto function = choose(kernel_->symbols(), spec.functions);
  if (!function)
    return fail(ErrorCode::not_found, "this kernel has no function {}", spec.functions.front());
  const auto prototype =
      kernel_->types() ? kernel_->types()->find_function(function->name) : std::nullopt;
  const HookId id = next_id();
  auto programs = hook::compile(spec, prototype ? &*prototype : nullptr, *target_, id);
  if (!programs) return std::unexpected(programs.error());
  if (auto loaded = hypervisor_->load(*programs); !loaded) return loaded;
  if (auto planned = plan({*function, id, programs->on_return.has_value()}); !planned)
    return planned;
  meaning.name = "kernel!" + function->name;
  remember(id, std::move(meaning));
  return {};
}

Result<> HookSet::add_kernel_api(const api::Signature& signature, const api::Vocabulary& vocabulary,
                                 const Symbol& function, const hypervisor::HookPrograms& programs) {
  if (auto loaded = hypervisor_->load(programs); !loaded) return loaded;
  if (auto planned = plan({function, programs.id, programs.on_return.has_value(), true}); !planned)
    return planned;
  remember(programs.id, {.name = "kernel!" + signature.name,
                         .meaning = ApiHook{.signature = &signature,
                                            .vocabulary = &vocabulary,
                                            .awaits_return = programs.on_return.has_value(),
                                            .shown = &signature}});
  return {};
}

Result<> HookSet::add_user_api(const api::Signature& signature, const api::Vocabulary& vocabulary,
                               hook::Audience audience, const hypervisor::HookPrograms& programs) {
  // Known before it can be hit.
  remember(programs.id, {.name = signature.module + "!" + signature.name,
                         .meaning = ApiHook{.signature = &signature,
                                            .vocabulary = &vocabulary,
                                            .awaits_return = programs.on_return.has_value(),
                                            .shown = audience.user ? &signature : nullptr,
                                            .wanted = audience.families ? &signature : nullptr}});
  if (auto loaded = hypervisor_->load(programs); !loaded) return loaded;
  return {};
}

void HookSet::set_audience(HookId id, const api::Signature& signature, hook::Audience audience,
                           bool besides) {
  const std::lock_guard lock(mutex_);
  const auto it = meanings_.find(id.value);
  if (it == meanings_.end() || !std::holds_alternative<ApiHook>(it->second->meaning)) return;
  HookMeaning meaning = *it->second;
  auto& hook = std::get<ApiHook>(meaning.meaning);
  if (!besides) hook.shown = hook.wanted = nullptr;
  if (audience.user) hook.shown = &signature;
  if (audience.families) hook.wanted = &signature;
  it->second = std::make_shared<const HookMeaning>(std::move(meaning));
}

Result<> HookSet::plan(const Planned& hook) {
  if (auto added = plan_.add(hook.function, hook.id, hook.returns); !added) return added;
  planned_.push_back(hook);
  return {};
}

std::vector<HookId> HookSet::remove_kernel_apis(const std::set<Gva>& functions) {
  std::vector<HookId> removed;
  std::erase_if(planned_, [&](const Planned& hook) {
    const bool goes = hook.is_api && functions.contains(hook.function.address);
    if (goes) removed.push_back(hook.id);
    return goes;
  });
  if (removed.empty()) return removed;
  // Return ranges of several hooks are one in a plan: made anew.
  plan_ = hook::KernelPlan(kernel_->symbols(), kernel_->virtual_memory());
  for (const Planned& other : planned_) (void)plan_.add(other.function, other.id, other.returns);
  return removed;
}

Result<> HookSet::place() {
  std::set<Gpa> cleared = std::exchange(placed_, {});
  for (const hook::KernelPage& page : plan_.pages()) {
    auto placed = hypervisor_->place(page.page, page.sites);
    if (!placed && placed.error().code == ErrorCode::unsupported)
      placed = place_possible(page.page, page.sites, true);
    if (!placed) return placed;
    placed_.insert(page.page);
    cleared.erase(page.page);
  }
  for (const Gpa page : cleared)
    if (auto placed = hypervisor_->place(page, {}); !placed) return placed;
  return {};
}

Result<> HookSet::place_program_page(Gpa page, const hypervisor::PageSites& sites) {
  auto placed = hypervisor_->place(page, sites);
  const bool partly = !placed && (placed.error().code == ErrorCode::unsupported ||
                                  placed.error().code == ErrorCode::limit);
  return partly ? place_possible(page, sites, false) : placed;
}

Result<> HookSet::place_possible(Gpa page, hypervisor::PageSites sites, bool named) {
  for (const hypervisor::EntrySite& entry : std::exchange(sites.entries, {})) {
    sites.entries.push_back(entry);
    const auto placed = hypervisor_->place(page, sites);
    if (placed) continue;
    sites.entries.pop_back();
    const auto meaning = find(entry.hook.value);
    std::string what = fmt::format("{}: {}", meaning ? meaning->name : "?", placed.error().message);
    if (named && meaning && std::holds_alternative<ApiHook>(meaning->meaning))
      return fail(ErrorCode::unsupported, "{}", what);
    if (std::ranges::find(missing_, what) == missing_.end()) missing_.push_back(std::move(what));
  }
  return hypervisor_->place(page, sites);
}

std::vector<Gva> HookSet::functions() const {
  std::vector<Gva> functions;
  for (const Planned& hook : planned_) functions.push_back(hook.function.address);
  return functions;
}

std::vector<std::string> HookSet::missing() const {
  std::vector<std::string> all = missing_;
  if (left_out_ > 0)
    all.push_back(fmt::format("{} more functions of the kernel: {} hooks {} places, and no returns",
                              left_out_, capabilities_.backend, capabilities_.max_sites));
  all.insert(all.end(), plan_.notes().begin(), plan_.notes().end());
  return all;
}

}  // namespace glasshook::monitor
