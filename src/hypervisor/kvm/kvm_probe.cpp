#include "hypervisor/kvm/kvm_probe.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <sstream>

namespace glasshook::hypervisor::kvm {
namespace {

/// How long a commit waits for vCPUs to leave the guest; they do within microseconds.
constexpr std::int64_t kArmTimeNs = 500'000'000;

}  // namespace

KvmProbe::KvmProbe(KvmCalls& calls, KvmProbeOptions options) : calls_(calls), options_(options) {
  environment_.ram = &ram_;
  plans_.push_back(std::make_unique<Plan>());
  plan_ = plans_.back().get();
}

Result<probe::ControlTarget::Welcome> KvmProbe::attach() {
  if (auto ok = check_kernel(); !ok) return std::unexpected(ok.error());
  if (auto ok = find_ram(); !ok) return std::unexpected(ok.error());
  if (!region_)
    if (auto ok = make_region(); !ok) return std::unexpected(ok.error());
  auto sets = capture::SetTable::create();
  if (!sets) return std::unexpected(sets.error());
  sets_.push_back(std::make_unique<capture::SetTable>(std::move(*sets)));
  environment_.sets = sets_.back().get();
  runner_->forget_counts();
  runner_->set_enabled(true);
  return Welcome{.capabilities = {.backend = "kvm-stealth",
                                  .max_sites = kDebugRegisters,
                                  .hidden_from_reads = true},
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
  const auto mapping = probe::find_ram_mapping();
  if (!mapping) return std::unexpected(mapping.error());
  if (ram_fd_ < 0) {
    const auto fd = probe::open_read_only(*mapping);
    if (!fd) return std::unexpected(fd.error());
    ram_fd_ = *fd;
  }
  // Anew for each monitor: memory may have been plugged in.
  pieces_ = slots_.pieces(*mapping);
  if (pieces_.empty())
    return fail(ErrorCode::unsupported, "KVM's memory slots hold nothing of this VM's RAM");
  ram_ = GuestRam{};
  for (const probe::RamPiece& piece : pieces_)
    ram_.add({.begin = Gpa{piece.gpa},
              .size = piece.size,
              .host = reinterpret_cast<const std::byte*>(mapping->begin + piece.file_offset -
                                                         mapping->file_offset)});
  return {};
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
  return {};
}

void KvmProbe::detach() {
  runner_->set_enabled(false);
  hooks_.unload_all();
  placed_.clear();
  publish(std::make_unique<Plan>());
}

Result<> KvmProbe::set_kernel_space(AddressSpace space) {
  environment_.kernel_space = space;
  return {};
}

// Returns are not seen, so nothing looks at thunks.
Result<> KvmProbe::set_return_thunks(std::vector<Gva>) { return {}; }

Result<> KvmProbe::set_context_program(capture::Program program) {
  runner_->set_context_program(program);
  return {};
}

Result<> KvmProbe::load(HookPrograms hook) {
  if (hook.on_return)
    return fail(ErrorCode::unsupported, "hardware breakpoints do not show when a function returns");
  return hooks_.load(hook);
}

Result<> KvmProbe::unload(HookId id) { return hooks_.unload(id); }

Result<> KvmProbe::place(Gpa page, const PageSites& sites) {
  if (page.page_offset() != 0 || ram_.at(page, kPageSize) == nullptr)
    return fail(ErrorCode::invalid_argument, "{:#x} is not a page of guest RAM", page.value);
  if (sites.entries.empty()) {
    placed_.erase(page);
    return {};
  }
  if (!sites.address.is_kernel() || sites.address.page_offset() != 0)
    return fail(ErrorCode::invalid_argument, "{:#x} is no page of a kernel", sites.address.value);
  pages_.push_back(std::make_unique<probe::WatchedPage>(sites, hooks_, false));
  placed_[page] = {sites.address, pages_.back().get()};
  return {};
}

Result<> KvmProbe::watch_user_pages(bool on) {
  if (!on) return {};
  return fail(ErrorCode::unsupported,
              "code of programs cannot be watched with hardware breakpoints");
}

std::unique_ptr<Plan> KvmProbe::make_plan() const {
  std::map<std::uint64_t, Plan::Site> sites;
  for (const auto& [page, placed] : placed_)
    for (std::uint32_t offset = 0; offset < kPageSize; ++offset) {
      bool wanted = false;
      const auto at = static_cast<std::uint16_t>(offset);
      if (placed.page->enters_at(at))
        placed.page->for_each_hook(at,
                                   [&](probe::HookSlot& hook) { wanted |= hook.active.load(); });
      if (wanted) sites[placed.address.value + offset] = {placed.page, at};
    }
  auto plan = std::make_unique<Plan>();
  for (const auto& [address, site] : sites) {
    plan->addresses.push_back(address);
    plan->sites.push_back(site);
  }
  return plan;
}

Result<> KvmProbe::check_room(const Plan& plan) const {
  std::size_t taken = 0;
  for (std::size_t i = 0; i < vcpu_count(); ++i)
    taken = std::max<std::size_t>(taken, std::popcount(vcpus_[i]->taken.load()));
  if (plan.addresses.size() + taken <= kDebugRegisters) return {};
  if (taken == 0)
    return fail(ErrorCode::limit, "{} places are to be hooked: a processor has {} breakpoints",
                plan.addresses.size(), kDebugRegisters);
  return with_remedy(
      fail(ErrorCode::limit,
           "{} places are to be hooked: a debugger of QEMU's has {} of {} breakpoints",
           plan.addresses.size(), taken, kDebugRegisters),
      "remove the debugger's hardware breakpoints");
}

Result<> KvmProbe::commit() {
  auto plan = make_plan();
  if (auto ok = check_room(*plan); !ok) return ok;
  const bool any = !plan->addresses.empty();
  publish(std::move(plan));
  const std::uint32_t wanted = generation_;
  auto& done = region_->header().commits_done;
  if (const std::uint32_t now = done; now != wanted) probe::futex_wait(done, now, kArmTimeNs);
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
