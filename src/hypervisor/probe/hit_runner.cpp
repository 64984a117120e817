#include "hypervisor/probe/hit_runner.h"

#include <xxhash.h>

#include <array>
#include <cstring>
#include <ctime>

#include "capture/guest_reader.h"

namespace glasshook::hypervisor::probe {
namespace {

void count(std::atomic<std::uint64_t>& counter) noexcept {
  // One writer: a plain add, no locked instruction.
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

std::uint64_t fingerprint_of(const capture::CpuState& cpu) noexcept {
  return XXH3_64bits(cpu.gpr.data(), sizeof cpu.gpr);
}

std::int64_t monotonic_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

std::uint64_t measure_ticks_per_second() {
  constexpr std::int64_t kMeasureNs = 10'000'000;
  const std::int64_t start_ns = monotonic_ns();
  const std::uint64_t start = ticks();
  while (monotonic_ns() - start_ns < kMeasureNs) {
  }
  const auto elapsed = static_cast<std::uint64_t>(monotonic_ns() - start_ns);
  return static_cast<std::uint64_t>(static_cast<__uint128_t>(ticks() - start) * 1'000'000'000 /
                                    elapsed);
}

HitRunner::HitRunner(const SharedRegion& region, const capture::Environment& environment)
    : region_(region), environment_(environment), vcpus_(region.vcpus()) {
  for (std::uint32_t v = 0; v < region.vcpus(); ++v) {
    auto ring = capture::RingProducer::create(region_.ring(v), &region_.header().record_bell);
    if (ring) vcpus_[v].ring.emplace(*ring);
    vcpus_[v].hooks = region_.counters(v).hooks.data();
    vcpus_[v].probe = &region_.counters(v).probe;
    vcpus_[v].blocks = &region_.counters(v).blocks;
  }
}

void HitRunner::forget_counts() noexcept {
  const auto forget = [](auto&... counters) { ((counters = 0), ...); };
  for (const Vcpu& vcpu : vcpus_) {
    ProbeCell& p = *vcpu.probe;
    forget(p.records, p.dropped, p.budget, p.page_questions, p.page_timeouts, p.churned_pages,
           p.overwritten, p.lifted, vcpu.blocks->shown, vcpu.blocks->hidden);
    for (std::uint32_t i = 0; i < kMaxHooks; ++i) {
      HookCell& h = vcpu.hooks[i];
      // Untouched memory stays so: there is much of it.
      if (h.hits == 0 && h.returned == 0 && h.unreturned == 0) continue;
      forget(h.hits, h.sent, h.filtered, h.rate_limited, h.dropped, h.returned, h.unreturned);
    }
  }
}

void HitRunner::set_context_program(const capture::Program& program) {
  const std::lock_guard lock(contexts_mutex_);
  contexts_.push_back(std::make_unique<capture::Executable>(program));
  context_.store(contexts_.back().get(), std::memory_order_release);
}

inline bool HitRunner::push(Vcpu& vcpu, std::uint32_t size) noexcept {
  if (!vcpu.ring->has_room(size)) [[unlikely]]
    wait_for_room(vcpu, size);
  const std::uint64_t timestamp = vcpu.ring->begin(ticks);
  // Who attaches waits for what was announced; what is announced later sees the new session.
  if (vcpu.session != session_.load(std::memory_order_relaxed)) [[unlikely]] {
    vcpu.ring->end();
    return false;
  }
  std::memcpy(vcpu.buffer.data() + offsetof(capture::RecordHeader, timestamp), &timestamp,
              sizeof timestamp);
  const bool pushed = vcpu.ring->push({vcpu.buffer.data(), size});
  vcpu.ring->end();
  count(pushed ? vcpu.probe->records : vcpu.probe->dropped);
  return pushed;
}

inline capture::RunResult HitRunner::run_and_push(Vcpu& vcpu, HookCell* cell,
                                                  const capture::Executable& program,
                                                  const capture::CpuState& cpu,
                                                  capture::SavedSlots& saved,
                                                  capture::RecordHeader& header) noexcept {
  if (program.uses_time()) header.timestamp = ticks();
  const capture::RunResult result =
      capture::run(program, cpu, environment_, saved, header, vcpu.work);
  if (result.outcome == capture::Outcome::budget) count(vcpu.probe->budget);
  const bool has_record =
      result.outcome == capture::Outcome::sent || result.outcome == capture::Outcome::budget;
  if (!has_record || !vcpu.ring) return result;
  const bool pushed = push(vcpu, result.record_size);
  if (cell != nullptr) count(pushed ? cell->sent : cell->dropped);
  return result;
}

std::uint64_t HitRunner::return_address(const capture::CpuState& cpu) noexcept {
  const Gva stack{cpu.gpr[static_cast<std::size_t>(capture::CpuRegister::rsp)]};
  capture::GuestReader reader(*environment_.ram, cpu.space, environment_.kernel_space,
                              vcpus_[cpu.vcpu].work.directories);
  std::uint64_t address = 0;
  return reader.load(stack, sizeof address, capture::Space::current, address) ? address : 0;
}

bool HitRunner::enter(HookSlot& hook, const capture::CpuState& cpu, bool interrupted) noexcept {
  const std::uint32_t session = session_.load(std::memory_order_acquire);
  if (!is_on(session) || !hook.active.load(std::memory_order_relaxed)) return false;
  Vcpu& vcpu = vcpus_[cpu.vcpu];
  vcpu.session = session;
  HookCell& cell = vcpu.hooks[hook.id.value];
  PendingCall call;
  if (hook.on_return) {
    call.key = FrameKey::of(cpu);
    call.hook = &hook;
    call.fingerprint = call.return_address = 0;
    call.saved.fill(0);
    // The kernel's entries do not fault, and it does not leave frames behind.
    if (!call.key.is_kernel()) {
      call.fingerprint = fingerprint_of(cpu);
      if (interrupted && calls_.is_restart(call.key, &hook, call.fingerprint)) return false;
      call.return_address = return_address(cpu);
    }
    CallTable::GivenUp given_up;
    const std::size_t n = calls_.give_up(call.key, &hook, call.return_address, given_up);
    for (std::size_t i = 0; i < n; ++i) report_given_up(vcpu, given_up[i]);
  }
  count(cell.hits);
  call.call = static_cast<std::uint64_t>(cpu.vcpu) << 48 | ++vcpu.calls;
  capture::RecordHeader header;
  header.kind = capture::RecordKind::entry;
  header.hook = hook.id.value;
  header.vcpu = cpu.vcpu;
  header.call = call.call;
  const auto result = run_and_push(vcpu, &cell, hook.entry, cpu, call.saved, header);
  if (result.outcome == capture::Outcome::rate_limited) count(cell.rate_limited);
  if (result.outcome == capture::Outcome::stopped && !result.return_armed) count(cell.filtered);
  const bool sent = result.outcome == capture::Outcome::sent;
  if (!result.return_armed || !hook.on_return) return sent;
  if (const auto given_up = calls_.add(call)) report_given_up(vcpu, *given_up);
  return sent;
}

void HitRunner::report_given_up(Vcpu& vcpu, const PendingCall& call) noexcept {
  vcpu.hooks[call.hook->id.value].unreturned.fetch_add(1, std::memory_order_relaxed);
  if (!vcpu.ring || !call.hook->active.load(std::memory_order_relaxed)) return;
  capture::RecordHeader header;
  header.size = sizeof header;
  header.kind = capture::RecordKind::exit;
  header.flags = capture::kRecordGivenUp;
  header.hook = call.hook->id.value;
  header.vcpu = static_cast<std::uint32_t>(&vcpu - vcpus_.data());
  header.call = call.call;
  std::memcpy(vcpu.buffer.data(), &header, sizeof header);
  push(vcpu, sizeof header);
}

void HitRunner::leave(const capture::CpuState& cpu) noexcept {
  const std::uint32_t session = session_.load(std::memory_order_acquire);
  if (!is_on(session)) return;
  const FrameKey key = FrameKey::of(cpu);
  vcpus_[cpu.vcpu].session = session;
  std::array<PendingCall, CallTable::kMaxNested> ended;
  const std::uint64_t returns_to = key.is_kernel() ? 0 : return_address(cpu);
  const std::size_t n = calls_.take(key, returns_to, ended);
  for (std::size_t i = 0; i < n; ++i) run_return(ended[i], cpu);
}

void HitRunner::run_return(PendingCall& call, const capture::CpuState& cpu) noexcept {
  if (!call.hook->active.load(std::memory_order_relaxed)) return;
  Vcpu& vcpu = vcpus_[cpu.vcpu];
  HookCell& cell = vcpu.hooks[call.hook->id.value];
  capture::RecordHeader header;
  header.kind = capture::RecordKind::exit;
  header.hook = call.hook->id.value;
  header.vcpu = cpu.vcpu;
  header.call = call.call;
  const auto result = run_and_push(vcpu, nullptr, *call.hook->on_return, cpu, call.saved, header);
  count(cell.returned);
  if (result.outcome == capture::Outcome::stopped) count(cell.filtered);
}

std::uint32_t HitRunner::run_context(Vcpu& vcpu, const capture::CpuState& cpu) noexcept {
  capture::RecordHeader header;
  header.kind = capture::RecordKind::code_page;
  header.vcpu = cpu.vcpu;
  header.size = sizeof header;
  std::memcpy(vcpu.buffer.data(), &header, sizeof header);
  const capture::Executable* program = context_.load(std::memory_order_acquire);
  if (program == nullptr) return sizeof header;
  capture::SavedSlots saved{};
  const auto result = capture::run(*program, cpu, environment_, saved, header, vcpu.work);
  return result.outcome == capture::Outcome::sent ? result.record_size : sizeof header;
}

void HitRunner::collect(HookTable& hooks) noexcept {
  if (hooks.has_retired()) {
    calls_.drop_inactive();
    hooks.collect();
  }
  const std::lock_guard lock(contexts_mutex_);
  if (contexts_.size() > 1) contexts_.erase(contexts_.begin(), contexts_.end() - 1);
}

std::uint32_t HitRunner::capture_context(const capture::CpuState& cpu,
                                         std::span<std::byte> out) noexcept {
  Vcpu& vcpu = vcpus_[cpu.vcpu];
  const std::uint32_t size = run_context(vcpu, cpu);
  if (size > out.size()) return 0;
  std::memcpy(out.data(), vcpu.buffer.data(), size);
  return size;
}

void HitRunner::report_code_page(const capture::CpuState& cpu,
                                 const std::uint64_t (&words)[4]) noexcept {
  Vcpu& vcpu = vcpus_[cpu.vcpu];
  vcpu.session = session_.load(std::memory_order_acquire);
  if (!is_on(vcpu.session)) return;
  const std::uint32_t context_size = run_context(vcpu, cpu);
  const capture::FieldHeader field{
      .id = capture::kCodePageField, .kind = capture::FieldKind::words, .length = sizeof words};
  std::uint32_t size = context_size + sizeof field + sizeof words;
  if (size > vcpu.buffer.size() || !vcpu.ring) return;
  std::memcpy(vcpu.buffer.data() + context_size, &field, sizeof field);
  std::memcpy(vcpu.buffer.data() + context_size + sizeof field, words, sizeof words);
  std::memcpy(vcpu.buffer.data() + offsetof(capture::RecordHeader, size), &size, sizeof size);
  push(vcpu, size);
}

void HitRunner::wait_for_room(Vcpu& vcpu, std::uint32_t size) noexcept {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 100'000};
  constexpr std::uint64_t kLongestWaitMs = 2000, kGiveUpMs = 10'000;
  const std::uint64_t per_ms = region_.ticks_per_second() / 1000;
  const std::uint64_t begin = ticks();
  if (begin < vcpu.no_wait_until) return;
  while (!vcpu.ring->has_room(size) && vcpu.session == session_.load(std::memory_order_relaxed)) {
    if (ticks() - begin > kLongestWaitMs * per_ms) {
      vcpu.no_wait_until = ticks() + kGiveUpMs * per_ms;
      return;
    }
    nanosleep(&kPause, nullptr);
  }
}

}  // namespace glasshook::hypervisor::probe
