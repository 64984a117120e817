#include "hypervisor/qemu/qemu_probe.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "hypervisor/qemu/late_frees.h"

namespace glasshook::hypervisor::qemu {

QemuProbe* g_probe = nullptr;

namespace {

/// A question nobody answers in this time lets the code run unhooked.
constexpr std::int64_t kAnswerDeadlineNs = 1'000'000'000;
constexpr std::uint32_t kMaxUnanswered = 3;
/// What a guest that rewrites its code leaves behind is freed when it is that much: some ten MiB.
constexpr std::size_t kMostRetired = 8192;

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = probe::ticks();
  return seed;
}

}  // namespace

QemuProbe::QemuProbe(qemu_plugin_id_t id, const ProbeOptions& options, probe::SharedRegion region,
                     int region_fd)
    : id_(id),
      options_(options),
      region_(region),
      region_fd_(region_fd),
      limiters_(region.ticks_per_second()),
      environment_{.ram = &ram_, .kernel_space = {}, .sets = nullptr, .limiters = &limiters_},
      runner_(region_, environment_),
      pages_(random_seed()),
      cpu_states_(options.vcpus),
      gate_([](std::uint64_t address, const std::byte* code) {
        return g_probe->wants(Gva{address}, code);
      }) {
  auto* board = qemu_plugin_scoreboard_new(3 * sizeof(std::uint64_t));
  attention_ = {board, 0};
  armed_ = {board, sizeof(std::uint64_t)};
  entering_ = {board, 2 * sizeof(std::uint64_t)};
}

// ---- control thread ----

Result<probe::ControlTarget::Welcome> QemuProbe::attach(Tier) {
  if (!host_ram_) {
    auto found = find_host_ram();
    if (!found) return std::unexpected(found.error());
    host_ram_ = std::move(*found);
    ram_ = host_ram_->ram;
  }
  auto sets = capture::SetTable::create();
  if (!sets) return std::unexpected(sets.error());
  {
    const std::lock_guard lock(replaced_mutex_);
    sets_.push_back(std::make_unique<capture::SetTable>(std::move(*sets)));
    environment_.sets = sets_.back().get();
  }
  attached_ = was_attached_ = true;
  runner_.forget_counts();
  runner_.set_enabled(true);
  return Welcome{.capabilities = {.backend = "qemu-tcg",
                                  .user_pages = true,
                                  .returns = true,
                                  .instructions = true,
                                  .hidden_from_reads = true,
                                  .write_protected = true},
                 .ram = host_ram_->pieces,
                 .region_fd = region_fd_,
                 .ram_fd = host_ram_->fd};
}

void QemuProbe::detach() {
  attached_ = false;
  runner_.set_enabled(false);
  watch_user_ = false;
  watch_kernel_ = false;
  hooks_.unload_all();
  pages_.clear();
  (void)commit();
}

Result<> QemuProbe::set_kernel_space(AddressSpace space) {
  environment_.kernel_space = space;
  return {};
}

Result<> QemuProbe::set_return_thunks(std::vector<Gva> thunks) {
  const std::lock_guard lock(replaced_mutex_);
  thunk_lists_.push_back(std::make_unique<std::vector<Gva>>(std::move(thunks)));
  thunks_ = thunk_lists_.back().get();
  return {};
}

Result<> QemuProbe::set_kernel_entries(const KernelEntries& entries) {
  cpu_.expect(entries);
  return {};
}

Result<> QemuProbe::set_context_program(capture::Program program) {
  runner_.set_context_program(program);
  return {};
}

Result<> QemuProbe::load(HookPrograms hook) { return hooks_.load(hook); }

Result<> QemuProbe::unload(HookId id) { return hooks_.unload(id); }

Result<> QemuProbe::place(Gpa page, const PageSites& sites) {
  if (page.page_offset() != 0 || ram_.at(page, kPageSize) == nullptr)
    return fail(ErrorCode::invalid_argument, "{:#x} is not a page of guest RAM", page.value);
  pages_.place_kernel(page, std::make_unique<probe::WatchedPage>(sites, hooks_, false));
  watch_kernel_ = true;
  return {};
}

Result<> QemuProbe::place_at(PrivilegedInstruction instruction, HookId hook) {
  PageSites sites;
  sites.entries = {{.offset = 0, .hook = hook}};
  pages_.place_at(instruction, std::make_unique<probe::WatchedPage>(sites, hooks_, false));
  watch_kernel_ = true;
  return {};
}

Result<> QemuProbe::watch_user_pages(bool on) {
  pages_.clear_user();
  watch_user_ = on;
  return {};
}

Result<> QemuProbe::commit() {
  const bool watching = watch_kernel_ || watch_user_;
  const bool begins = watching && !translating_;
  if (translated_ || begins) request_flush();
  // Wakes halted vCPUs too, which then find the request.
  if (begins) begin_translating();
  return {};
}

Result<> QemuProbe::set_add(std::uint32_t set, std::uint64_t key) {
  if (set >= capture::kSetCount || !environment_.sets->add(set, key))
    return fail(ErrorCode::limit, "set {} is full", set);
  return {};
}

Result<> QemuProbe::set_remove(std::uint32_t set, std::uint64_t key) {
  if (set < capture::kSetCount) environment_.sets->remove(set, key);
  return {};
}

Result<> QemuProbe::set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) {
  if (limiter >= capture::kLimiterCount)
    return fail(ErrorCode::limit, "there is no rate limiter {}", limiter);
  limiters_.configure(limiter, per_second, burst);
  return {};
}

void QemuProbe::request_flush() {
  region_.header().commits_asked = ++flushes_asked_;
  flush_wanted_ = 1;
  for (std::uint32_t v = 0; v < options_.vcpus; ++v) qemu_plugin_u64_set(attention_, v, 1);
}

// ---- vCPU threads ----

void QemuProbe::on_heartbeat(unsigned vcpu) {
  qemu_plugin_u64_set(attention_, vcpu, 0);
  take_requests();
}

void QemuProbe::take_requests(bool in_translation) {
  if (flush_wanted_.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  if (flush_running_.exchange(1) != 0) return;
  flush_wanted_ = 0;
  flushing_ = flushes_asked_.load();
  flush_from_translation_ = in_translation;
  // Drops all translated code and our callbacks; on_reset_done() registers those that are wanted.
  LateFrees::begin();
  qemu_plugin_reset(id_, [](qemu_plugin_id_t) { g_probe->on_reset_done(); });
}

void QemuProbe::on_resume() {
  if (!resumes_.load(std::memory_order_relaxed)) resumes_ = true;
  take_requests();
}

void QemuProbe::on_reset_done() {
  LateFrees::end();
  translated_ = false;
  collect();
  register_callbacks();
  auto& done = region_.header().commits_done;
  done = flushing_;
  probe::futex_wake(done);
  flush_running_ = 0;
  // One was asked for while this one ran.
  if (flush_wanted_ != 0)
    for (std::uint32_t v = 0; v < options_.vcpus; ++v) qemu_plugin_u64_set(attention_, v, 1);
}

/// All translated code is gone, and all vCPUs stand outside of it (plugin_flush_destroy() in QEMU's
/// plugins/loader.c runs in an exclusive context): nobody holds what was replaced.
void QemuProbe::collect() {
  {
    const std::lock_guard lock(sites_mutex_);
    sites_.clear();
  }
  pages_.collect();
  runner_.collect(hooks_);
  const std::lock_guard lock(replaced_mutex_);
  if (sets_.size() > 1) sets_.erase(sets_.begin(), sets_.end() - 1);
  if (thunk_lists_.size() > 1) thunk_lists_.erase(thunk_lists_.begin(), thunk_lists_.end() - 1);
}

// QEMU loads plugins as it starts, when there is still room for what is found without a call.
[[gnu::tls_model(
    "initial-exec")]] constinit thread_local QemuProbe::RunningVcpu QemuProbe::running_vcpu_;

const capture::CpuState& QemuProbe::cpu_state(unsigned vcpu, const Site& site,
                                              const std::uint64_t* env) {
  running_vcpu_ = {vcpu, env};
  capture::CpuState& cpu = cpu_states_[vcpu].cpu;
  cpu_.read(env, site.user, cpu);
  complete(cpu, vcpu, site);
  return cpu;
}

void QemuProbe::complete(capture::CpuState& cpu, unsigned vcpu, const Site& site) const {
  cpu.vcpu = vcpu;
  cpu.space.five_level = environment_.kernel_space.five_level;
  // QEMU writes RIP back at the start of a block only, and blocks are shared between addresses:
  // the page comes from RIP, the offset from the site.
  const std::uint64_t rip_page = cpu.rip & ~kPageMask;
  const bool still_on_first = site.second_page && (cpu.rip & kPageMask) >= site.block_offset;
  cpu.rip = rip_page + (still_on_first ? kPageSize : 0) + site.offset;
}

void QemuProbe::on_arrival(unsigned vcpu, const std::uint64_t* env) { running_vcpu_ = {vcpu, env}; }

void QemuProbe::on_entry(unsigned vcpu, const Site& site, const std::uint64_t* env) {
  enter(vcpu, site, site.hooks, cpu_state(vcpu, site, env));
  take_requests();
}

void QemuProbe::enter(unsigned vcpu, const Site& site, probe::WatchedPage::Entries hooks,
                      const capture::CpuState& cpu) {
  const std::uint64_t stack = cpu.gpr[static_cast<std::size_t>(capture::CpuRegister::rsp)];
  const bool interrupted = site.can_restart && take_interrupted(stack);
  for (const auto& [offset, hook] : hooks) runner_.enter(*hook, cpu, interrupted);
  if (site.can_restart) qemu_plugin_u64_set(entering_, vcpu, stack + 1);
}

bool QemuProbe::take_interrupted(std::uint64_t stack) {
  for (std::uint32_t v = 0; v < options_.vcpus; ++v) {
    if (qemu_plugin_u64_get(entering_, v) != stack + 1) continue;
    qemu_plugin_u64_set(entering_, v, 0);
    return true;
  }
  return false;
}

void QemuProbe::on_return(unsigned vcpu, const Site& site, const std::uint64_t* env) {
  // Calls that were refused at entry return here too.
  if (const auto frame = cpu_.frame(env, site.user); frame && !runner_.awaits(*frame)) return;
  runner_.leave(cpu_state(vcpu, site, env));
}

void QemuProbe::on_first_run(unsigned vcpu, const Site& site, const std::uint64_t* env) {
  running_vcpu_ = {vcpu, env};
  // Each read teaches. Code that was translated before it is over comes here whenever it runs.
  if (cpu_.is_learning(site.user)) {
    (void)cpu_state(vcpu, site, env);
    if (!cpu_.is_learning(site.user)) flush_wanted_ = 1;
  }
  if (is_due(site)) ask_and_report(vcpu, site, cpu_state(vcpu, site, env));
  const probe::WatchedPage* page = site.content->watched.load(std::memory_order_acquire);
  qemu_plugin_u64_set(armed_, vcpu, page != nullptr && page->has_sites() ? 1 : 0);
  take_requests();
}

void QemuProbe::on_maybe_site(unsigned vcpu, const Site& site, const std::uint64_t* env) {
  const probe::WatchedPage* page = site.content->watched.load(std::memory_order_acquire);
  if (page == nullptr) return;
  const bool enters = page->enters_at(site.offset);
  const bool returns = site.is_return && page->returns_at(site.offset);
  if (!enters) qemu_plugin_u64_set(entering_, vcpu, 0);
  if (!enters && !returns) return;
  const capture::CpuState& cpu = cpu_state(vcpu, site, env);
  if (enters) enter(vcpu, site, page->hooks_at(site.offset), cpu);
  if (returns && runner_.awaits(probe::FrameKey::of(cpu))) runner_.leave(cpu);
}

void QemuProbe::on_instruction(unsigned vcpu, const Site& site, const std::uint64_t* env) {
  constexpr auto kRax = static_cast<std::size_t>(capture::CpuRegister::rax);
  constexpr auto kRdx = static_cast<std::size_t>(capture::CpuRegister::rdx);
  capture::CpuState cpu = cpu_state(vcpu, site, env);
  if (site.instruction == PrivilegedInstruction::write_msr)
    cpu.operand = cpu.gpr[kRdx] << 32 | (cpu.gpr[kRax] & 0xffffffff);
  else if (site.instruction == PrivilegedInstruction::write_cr0)
    cpu.operand = cpu.gpr[site.source];
  for (const auto& [offset, hook] : site.hooks) runner_.enter(*hook, cpu, false);
}

void QemuProbe::report_placement(const Site& site, const capture::CpuState& cpu) {
  const std::uint64_t words[4] = {site.gpa.value, cpu.rip, cpu.space.root.value,
                                  site.content->hash};
  runner_.report_code_page(cpu, words);
}

// ---- page questions ----

bool QemuProbe::is_due(const Site& site) const {
  const PageContent& content = *site.content;
  if (!attached_ || !watch_user_ ||
      content.state.load(std::memory_order_acquire) == PageContent::kKnown)
    return false;
  const probe::AskAgain* again = content.again.load(std::memory_order_acquire);
  const std::uint64_t now = probe::ticks();
  return again == nullptr ? now >= content.ask_from.load(std::memory_order_relaxed)
                          : again->is_due(site.offset, now);
}

void QemuProbe::ask_and_report(unsigned vcpu, const Site& site, const capture::CpuState& cpu) {
  ask(vcpu, site, cpu);
  const probe::WatchedPage* page = site.content->watched.load(std::memory_order_acquire);
  if (page != nullptr && page->report_placements() && pages_.take_report(site.gpa))
    report_placement(site, cpu);
}

void QemuProbe::ask(unsigned vcpu, const Site& site, const capture::CpuState& cpu) {
  PageContent& content = *site.content;
  std::uint32_t expected = PageContent::kUnknown;
  if (!content.state.compare_exchange_strong(expected, PageContent::kAsking)) {
    // Another vCPU asks already.
    if (expected == PageContent::kAsking)
      probe::futex_wait(content.state, PageContent::kAsking, kAnswerDeadlineNs);
    return;
  }
  probe::ProbeCell& counters = runner_.counters(vcpu);
  counters.page_questions.fetch_add(1, std::memory_order_relaxed);
  probe::QuestionSlot& slot = region_.question(vcpu);
  slot.page = site.gpa.value;
  slot.address = cpu.rip;
  slot.root = cpu.space.root.value;
  slot.five_level = cpu.space.five_level ? 1 : 0;
  slot.hash = content.hash.load();
  const std::uint64_t hash = slot.hash;
  slot.timestamp = probe::ticks();
  slot.context_size = runner_.capture_context(cpu, slot.context);
  slot.state.store(static_cast<std::uint32_t>(probe::QuestionState::asked));
  auto& bell = region_.header().question_bell;
  bell.fetch_add(1);
  probe::futex_wake(bell);

  const std::uint64_t deadline =
      probe::ticks() + region_.ticks_per_second() / 1000 * (kAnswerDeadlineNs / 1'000'000);
  while (attached_ && probe::ticks() < deadline) {
    if (take_answer(vcpu, site, hash)) return;
    probe::futex_wait(slot.state, static_cast<std::uint32_t>(probe::QuestionState::asked),
                      10'000'000);
  }
  if (take_answer(vcpu, site, hash)) return;
  slot.state.store(static_cast<std::uint32_t>(probe::QuestionState::idle));
  counters.page_timeouts.fetch_add(1, std::memory_order_relaxed);
  pages_.give_up(content, hash, content.failures.fetch_add(1) + 1 >= kMaxUnanswered,
                 std::make_unique<probe::WatchedPage>(PageSites{}, hooks_, true));
  probe::futex_wake(content.state);
}

bool QemuProbe::take_answer(unsigned vcpu, const Site& site, std::uint64_t hash) {
  PageContent& content = *site.content;
  probe::QuestionSlot& slot = region_.question(vcpu);
  if (slot.state.load(std::memory_order_acquire) !=
      static_cast<std::uint32_t>(probe::QuestionState::answered))
    return false;
  PageSites sites;
  sites.report_placements = slot.report_placements != 0;
  const auto entries = std::min(slot.entry_count, probe::kMaxSitesPerPage);
  const auto ranges = std::min(slot.range_count, probe::kMaxSitesPerPage);
  sites.entries.assign(slot.entries.begin(), slot.entries.begin() + entries);
  sites.returns.assign(slot.ranges.begin(), slot.ranges.begin() + ranges);
  const bool ask_again = slot.ask_again != 0;
  slot.state.store(static_cast<std::uint32_t>(probe::QuestionState::idle));
  auto watched = std::make_unique<probe::WatchedPage>(sites, hooks_, true);
  if (ask_again)
    pages_.answer_so_far(content, hash, std::move(watched), site.offset,
                         region_.ticks_per_second() / 1000);
  else
    pages_.answer(content, hash, std::move(watched));
  probe::futex_wake(content.state);
  if (pages_.retired() > kMostRetired) flush_wanted_ = 1;
  return true;
}

}  // namespace glasshook::hypervisor::qemu
