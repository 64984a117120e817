// The translation side of the probe: which instructions get a callback.
#include <array>
#include <cstring>

#include "hypervisor/qemu/privileged.h"
#include "hypervisor/qemu/qemu_probe.h"

extern "C" {
// Called by generated code with RBP = QEMU's CPU structure: pass it on as a third argument.
#define GLASSHOOK_STUB(name)                                                  \
  void glasshook_stub_##name(unsigned vcpu, void* site);                      \
  asm(".text\n.globl glasshook_stub_" #name "\n.hidden glasshook_stub_" #name \
      "\n.type glasshook_stub_" #name ", @function\nglasshook_stub_" #name    \
      ":\n  mov %rbp, %rdx\n  jmp glasshook_hit_" #name "\n");
GLASSHOOK_STUB(arrival)
GLASSHOOK_STUB(entry)
GLASSHOOK_STUB(return)
GLASSHOOK_STUB(first_run)
GLASSHOOK_STUB(maybe_site)
GLASSHOOK_STUB(instruction)
#undef GLASSHOOK_STUB
}

namespace glasshook::hypervisor::qemu {

namespace {

/// Beyond these all code is translated anew, so that those that no code has any more are freed.
constexpr std::size_t kMostSites = 262'144;

/// Skips prefixes that compilers and the kernel put before a return (rep, bnd, data16, cs/ds).
std::size_t skip_prefixes(const std::uint8_t* code, std::size_t size) {
  std::size_t i = 0;
  while (i < size && (code[i] == 0xf2 || code[i] == 0xf3 || code[i] == 0x66 || code[i] == 0x2e ||
                      code[i] == 0x3e))
    ++i;
  return i;
}

/// The bytes of an instruction.
struct Code {
  explicit Code(const qemu_plugin_insn* instruction)
      : size(qemu_plugin_insn_data(instruction, bytes.data(), bytes.size())) {}
  [[nodiscard]] std::span<const std::uint8_t> span() const { return {bytes.data(), size}; }

  std::array<std::uint8_t, kMaxInstructionBytes> bytes;
  std::size_t size;
};

/// `site` may be null.
void call_at(qemu_plugin_insn* instruction, qemu_plugin_vcpu_udata_cb_t stub, const Site* site) {
  qemu_plugin_register_vcpu_insn_exec_cb(instruction, stub, QEMU_PLUGIN_CB_R_REGS,
                                         const_cast<Site*>(site));
}

}  // namespace

/// The block being translated, with what every instruction lookup needs.
struct QemuProbe::Block {
  qemu_plugin_tb* tb;
  std::size_t count;
  std::uint64_t start;  ///< virtual address
  bool user;
  const GuestRam& ram;

  [[nodiscard]] qemu_plugin_insn* instruction(std::size_t i) const {
    return qemu_plugin_tb_get_insn(tb, i);
  }
  [[nodiscard]] bool locate(std::size_t i, Gpa& gpa) const {
    const void* host = qemu_plugin_insn_haddr(instruction(i));
    return host != nullptr && ram.to_gpa(host, gpa);
  }
  /// A site without its page.
  [[nodiscard]] Site site(std::size_t i) const {
    const std::uint64_t address = qemu_plugin_insn_vaddr(instruction(i));
    Site site;
    site.offset = static_cast<std::uint16_t>(address & kPageMask);
    site.block_offset = static_cast<std::uint16_t>(start & kPageMask);
    site.second_page = (address & ~kPageMask) != (start & ~kPageMask);
    site.user = user;
    return site;
  }
};

void QemuProbe::register_callbacks() {
  qemu_plugin_register_vcpu_idle_cb(id_,
                                    [](qemu_plugin_id_t, unsigned) { g_probe->take_requests(); });
  qemu_plugin_register_vcpu_resume_cb(id_,
                                      [](qemu_plugin_id_t, unsigned) { g_probe->on_resume(); });
  // Before the first code there is no telling whether QEMU tells about waking vCPUs.
  const bool goes_on = translating_ && !(flush_from_translation_ && can_stop_translating());
  translating_ = false;
  if (attached_ || !resumes_ || goes_on) begin_translating();
}

/// QEMU (10.0, tcg_ctx->plugin_insn) does not forget the instruction whose translation a page fault
/// ended until it shows us the next one. When it no longer does, it then generates nonsense, and
/// crashes. So the last block that each vCPU translates for us has to be one that was finished:
/// that of the one vCPU that asks for the end while it translates. Before the first monitor the
/// others have hardly run.
bool QemuProbe::can_stop_translating() const { return options_.vcpus == 1 || !was_attached_; }

void QemuProbe::begin_translating() {
  translating_ = true;
  qemu_plugin_register_vcpu_tb_trans_cb(
      id_, [](qemu_plugin_id_t, qemu_plugin_tb* block) { g_probe->translate(block); });
}

void QemuProbe::on_setjmp(const SetjmpCall& call) {
  const RunningVcpu& running = running_vcpu_;
  if (running.env == nullptr || !translating_.load(std::memory_order_relaxed) || !knows_who_runs())
    return;
  if (gate_.on_setjmp(call, running.env))
    region_.counters(running.index).blocks.hidden.fetch_add(1, std::memory_order_relaxed);
}

/// Asks what translate() will. A block's instructions all begin on one page, and one that goes on
/// behind it is a block of its own (QEMU since 7.1, advance_pc() in target/i386/tcg/translate.c).
bool QemuProbe::wants(Gva address, const std::byte* code) {
  if (!translated_.load(std::memory_order_relaxed)) translated_ = true;
  if (flush_wanted_.load(std::memory_order_relaxed) != 0 || should_stop_translating()) return true;
  Gpa gpa;
  if (!ram_.to_gpa(code, gpa)) return true;
  const std::byte* bytes = ram_.at(gpa.page(), kPageSize);
  if (bytes == nullptr) return true;
  if (address.is_kernel())
    return pages_.is_wanted_of_kernel(gpa.page(), gpa.page_offset(), {bytes, kPageSize});
  if (!watch_user_.load(std::memory_order_relaxed)) return false;
  const PageContent& content = user_page(gpa.page(), bytes, address.page());
  if (content.state.load(std::memory_order_acquire) != PageContent::kKnown) return true;
  const probe::WatchedPage* watched = content.watched.load(std::memory_order_acquire);
  return watched == nullptr || watched->has_sites_from(gpa.page_offset());
}

/// Through the gate when it knows how; else by telling QEMU that we want to see none.
bool QemuProbe::should_stop_translating() const {
  // With one thread for all vCPUs QEMU does not tell when one wakes, and there would be no moment
  // to begin again.
  return !attached_ && resumes_ && can_stop_translating();
}

PageContent& QemuProbe::user_page(Gpa page, const std::byte* bytes, Gva mapped) {
  return pages_.user(page, {bytes, kPageSize}, mapped, probe::ticks(),
                     region_.ticks_per_second() / 1000);
}

void QemuProbe::pass_gate(const Block& block) {
  const RunningVcpu& running = running_vcpu_;
  if (running.env == nullptr || !knows_who_runs()) return;
  const qemu_plugin_insn* last = block.instruction(block.count - 1);
  const Gva end{qemu_plugin_insn_vaddr(last) + (block.count > 1 ? qemu_plugin_insn_size(last) : 1)};
  const void* code = qemu_plugin_insn_haddr(block.instruction(0));
  const TranslationGate::Block shown{
      .address = block.start,
      .code = reinterpret_cast<std::uint64_t>(code),
      .instructions = block.count,
      .one_page = Gva{end.value - 1}.page() == Gva{block.start}.page()};
  if (gate_.on_shown(shown, running.env)) flush_wanted_ = 1;
}

void QemuProbe::translate(qemu_plugin_tb* tb) {
  if (!translated_.load(std::memory_order_relaxed)) translated_ = true;
  const unsigned vcpu = running_vcpu_.index;
  region_.counters(vcpu).blocks.shown.fetch_add(1, std::memory_order_relaxed);
  // While QEMU shows us code, that code is slower by a store for each access to memory.
  if (should_stop_translating()) flush_wanted_ = 1;
  take_requests(true);
  const Gva start{qemu_plugin_tb_vaddr(tb)};
  const Block block{tb, qemu_plugin_tb_n_insns(tb), start.value, !start.is_kernel(), ram_};
  // The gate has to know where the vCPU's state is, and hooks may be hit seldom.
  if (running_vcpu_.env == nullptr) call_at(block.instruction(0), glasshook_stub_arrival, nullptr);
  pass_gate(block);
  if (!block.user)
    instrument_kernel(block);
  else if (watch_user_.load(std::memory_order_relaxed))
    instrument_user(block);
}

void QemuProbe::instrument_kernel(const Block& block) {
  // Interrupts return through iretq: a moment every vCPU reaches soon, at no cost while unused.
  qemu_plugin_insn* last = block.instruction(block.count - 1);
  if (is_iretq(Code(last).span()))
    qemu_plugin_register_vcpu_insn_exec_cond_cb(
        last, [](unsigned v, void*) { g_probe->on_heartbeat(v); }, QEMU_PLUGIN_CB_NO_REGS,
        QEMU_PLUGIN_COND_NE, attention_, 0, nullptr);
  if (!watch_kernel_.load(std::memory_order_relaxed)) return;

  Gpa page{~0ull};
  const probe::WatchedPage* watched = nullptr;
  for (std::size_t i = 0; i < block.count; ++i) {
    const std::uint64_t address = qemu_plugin_insn_vaddr(block.instruction(i));
    const bool same_page = i > 0 && (address & kPageMask) >= (block.start & kPageMask);
    if (!same_page) {
      Gpa gpa;
      if (!block.locate(i, gpa)) return;
      if (gpa.page() != page) watched = pages_.kernel(page = gpa.page());
    }
    if (watched != nullptr) instrument_known(block, i, *watched);
    instrument_privileged(block, i);
  }
}

void QemuProbe::instrument_privileged(const Block& block, std::size_t index) {
  const auto found = find_privileged(Code(block.instruction(index)).span());
  if (!found) return;
  Site site = block.site(index);
  site.page = pages_.at(found->instruction);
  if (site.page == nullptr) return;
  site.hooks = site.page->hooks_at(0);
  site.instruction = found->instruction;
  site.source = found->source;
  call_at(block.instruction(index), glasshook_stub_instruction, intern(site));
}

void QemuProbe::instrument_user(const Block& block) {
  Gpa page{~0ull};
  PageContent* content = nullptr;
  const probe::WatchedPage* watched = nullptr;
  for (std::size_t i = 0; i < block.count; ++i) {
    Gpa gpa;
    if (!block.locate(i, gpa)) return;
    const bool first_on_page = gpa.page() != page;
    if (first_on_page) {
      page = gpa.page();
      const std::byte* bytes = ram_.at(page, kPageSize);
      const Gva mapped = Gva{qemu_plugin_insn_vaddr(block.instruction(i))}.page();
      content = bytes ? &user_page(page, bytes, mapped) : nullptr;
      if (content == nullptr) continue;
      if (content->state.load(std::memory_order_acquire) != PageContent::kKnown)
        ask_before_run(block, i, *content);
      const bool known = content->state.load(std::memory_order_acquire) == PageContent::kKnown;
      watched = known ? content->watched.load(std::memory_order_acquire) : nullptr;
    }
    if (content == nullptr) continue;
    if (watched == nullptr)
      instrument_unknown(block, i, *content, first_on_page);
    else if (watched->has_sites())
      instrument_known(block, i, *watched);
  }
}

void QemuProbe::instrument_known(const Block& block, std::size_t index,
                                 const probe::WatchedPage& page) {
  Site site = block.site(index);
  const bool enters = page.enters_at(site.offset);
  const bool returns =
      page.returns_at(site.offset) && is_return(block.instruction(index), block.user);
  if (!enters && !returns) return;
  site.page = &page;
  site.hooks = page.hooks_at(site.offset);
  site.can_restart = enters && block.user && index + 1 < block.count;
  if (site.can_restart)
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(block.instruction(index + 1),
                                                        QEMU_PLUGIN_INLINE_STORE_U64, entering_, 0);
  const Site* interned = intern(site);
  if (enters) call_at(block.instruction(index), glasshook_stub_entry, interned);
  if (returns) call_at(block.instruction(index), glasshook_stub_return, interned);
}

std::optional<Site> QemuProbe::unknown_site(const Block& block, std::size_t index,
                                            PageContent& content) const {
  Gpa gpa;
  if (!block.locate(index, gpa)) return std::nullopt;
  Site site = block.site(index);
  site.content = &content;
  site.gpa = gpa.page();
  site.is_return = is_return(block.instruction(index), block.user);
  site.can_restart = index + 1 < block.count;
  return site;
}

/// QEMU holds the page's lock meanwhile: vCPUs that write to it, or translate from it, wait as
/// well.
void QemuProbe::ask_before_run(const Block& block, std::size_t index, PageContent& content) {
  if (!knows_who_runs()) return;
  const auto site = unknown_site(block, index, content);
  const RunningVcpu& running = running_vcpu_;
  capture::CpuState cpu;
  if (!site || !is_due(*site) || running.env == nullptr ||
      !cpu_.read_process(running.env, block.user, cpu) || cpu.rip != block.start)
    return;
  complete(cpu, running.index, *site);
  ask_and_report(running.index, *site, cpu);
}

void QemuProbe::instrument_unknown(const Block& block, std::size_t index, PageContent& content,
                                   bool first_on_page) {
  const auto site = unknown_site(block, index, content);
  if (!site) return;
  const Site* interned = intern(*site);
  if (first_on_page) call_at(block.instruction(index), glasshook_stub_first_run, interned);
  qemu_plugin_register_vcpu_insn_exec_cond_cb(block.instruction(index), glasshook_stub_maybe_site,
                                              QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_COND_NE, armed_, 0,
                                              const_cast<Site*>(interned));
}

bool QemuProbe::is_return(const qemu_plugin_insn* instruction, bool user) const {
  const auto [code, size] = Code(instruction);
  const std::size_t op = skip_prefixes(code.data(), size);
  if (op >= size) return false;
  if (code[op] == 0xc3 || code[op] == 0xc2) return true;
  constexpr std::uint8_t kJumpRel32 = 0xe9;
  const std::vector<Gva>* thunks = thunks_.load(std::memory_order_acquire);
  if (user || thunks == nullptr || code[op] != kJumpRel32 || size < op + 5) return false;
  std::int32_t distance = 0;
  std::memcpy(&distance, code.data() + op + 1, sizeof distance);
  const std::uint64_t target = qemu_plugin_insn_vaddr(instruction) + op + 5 +
                               static_cast<std::uint64_t>(static_cast<std::int64_t>(distance));
  return std::find(thunks->begin(), thunks->end(), Gva{target}) != thunks->end();
}

const Site* QemuProbe::intern(const Site& site) {
  const std::lock_guard lock(sites_mutex_);
  if (sites_.size() > kMostSites) flush_wanted_ = 1;
  auto& slot = sites_[site.key()];
  if (!slot) slot = std::make_unique<Site>(site);
  return slot.get();
}

}  // namespace glasshook::hypervisor::qemu

namespace {
using glasshook::hypervisor::qemu::g_probe;
using glasshook::hypervisor::qemu::Site;
const Site& site_of(void* data) { return *static_cast<const Site*>(data); }
}  // namespace

extern "C" {
[[gnu::visibility("hidden"), gnu::used]] void glasshook_on_setjmp(
    const glasshook::hypervisor::qemu::SetjmpCall* call) {
  g_probe->on_setjmp(*call);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_arrival(unsigned v, void*,
                                                                    const std::uint64_t* env) {
  g_probe->on_arrival(v, env);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_entry(unsigned v, void* site,
                                                                  const std::uint64_t* env) {
  g_probe->on_entry(v, site_of(site), env);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_return(unsigned v, void* site,
                                                                   const std::uint64_t* env) {
  g_probe->on_return(v, site_of(site), env);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_first_run(unsigned v, void* site,
                                                                      const std::uint64_t* env) {
  g_probe->on_first_run(v, site_of(site), env);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_instruction(unsigned v, void* site,
                                                                        const std::uint64_t* env) {
  g_probe->on_instruction(v, site_of(site), env);
}
[[gnu::visibility("hidden"), gnu::used]] void glasshook_hit_maybe_site(unsigned v, void* site,
                                                                       const std::uint64_t* env) {
  g_probe->on_maybe_site(v, site_of(site), env);
}
}
