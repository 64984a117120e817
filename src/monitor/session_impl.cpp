#include "monitor/session_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "api/from_btf.h"
#include "base/text.h"
#include "guest/linux/cgroup.h"
#include "guest/linux/percpu.h"
#include "guest/linux/process.h"
#include "hook/context.h"
#include "hook/kernel_plan.h"
#include "hook/signature_compiler.h"

namespace glasshook::monitor {

using behaviour::Call;
using behaviour::Family;
using capture::RecordView;

namespace {

constexpr const char* kLocationNote = "linux.kernel_location";

std::string names_of(const std::vector<std::unique_ptr<Family>>& families) {
  std::string names;
  for (const auto& family : families)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", family->name());
  return names;
}

}  // namespace

Session::Impl::Impl(std::unique_ptr<hypervisor::Hypervisor> hypervisor, const api::GuestApis& apis,
                    SessionOptions options, EventSink sink)
    : hypervisor_(std::move(hypervisor)),
      apis_(apis),
      options_(std::move(options)),
      sink_(std::move(sink)) {}

Result<> Session::Impl::start() {
  for (auto step : {&Impl::find_kernel, &Impl::prepare_target, &Impl::choose_families,
                    &Impl::add_apis, &Impl::watch_code_pages})
    if (auto done = (this->*step)(); !done) return done;
  if (auto placed = hooks_->place(); !placed) return placed;
  if (auto done = hypervisor_->commit(); !done) return done;
  // What the kernel does to its own code is heard of by now.
  guard_kernel();
  return finder_ ? finder_->look_around() : Result<>{};
}

Result<linux_guest::LinuxKernel> Session::Impl::open_kernel() {
  using linux_guest::KernelLocation;
  static_assert(std::is_trivially_copyable_v<KernelLocation>);
  KernelLocation location;
  if (const auto noted = hypervisor_->noted(kLocationNote)) {
    if (noted->size() != sizeof location)
      return fail(ErrorCode::protocol, "the recording does not say where the kernel is");
    std::memcpy(&location, noted->data(), sizeof location);
    return linux_guest::LinuxKernel::open(hypervisor_->memory(), location);
  }
  auto found = linux_guest::LinuxKernel::find(hypervisor_->scan_memory());
  if (!found || &hypervisor_->scan_memory() == &hypervisor_->memory()) return found;
  location = found->location();
  if (auto noted = hypervisor_->note(kLocationNote, std::as_bytes(std::span{&location, 1})); !noted)
    return std::unexpected(noted.error());
  return linux_guest::LinuxKernel::open(hypervisor_->memory(), location);
}

Result<> Session::Impl::find_kernel() {
  auto found = open_kernel();
  if (!found) return std::unexpected(found.error());
  kernel_.emplace(std::move(*found));
  view_.emplace(*kernel_);
  paths_.emplace(*kernel_);
  processes_.emplace(options_.host_id, [this](std::uint64_t task) { return view_->process(task); });
  tracer_.emplace([this](const TracedCall& traced) { on_api_call(traced); });
  auto seen = view_->all();
  if (!seen) return std::unexpected(seen.error());
  for (SeenProcess& p : *seen) {
    p.process.parent = processes_->by_pid(p.parent_pid);
    processes_->add(std::move(p.process));
  }
  return {};
}

Result<> Session::Impl::prepare_target() {
  if (auto typed = kernel_->require_types(); !typed) return typed;
  if (auto set = hypervisor_->set_kernel_space(kernel_->space()); !set) return set;
  if (auto set = hypervisor_->set_return_thunks(hook::kernel_return_thunks(kernel_->symbols()));
      !set)
    return set;

  const auto current = linux_guest::current_task_offset(*kernel_);
  if (!current) return std::unexpected(current.error());
  const auto& offsets = kernel_->layout();
  const hypervisor::ProcessTables tables{.current_task = static_cast<std::uint32_t>(*current),
                                         .mm = offsets.task.mm.bytes(),
                                         .pgd = offsets.mm.pgd.bytes()};
  if (auto set = hypervisor_->set_process_tables(tables); !set) return set;
  const auto registers = linux_guest::user_registers(*kernel_);
  if (!registers) return std::unexpected(registers.error());
  auto layout = hook::make_guest_layout(*kernel_->types(), kernel_->symbols(), *current,
                                        registers->thread_size);
  if (!layout) return std::unexpected(layout.error());
  target_.layout = *layout;
  target_.types = kernel_->types();
  target_.symbols = &kernel_->symbols();
  target_.filter = options_.filter;
  for (const std::uint32_t pid : options_.filter.pids)
    if (auto added = hypervisor_->set_add(options_.filter.pid_set, pid); !added) return added;

  auto context = hook::compile_context(*layout);
  if (!context) return std::unexpected(context.error());
  if (auto set = hypervisor_->set_context_program(std::move(*context)); !set) return set;
  hooks_.emplace(*hypervisor_, *kernel_, target_);
  return {};
}

Result<> Session::Impl::choose_families() {
  auto all = behaviour::make_families();
  for (const std::string& name : options_.behaviours) {
    const bool known = name == "all" || name == "none" || name == "default" ||
                       std::ranges::any_of(all, [&](const auto& f) { return f->name() == name; });
    if (!known)
      return with_remedy(fail(ErrorCode::not_found, "there is no behaviour family '{}'", name),
                         fmt::format("choose from: all, default, none, {}", names_of(all)));
  }
  if (target_.filter.tree)
    if (auto added = hooks_->add_tree(); !added) return added;
  for (auto& family : all) {
    const auto on = is_on(*family);
    if (!on) return std::unexpected(on.error());
    if (!*on) continue;
    add_family(std::move(family));
  }
  if (options_.more_families)
    for (auto& family : options_.more_families()) add_family(std::move(family));
  if (guards_kernel()) add_entries();
  return {};
}

void Session::Impl::add_family(std::unique_ptr<Family> family) {
  hooks_->add_family(*family);
  for (std::string& what : family_apis_.add(*family, apis_)) hooks_->note_missing(std::move(what));
  families_.push_back(std::move(family));
}

Result<bool> Session::Impl::is_on(const Family& family) const {
  const std::vector<std::string>& wanted = options_.behaviours;
  const auto has = [&](std::string_view name) { return std::ranges::count(wanted, name) > 0; };
  const bool fits = family.platform() == behaviour::Platform::linux || apis_.windows() != nullptr;
  if (has(family.name()) && !fits)
    return with_remedy(
        fail(ErrorCode::unsupported, "'{}' is about Windows programs, which this guest has not",
             family.name()),
        "--guest windows-api");
  const bool defaults = wanted.empty() || (has("default") && !has("none"));
  return fits && (has("all") || has(family.name()) ||
                  (defaults && family.on_by_default(options_.platform)));
}

Result<> Session::Impl::add_apis() {
  std::vector<hook::Selector> selectors;
  for (const std::string& text : options_.apis) {
    auto selector = hook::parse_selector(text);
    if (!selector) return std::unexpected(selector.error());
    selectors.push_back(std::move(*selector));
  }
  auto selection = hook::resolve(selectors, apis_, &kernel_->symbols());
  if (!selection) return std::unexpected(selection.error());
  for (const hook::SelectedKernelFunction& selected : selection->kernel)
    if (auto added = add_kernel_function(selected); !added) return added;
  for (const std::string& note : selection->notes) hooks_->note_missing(note);
  selection_ = std::move(*selection);
  return {};
}

Result<std::optional<std::uint32_t>> Session::Impl::limiter_for(const hook::WatchOptions& options) {
  const std::uint32_t rate = options.rate != 0 ? options.rate : options_.rate_limit;
  if (rate == 0) return std::nullopt;
  const std::uint32_t limiter = next_limiter_++;
  const std::uint32_t burst = options.burst != 0 ? options.burst : rate;
  if (auto set = hypervisor_->set_rate(limiter, rate, burst); !set)
    return std::unexpected(set.error());
  return limiter;
}

Result<> Session::Impl::add_kernel_function(const hook::SelectedKernelFunction& selected) {
  const std::string& name = selected.symbol.name;
  // A glob names what the kernel needed for its start alone, too.
  if (!kernel_->virtual_memory().translate(selected.symbol.address)) {
    hooks_->note_missing("kernel!" + name + ": its code is not in memory any more");
    return {};
  }
  auto described = api::signature_from_btf(*kernel_->types(), name);
  if (!described) {
    hooks_->note_missing("kernel!" + name + ": " + described.error().message);
    return {};
  }
  auto limiter = limiter_for(selected.options);
  if (!limiter) return std::unexpected(limiter.error());
  kernel_signatures_.push_back(std::make_unique<api::Signature>(std::move(*described)));
  const api::Signature& signature = *kernel_signatures_.back();
  hook::SignatureOptions compile_options;
  compile_options.returns = selected.options.returns && hypervisor_->capabilities().returns;
  compile_options.rate_limiter = *limiter;
  auto programs =
      hook::compile_signature(signature, apis_.linux().vocabulary(), hook::Abi::linux_kernel,
                              target_, compile_options, hooks_->next_id());
  if (!programs) return std::unexpected(programs.error());
  return hooks_->add_kernel_api(signature, apis_.linux().vocabulary(), selected.symbol, *programs);
}

Result<> Session::Impl::watch_code_pages() {
  const bool unbacked = std::ranges::any_of(
      families_, [](const auto& family) { return family->wants_unbacked_code(); });
  hook::Selection selection = wanted();
  const bool modules = !selection.apis.empty() || !selection.exports.empty();
  if (!oracle_ && !unbacked && !modules) return {};
  const hypervisor::Capabilities can = hypervisor_->capabilities();
  const bool places = can.user_places && (modules || finder_);
  if (!can.user_pages && !places) return do_without_code_pages();
  if (!oracle_) {
    oracle_ = std::make_unique<ModuleOracle>(
        *hypervisor_, *kernel_, apis_, target_, *hooks_,
        ModuleOracle::Options{.selection = std::move(selection),
                              .report_unbacked = unbacked,
                              .limiter_of = [this](const hook::WatchOptions& watch) {
                                return limiter_for(watch).value_or(std::nullopt);
                              }});
    if (can.user_pages) oracle_->look_around();
  }
  return can.user_pages ? ask_about_pages() : find_code_pages();
}

Result<> Session::Impl::find_code_pages() {
  const std::string backend = hypervisor_->capabilities().backend;
  const auto is_windows = [](const hook::SelectedApi& api) { return api.windows; };
  if (std::ranges::any_of(wanted().apis, is_windows))
    return with_remedy(fail(ErrorCode::unsupported, "{} does not see Windows programs", backend),
                       "use a guest under TCG");
  if (std::ranges::any_of(families_, [](const auto& f) { return f->wants_unbacked_code(); }))
    hooks_->note_missing(fmt::format("code that belongs to no file: {} does not see it", backend));
  if (finder_) return {};
  auto finder = ModuleFinder::create(
      *hypervisor_, *kernel_,
      [this](Gva mapping, Gva file) { return oracle_->plan_file(mapping, file); },
      [this](Gpa page, const hypervisor::PageSites& sites) {
        return hooks_->place_program_page(page, sites);
      });
  if (!finder) return std::unexpected(finder.error());
  if (auto added = hooks_->add_code_hooks(); !added) return added;
  finder_.emplace(std::move(*finder));
  return {};
}

Result<> Session::Impl::do_without_code_pages() {
  const std::string backend = hypervisor_->capabilities().backend;
  if (!selection_.apis.empty() || !selection_.exports.empty())
    return with_remedy(
        fail(ErrorCode::unsupported, "{} watches functions of the kernel only", backend),
        "name kernel functions: kernel!do_filp_open; or use a guest under TCG");
  hooks_->note_missing(fmt::format("code of programs and libraries: {} does not see it", backend));
  return {};
}

Result<> Session::Impl::ask_about_pages() {
  return hypervisor_->watch_user_pages(
      [this](const hypervisor::PageQuestion& question) { return oracle_->answer(question); });
}

Result<hook::Selection> Session::Impl::resolve_api(std::string_view api) const {
  const auto selector = hook::parse_selector(api);
  if (!selector) return std::unexpected(selector.error());
  return hook::resolve(std::span{&*selector, 1}, apis_, &kernel_->symbols());
}

Result<> Session::Impl::add_api(std::string_view api) {
  const auto more = resolve_api(api);
  if (!more) return std::unexpected(more.error());
  hook::add_to(selection_, *more);
  return apply_selection(*more);
}

Result<> Session::Impl::remove_api(std::string_view api) {
  const auto less = resolve_api(api);
  if (!less) return std::unexpected(less.error());
  if (hook::take_from(selection_, *less) == 0)
    return fail(ErrorCode::not_found, "{} is not hooked", api);
  return apply_selection(*less);
}

Result<> Session::Impl::apply_selection(const hook::Selection& changed) {
  std::set<Gva> functions;
  for (const hook::SelectedKernelFunction& function : changed.kernel)
    functions.insert(function.symbol.address);
  std::vector<hypervisor::HookId> dropped = hooks_->remove_kernel_apis(functions);
  const bool modules = !changed.apis.empty() || !changed.exports.empty();
  if (modules && oracle_)
    for (const hypervisor::HookId id : oracle_->select(wanted())) dropped.push_back(id);
  if (auto retired = retire(dropped); !retired) return retired;

  for (const hook::SelectedKernelFunction& function : changed.kernel) {
    const bool wanted = std::ranges::any_of(selection_.kernel, [&](const auto& selected) {
      return selected.symbol.address == function.symbol.address;
    });
    if (!wanted) continue;
    if (auto added = add_kernel_function(function); !added) return added;
  }
  if (modules)
    if (auto watched = watch_code_pages(); !watched) return watched;
  if (auto placed = hooks_->place(); !placed) return placed;
  if (auto done = hypervisor_->commit(); !done) return done;
  return modules && finder_ ? finder_->look_around() : Result<>{};
}

Result<> Session::Impl::retire(const std::vector<hypervisor::HookId>& hooks) {
  if (hooks.empty()) return {};
  for (const hypervisor::HookId id : hooks)
    if (auto unloaded = hypervisor_->unload(id); !unloaded) return unloaded;
  if (auto drained = drain(); !drained) return drained;
  for (const hypervisor::HookId id : hooks) {
    const auto meaning = hooks_->find(id.value);
    if (const auto* api = meaning ? std::get_if<ApiHook>(&meaning->meaning) : nullptr)
      tracer_->on_hook_removed(*api->signature);
  }
  return {};
}

Result<std::size_t> Session::Impl::pump(std::chrono::milliseconds timeout) {
  if (oracle_ && oracle_->take_stale()) {
    if (auto asked = ask_about_pages(); !asked) return std::unexpected(asked.error());
    if (auto done = hypervisor_->commit(); !done) return std::unexpected(done.error());
  }
  const Result<> looked = finder_ ? finder_->look() : Result<>{};
  if (finder_) timeout = std::min(timeout, finder_->until_next_look());
  const auto handled =
      hypervisor_->poll([this](const RecordView& record) { on_record(record); }, timeout);
  if (handled) check_guest(*handled);
  // A VM that is gone is told by poll(), not as what could not be hooked any more.
  if (handled && !looked) return std::unexpected(looked.error());
  return handled;
}

Result<> Session::Impl::follow(std::uint32_t pid) {
  followed_.insert(pid);
  return hypervisor_->set_add(options_.filter.tree_set, pid);
}

bool Session::Impl::is_followed(const ProcessPtr& process) const {
  if (followed_.empty()) return true;
  constexpr int kMaxGenerations = 256;
  const behaviour::Process* ancestor = process.get();
  for (int i = 0; ancestor != nullptr && i < kMaxGenerations; ++i) {
    if (followed_.contains(ancestor->pid)) return true;
    ancestor = ancestor->parent.get();
  }
  return false;
}

Result<> Session::Impl::drain() {
  for (int rounds = 0; rounds < 1000; ++rounds) {
    const auto handled = pump(std::chrono::milliseconds(rounds == 0 ? 5 : 0));
    if (!handled && handled.error().code != ErrorCode::closed)
      return std::unexpected(handled.error());
    if (!handled || *handled == 0) break;
  }
  return {};
}

Result<> Session::Impl::finish() {
  if (auto drained = drain(); !drained) return drained;
  if (guard_) {
    tell(guard_->look_for_the_last_time());
    if (auto drained = drain(); !drained) return drained;
    tell(guard_->look_for_the_last_time());
  }
  tracer_->finish();
  for (auto& family : families_) family->on_end(*this);
  return {};
}

Actor Session::Impl::actor_of(const RecordView& record) const {
  const capture::FieldView* context = record.find(hook::kContextField);
  if (context == nullptr) return {};
  const std::uint64_t ids = context->word(hook::kContextPid);
  return {.task = context->word(hook::kContextTask),
          .thread_id = static_cast<std::uint32_t>(ids),
          .key = {.pid = static_cast<std::uint32_t>(ids >> 32),
                  .start_time = context->word(hook::kContextStart)}};
}

void Session::Impl::on_record(const RecordView& record) {
  last_record_ = hypervisor_->wall_time(record.header().timestamp);
  if (first_record_ == std::chrono::system_clock::time_point{}) first_record_ = last_record_;
  if (record.header().flags & capture::kRecordTruncated) ++truncated_;
  if (record.header().kind == capture::RecordKind::code_page) return on_code_page(record);
  const auto found = hooks_->find(record.header().hook);
  if (!found) {
    ++unresolved_;
    return;
  }
  const bool given_up = (record.header().flags & capture::kRecordGivenUp) != 0;
  if (const auto* family = std::get_if<FamilyHook>(&found->meaning); family && !given_up)
    on_family_record(*family, record);
  else if (const auto* api = std::get_if<ApiHook>(&found->meaning))
    on_api_record(*api, record);
  else if (std::holds_alternative<EntriesHook>(found->meaning))
    on_entries(record);
  else if (const auto* code = std::get_if<CodeHookOf>(&found->meaning); code && finder_)
    on_code_record(code->kind, record);
}

void Session::Impl::on_api_record(const ApiHook& hook, const RecordView& record) {
  const Actor actor = actor_of(record);
  if (guard_) guard_->acts(actor);
  const ProcessPtr process = processes_->resolve(actor);
  if (imports_) imports_->acts(process);
  tracer_->on_record(hook, family_apis_.at_entry(hook.wanted), record,
                     {.time = hypervisor_->wall_time(record.header().timestamp),
                      .process = process,
                      .thread_id = actor.thread_id});
}

void Session::Impl::on_api_call(const TracedCall& traced) {
  if (traced.hook.wanted != nullptr) family_apis_.tell(traced.call, traced.is_entry, *this);
  if (traced.hook.shown != nullptr && !traced.is_entry) emit(api_events_.make(traced));
}

void Session::Impl::on_family_record(const FamilyHook& hook, const RecordView& record) {
  const Actor actor = actor_of(record);
  if (guard_) guard_->acts(actor);
  const Call call(record, hook.spec, hook.spec_index,
                  hypervisor_->wall_time(record.header().timestamp), processes_->resolve(actor));
  if (imports_) imports_->acts(call.process());
  for (auto& family : families_) family->on_any_call(call, *this);
  hook.family->on_call(call, *this);
}

void Session::Impl::on_code_page(const RecordView& record) {
  const capture::FieldView* words = record.find(capture::kCodePageField);
  const Actor actor = actor_of(record);
  if (words == nullptr || actor.task == 0) {
    ++unresolved_;
    return;
  }
  const auto process = processes_->resolve(actor);
  // Page questions are asked for every process.
  if (!is_followed(process)) return;
  const auto time = hypervisor_->wall_time(record.header().timestamp);
  const auto change = oracle_ ? oracle_->take_change(Gpa{words->word(capture::kCodePageGpa)},
                                                     words->word(capture::kCodePageHash))
                              : std::nullopt;
  for (auto& family : families_)
    if (change)
      family->on_modified_code(process, *change, time, *this);
    else
      family->on_unbacked_code(process, words->word(capture::kCodePageGva) & ~kPageMask, time,
                               *this);
}

void Session::Impl::on_code_record(CodeHookKind kind, const RecordView& record) {
  if (kind == CodeHookKind::page_in) finder_->on_page_in();
  if (kind != CodeHookKind::mapping) return;
  const capture::FieldView* words = record.find(hook::kFirstCapture);
  if (words == nullptr) return;
  finder_->on_mapping(Gva{words->word(kCodeMappingFile)}, Gva{words->word(kCodeMappingMapping)});
}

Result<output::Summary> Session::Impl::summary() {
  output::Summary summary = seen_;
  summary.duration = last_record_ - first_record_;
  summary.missing_hooks = hooks_->missing();
  if (oracle_) std::ranges::move(oracle_->notes(), std::back_inserter(summary.missing_hooks));
  const auto hooks = hypervisor_->hook_counters();
  if (!hooks) return std::unexpected(hooks.error());
  for (const hypervisor::HookCounters& h : *hooks) {
    const auto found = hooks_->find(h.id.value);
    summary.hooks.push_back({.name = found ? found->name : fmt::format("hook {}", h.id.value),
                             .hits = h.hits,
                             .sent = h.sent,
                             .filtered = h.filtered,
                             .rate_limited = h.rate_limited,
                             .dropped = h.dropped,
                             .returned = h.returned,
                             .unreturned = h.unreturned});
    summary.losses.rate_limited += h.rate_limited;
    summary.losses.unreturned += h.unreturned;
  }
  const auto probe = hypervisor_->probe_counters();
  if (!probe) return std::unexpected(probe.error());
  summary.losses.dropped = probe->dropped;
  summary.losses.budget = probe->budget;
  summary.losses.page_timeouts = probe->page_timeouts;
  summary.losses.malformed = probe->malformed;
  summary.losses.late_commits = probe->late_commits;
  summary.losses.overwritten = probe->overwritten;
  summary.losses.lifted = probe->lifted;
  summary.blocks = {.shown = probe->blocks_shown, .hidden = probe->blocks_hidden};
  summary.losses.unresolved = unresolved_ + tracer_->unjoined();
  if (oracle_) summary.losses.unresolved += oracle_->unresolved();
  if (finder_) summary.losses.unresolved += finder_->unresolved();
  summary.losses.truncated = truncated_;
  return summary;
}

}  // namespace glasshook::monitor
