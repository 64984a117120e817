#include "hypervisor/kvm/kvm_probe.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <csignal>
#include <cstring>
#include <set>
#include <sstream>
#include <utility>

#include "capture/guest_reader.h"
#include "hypervisor/kvm/guest_memory.h"
#include "hypervisor/kvm/special_registers.h"

namespace glasshook::hypervisor::kvm {
namespace {

/// How long a commit waits for vCPUs to leave the guest; they do within microseconds.
constexpr std::int64_t kArmTimeNs = 500'000'000;

Capabilities stealth() {
  return {.backend = "kvm-stealth",
          .max_sites = kDebugRegisters,
          .hidden_from_reads = true,
          .write_protected = true};
}
Capabilities broad(bool guarded) {
  return {.backend = "kvm-broad", .user_places = true, .returns = true, .write_protected = guarded};
}

}  // namespace

KvmProbe::KvmProbe(KvmCalls& calls, KvmProbeOptions options)
    : calls_(calls),
      options_(std::move(options)),
      patches_({.read = [this](CodePlace from,
                               std::span<std::byte> out) { return read_code(from, out); },
                .locate =
                    [this](CodePlace at) {
                      const Located found =
                          at.is_kernel() ? locate(ram_, environment_.kernel_space, at.address())
                                         : located(ram_, at.physical());
                      return std::pair{found.gpa, found.host};
                    }}) {
  environment_.ram = &ram_;
  plans_.push_back(std::make_unique<Plan>());
  plan_ = plans_.back().get();
}

bool KvmProbe::read_code(CodePlace from, std::span<std::byte> out) const {
  if (from.is_kernel()) {
    capture::DirectoryCache known;
    capture::GuestReader reader(ram_, environment_.kernel_space, environment_.kernel_space, known);
    return reader.copy(from.address(), capture::Space::kernel, out) == out.size();
  }
  // What follows a page of a program in memory is not what follows in the program.
  if (from.page_offset() + out.size() > kPageSize) return false;
  const std::byte* host = ram_.at(from.physical(), out.size());
  if (host != nullptr) std::memcpy(out.data(), host, out.size());
  return host != nullptr;
}

Result<probe::ControlTarget::Welcome> KvmProbe::attach(Tier tier) {
  if (auto ok = check_kernel(); !ok) return std::unexpected(ok.error());
  if (tier == Tier::broad && unknown_vcpu_)
    return fail(ErrorCode::unsupported, "a vCPU of this VM is out of sight");
  if (auto ok = find_ram(); !ok) return std::unexpected(ok.error());
  if (!region_)
    if (auto ok = make_region(); !ok) return std::unexpected(ok.error());
  auto sets = capture::SetTable::create();
  if (!sets) return std::unexpected(sets.error());
  sets_.push_back(std::make_unique<capture::SetTable>(std::move(*sets)));
  environment_.sets = sets_.back().get();
  tier_ = tier;
  if (tier == Tier::broad) {
    begin_tending();
    if (options_.guards_writes) begin_guarding();
  }
  map_pieces();
  runner_->forget_counts();
  runner_->set_enabled(true);
  return Welcome{.capabilities = tier == Tier::broad ? broad(guard_ != nullptr) : stealth(),
                 .ram = pieces_,
                 .region_fd = region_fd_,
                 .ram_fd = ram_fd_};
}

Result<> KvmProbe::check_kernel() {
  if (vcpu_count() == 0) return fail(ErrorCode::unsupported, "this QEMU runs no guest under KVM");
  const auto extension = [&](unsigned long which) {
    return calls_.ioctl(kvm_fd_, KVM_CHECK_EXTENSION, reinterpret_cast<void*>(which));
  };
  constexpr int kNeeded = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  if ((std::max(extension(KVM_CAP_SYNC_REGS), 0) & kNeeded) != kNeeded)
    return with_remedy(
        fail(ErrorCode::unsupported, "this kernel's KVM does not pass on registers at exits"),
        "Linux 4.17 or later is needed");
  if (extension(KVM_CAP_SET_GUEST_DEBUG) <= 0)
    return fail(ErrorCode::unsupported, "this kernel's KVM has no guest debugging");
  return {};
}

Result<> KvmProbe::find_ram() {
  if (!own_memory_) {
    const auto mapping = probe::find_ram_mapping();
    if (!mapping) return std::unexpected(mapping.error());
    const std::lock_guard lock(mapping_mutex_);
    mapping_ = *mapping;
    memory_ = reinterpret_cast<std::byte*>(mapping->begin);
  }
  if (ram_fd_ < 0) {
    const auto fd = probe::open_read_only(mapping_);
    if (!fd) return std::unexpected(fd.error());
    ram_fd_ = *fd;
  }
  saving_ = slots_.notes_writes(mapping_);
  // Anew for each monitor: memory may have been plugged in.
  pieces_ = slots_.pieces(mapping_);
  if (pieces_.empty())
    return fail(ErrorCode::unsupported, "KVM's memory slots hold nothing of this VM's RAM");
  return {};
}

void KvmProbe::map_pieces() {
  ram_ = GuestRam{};
  for (const probe::RamPiece& piece : pieces_)
    ram_.add({.begin = Gpa{piece.gpa},
              .size = piece.size,
              .host = memory_ + (piece.file_offset - mapping_.file_offset)});
}

Result<> KvmProbe::make_region() {
  const auto vcpus = std::max<std::uint32_t>(static_cast<std::uint32_t>(vcpu_count()),
                                             std::min(options_.max_vcpus, probe::kMaxVcpus));
  const auto bytes = probe::make_shared_memory(
      probe::SharedRegion::size_for(vcpus, options_.ring_bytes), region_fd_);
  if (!bytes) return std::unexpected(bytes.error());
  region_ = probe::SharedRegion::create(*bytes, vcpus, options_.ring_bytes,
                                        probe::measure_ticks_per_second());
  limiters_.emplace(region_->ticks_per_second());
  environment_.limiters = &*limiters_;
  runner_.emplace(*region_, environment_);
  patches_.tell(*region_);
  return {};
}

void KvmProbe::detach() {
  runner_->set_enabled(false);
  hooks_.unload_all();
  entry_needs_.clear();
  return_needs_.clear();
  placed_.clear();
  // First: what no plan names is given to the guest as its own.
  patches_.want({});
  patches_.guard_with({});
  guard_.reset();
  publish(std::make_unique<Plan>());
}

Result<> KvmProbe::set_kernel_space(AddressSpace space) {
  environment_.kernel_space = space;
  return {};
}

Result<> KvmProbe::set_process_tables(const ProcessTables& process) {
  process_tables_ = process;
  return {};
}

// A jump to a thunk is done as the jump it is.
Result<> KvmProbe::set_return_thunks(std::vector<Gva>) { return {}; }

Result<> KvmProbe::set_context_program(capture::Program program) {
  runner_->set_context_program(program);
  return {};
}

Result<> KvmProbe::load(HookPrograms hook) {
  if (hook.on_return && tier_ == Tier::stealth)
    return fail(ErrorCode::unsupported, "hardware breakpoints do not show when a function returns");
  entry_needs_[hook.id] = kvm::needs_of(hook.entry);
  return_needs_[hook.id] = hook.on_return ? kvm::needs_of(*hook.on_return) : Needs::general;
  return hooks_.load(hook);
}

Result<> KvmProbe::unload(HookId id) {
  entry_needs_.erase(id);
  return_needs_.erase(id);
  return hooks_.unload(id);
}

Result<> KvmProbe::place(Gpa page, const PageSites& sites) {
  if (page.page_offset() != 0 || ram_.at(page, kPageSize) == nullptr)
    return fail(ErrorCode::invalid_argument, "{:#x} is not a page of guest RAM", page.value);
  if (sites.entries.empty() && (tier_ == Tier::stealth || sites.return_places.empty())) {
    placed_.erase(page);
    return {};
  }
  const bool program = sites.address.is_null();
  if (program && tier_ == Tier::stealth)
    return fail(ErrorCode::unsupported,
                "hardware breakpoints do not show the code of programs: it runs at many addresses");
  if (!program && (!sites.address.is_kernel() || sites.address.page_offset() != 0))
    return fail(ErrorCode::invalid_argument, "{:#x} is no page of a kernel", sites.address.value);
  auto watched = std::make_unique<probe::WatchedPage>(sites, hooks_, program);
  std::vector<Site> chosen;
  if (auto ok = choose_entries(page, sites, *watched, chosen); !ok) return ok;
  if (tier_ == Tier::broad)
    if (auto ok = choose_returns(page, sites, *watched, chosen); !ok) return ok;
  pages_.push_back(std::move(watched));
  placed_[page] = {pages_.back().get(), std::move(chosen)};
  return {};
}

Result<> KvmProbe::choose_entries(Gpa page, const PageSites& sites,
                                  const probe::WatchedPage& watched, std::vector<Site>& chosen) {
  std::set<std::uint16_t> offsets;
  for (const EntrySite& entry : sites.entries)
    if (watched.enters_at(entry.offset & kPageMask)) offsets.insert(entry.offset);
  for (const std::uint16_t offset : offsets) {
    Site site{.place = CodePlace(page + offset),
              .page = &watched,
              .hooks = watched.hooks_at(offset),
              .patch = {}};
    if (!watched.user()) {
      const Gva entry = sites.address + offset;
      site.entry = entry.value;
      site.place = tier_ == Tier::broad ? entry_place(patches_, entry) : CodePlace(entry);
    }
    if (tier_ == Tier::broad) {
      auto patch = patches_.make(site.place);
      if (!patch) return std::unexpected(patch.error());
      site.patch = std::move(*patch);
    }
    chosen.push_back(std::move(site));
  }
  return {};
}

Result<> KvmProbe::choose_returns(Gpa page, const PageSites& sites,
                                  const probe::WatchedPage& watched, std::vector<Site>& chosen) {
  for (const std::uint16_t offset : sites.return_places) {
    if (!watched.returns_at(offset)) continue;
    const CodePlace place =
        watched.user() ? CodePlace(page + offset) : CodePlace(sites.address + offset);
    // Something else is there by now: no return to see.
    const auto kind = patches_.instruction_at(place).kind;
    if (kind != Instruction::Kind::ret && kind != Instruction::Kind::jump) continue;
    auto patch = patches_.make(place);
    if (!patch) return std::unexpected(patch.error());
    chosen.push_back(
        {.place = place, .page = &watched, .hooks = {}, .returns = true, .patch = *patch});
  }
  return {};
}

Result<> KvmProbe::watch_user_pages(bool on) {
  if (!on) return {};
  return fail(ErrorCode::unsupported, "KVM does not tell which pages of code run");
}

std::unique_ptr<Plan> KvmProbe::make_plan() const {
  std::vector<Site> sites;
  for (const auto& [page, placed] : placed_)
    for (const Site& site : placed.sites) {
      const bool enters = std::ranges::any_of(
          site.hooks, [](const auto& entry) { return entry.second->active.load(); });
      if (!enters && !site.returns) continue;
      sites.push_back(site);
      sites.back().needs = needs_of(site);
    }
  return std::make_unique<Plan>(std::move(sites), tier_ == Tier::broad);
}

Needs KvmProbe::needs_of(const Site& site) const {
  // Its page is found by the address space that runs it.
  if (site.page->user()) return Needs::special;
  Needs most = Needs::general;
  // Whose return it is will be seen there.
  if (site.returns)
    for (const auto& [hook, needs] : return_needs_) most = std::max(most, needs);
  for (const auto& [offset, hook] : site.hooks)
    if (const auto it = entry_needs_.find(hook->id); it != entry_needs_.end())
      most = std::max(most, it->second);
  return most;
}

Result<> KvmProbe::check_room(const Plan& plan) const {
  if (plan.instructions()) return {};
  std::size_t taken = 0;
  for (std::size_t i = 0; i < vcpu_count(); ++i)
    taken = std::max<std::size_t>(taken, std::popcount(vcpus_[i]->taken.load()));
  const std::size_t wanted = plan.addresses().size();
  if (wanted + taken <= kDebugRegisters) return {};
  if (taken == 0)
    return with_remedy(
        fail(ErrorCode::limit, "{} places are to be hooked: a processor has {} breakpoints", wanted,
             kDebugRegisters),
        "--tier broad hooks any number, and the guest can read that it does");
  return with_remedy(
      fail(ErrorCode::limit,
           "{} places are to be hooked: a debugger of QEMU's has {} of {} breakpoints", wanted,
           taken, kDebugRegisters),
      "remove the debugger's hardware breakpoints");
}

Result<> KvmProbe::commit() {
  auto plan = make_plan();
  if (auto ok = check_room(*plan); !ok) return ok;
  const bool any = !plan->empty();
  const auto wanted_patches = plan->patches();
  // Out with those that no plan will name; in with the others once all vCPUs exit at them.
  patches_.keep(wanted_patches);
  publish(std::move(plan));
  const std::uint32_t wanted = generation_;
  auto& done = region_->header().commits_done;
  if (const std::uint32_t now = done; now != wanted) probe::futex_wait(done, now, kArmTimeNs);
  patches_.want(wanted_patches);
  tend();
  if (all_armed()) free_unused();
  if (!any) return {};
  const auto count = vcpu_count();
  const auto refused =
      std::ranges::count_if(vcpus_.begin(), vcpus_.begin() + static_cast<std::ptrdiff_t>(count),
                            [](const auto& vcpu) { return vcpu->refused.load(); });
  if (refused > 0)
    return fail(ErrorCode::unsupported, "KVM refuses breakpoints on {} of {} vCPUs", refused,
                count);
  return {};
}

void KvmProbe::publish(std::unique_ptr<Plan> plan) {
  plans_.push_back(std::move(plan));
  plan_ = plans_.back().get();
  region_->header().commits_asked = ++generation_;
  // A vCPU says that it runs before it looks at the generation: either it sees the new one, or is
  // seen running here.
  for (std::size_t i = 0; i < vcpu_count(); ++i) {
    const Vcpu& vcpu = *vcpus_[i];
    if (vcpu.running && vcpu.generation != generation_ && vcpu.thread != 0)
      calls_.kick(vcpu.thread);
  }
  tell_progress();
}

bool KvmProbe::may_patch() const {
  if (saving_ || unknown_vcpu_ || !all_armed()) return false;
  for (std::size_t i = 0; i < vcpu_count(); ++i)
    if (vcpus_[i]->refused) return false;
  return true;
}

void KvmProbe::tend() {
  const std::size_t written_over = patches_.tend([this] { return may_patch(); });
  if (written_over > 0) runner_->counters(0).overwritten += written_over;
}

void KvmProbe::begin_tending() {
  if (options_.tend_interval.count() == 0 || tending_.joinable()) return;
  // Without QEMU's signals, which belong to QEMU's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  tending_ = std::jthread([this](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "glasshook-tend");
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(options_.tend_interval);
      tend();
    }
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Where that is not possible, what the guest writes is noticed when tend() looks next.
void KvmProbe::begin_guarding() {
  UniqueFd userfaultfd = std::move(options_.userfaultfd);
  if (!own_memory_) {
    auto memory = probe::map_again(mapping_);
    if (!memory) return;
    own_memory_ = std::move(*memory);
    memory_ = own_memory_.get();
  }
  auto guard = WriteGuard::create(mapping_, memory_, std::move(userfaultfd),
                                  {.writes =
                                       [this](std::byte* page) {
                                         if (patches_.uncover(page) > 0)
                                           ++runner_->counters(0).lifted;
                                       },
                                   .written = [this] { tend(); }});
  if (!guard) return;
  guard_ = std::move(*guard);
  patches_.guard_with([this](std::byte* page) { (void)guard_->guard(page); });
}

void KvmProbe::free_unused() {
  plans_.erase(plans_.begin(), plans_.end() - 1);
  std::erase_if(pages_, [&](const auto& page) {
    return std::ranges::none_of(
        placed_, [&](const auto& placed) { return placed.second.page == page.get(); });
  });
  runner_->collect(hooks_);
  if (sets_.size() > 1) sets_.erase(sets_.begin(), sets_.end() - 1);
}

Result<> KvmProbe::set_add(std::uint32_t set, std::uint64_t key) {
  if (set >= capture::kSetCount || !environment_.sets->add(set, key))
    return fail(ErrorCode::limit, "set {} is full", set);
  return {};
}

Result<> KvmProbe::set_remove(std::uint32_t set, std::uint64_t key) {
  if (set < capture::kSetCount) environment_.sets->remove(set, key);
  return {};
}

Result<> KvmProbe::set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) {
  if (limiter >= capture::kLimiterCount)
    return fail(ErrorCode::limit, "there is no rate limiter {}", limiter);
  limiters_->configure(limiter, per_second, burst);
  return {};
}

std::uint32_t max_vcpus_of(const std::vector<std::string>& command_line) {
  std::uint64_t most = 1;
  for (std::size_t i = 0; i + 1 < command_line.size(); ++i) {
    if (command_line[i] != "-smp" && command_line[i] != "--smp") continue;
    std::istringstream options(command_line[i + 1]);
    std::uint64_t counted = 1, topology = 1;
    for (std::string option; std::getline(options, option, ',');) {
      const auto equals = option.find('=');
      const std::string name = equals == std::string::npos ? "cpus" : option.substr(0, equals);
      const std::string text = equals == std::string::npos ? option : option.substr(equals + 1);
      std::uint64_t value = 1;
      std::from_chars(text.data(), text.data() + text.size(), value);
      value = std::clamp<std::uint64_t>(value, 1, probe::kMaxVcpus);
      if (name == "cpus" || name == "maxcpus")
        counted = std::max(counted, value);
      else
        topology = std::min<std::uint64_t>(topology * value, probe::kMaxVcpus);
    }
    most = std::max(counted, topology);
  }
  return static_cast<std::uint32_t>(most);
}

}  // namespace glasshook::hypervisor::kvm
