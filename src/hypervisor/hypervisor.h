// What a hypervisor backend offers to the rest of Glasshook. Nothing above names a backend.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/guest_address.h"
#include "base/result.h"
#include "capture/program.h"
#include "capture/record.h"
#include "memory/physical_memory.h"

namespace glasshook::hypervisor {

/// Names a hook between monitor and probe. Chosen by the monitor, never reused in a session.
struct HookId {
  std::uint32_t value = 0;
  auto operator<=>(const HookId&) const = default;
};

/// Instructions that only a kernel may execute, and by which its own protection is changed
/// (Intel SDM volume 2). A hook on one is hit before each of them that the kernel or a module
/// executes, wherever it lies. CpuRegister::operand is what it writes.
enum class PrivilegedInstruction : std::uint8_t {
  write_msr,  ///< wrmsr: the register's number is in ecx
  load_idt,   ///< lidt: without operand
  write_cr0,  ///< mov to CR0
  count_
};

/// Where processors enter the kernel, in a guest nobody has tampered with.
struct KernelEntries {
  Gva system_call;      ///< LSTAR
  Gva interrupt_table;  ///< base of the IDT
};

/// Where the kernel says which page tables the process has that a processor runs: in
/// `gs_base[current_task]->mm->pgd`, offsets in bytes.
struct ProcessTables {
  std::uint32_t current_task = 0, mm = 0, pgd = 0;
};

/// The programs of one hook. `on_return` runs when an armed call returns.
struct HookPrograms {
  HookId id;
  capture::Program entry;
  std::optional<capture::Program> on_return;
  /// When the entry program sends something, what a backend has changed in programs' code is taken
  /// out for a moment, before the guest goes on. Without meaning where nothing is changed.
  bool uncovers = false;
};

/// A place on a code page where a hook's function begins.
struct EntrySite {
  std::uint16_t offset = 0;  ///< within the page
  HookId hook;
  bool operator==(const EntrySite&) const = default;
};

/// Part of a code page that belongs to hooked functions: every `ret` (or jump to the kernel's
/// return thunk) in [begin, end) may end an armed call.
struct ReturnRange {
  std::uint16_t begin = 0;
  std::uint16_t end = 0;  ///< up to 4096
  bool operator==(const ReturnRange&) const = default;
};

/// How far a backend goes in the guest, where that is a choice.
enum class Tier : std::uint8_t {
  stealth,  ///< the guest's memory stays as it is
  broad,    ///< all that is possible, though a guest that reads its own code sees it
};

/// Everything to watch on one page.
struct PageSites {
  /// Kernel pages: where the kernel runs this page. A backend that hooks by virtual address needs
  /// it. Null: code of programs.
  Gva address;
  std::vector<EntrySite> entries;
  std::vector<ReturnRange> returns;
  /// Where in those ranges the instructions that return are, by a decoder that began where the
  /// functions do. A backend that cannot look at every instruction needs them.
  std::vector<std::uint16_t> return_places;
  bool report_placements = false;  ///< send a code_page record for every new place it runs at
  /// Answers only: this is what is known by now. Ask again when more of the page runs, or later.
  bool ask_again = false;
  bool operator==(const PageSites&) const = default;
};

/// "Code of unknown content is about to run." Asked while the vCPU waits.
struct PageQuestion {
  std::uint32_t vcpu = 0;
  Gpa page;
  Gva address;  ///< of the first instruction to run
  AddressSpace space;
  std::uint64_t content_hash = 0;  ///< keyed with a per-run secret
  std::uint64_t timestamp = 0;
  std::vector<std::byte> context;  ///< record made by the context program, if one is set
};

/// Answers a question; called on a thread of the backend, one question at a time. Must not wait
/// for anything that waits for the guest.
using PageOracle = std::function<PageSites(const PageQuestion&)>;

/// What a backend can do. A false says that the matching call returns ErrorCode::unsupported.
struct Capabilities {
  std::string backend;  ///< "qemu-tcg", "kvm-stealth", "kvm-broad", "replay", ...
  std::uint32_t vcpus = 1;
  bool user_pages = false;         ///< page questions for user-mode code
  bool user_places = false;        ///< place() for user-mode code, which lies where it lies
  bool returns = false;            ///< return programs
  bool instructions = false;       ///< hooks on privileged instructions
  std::uint32_t max_sites = 0;     ///< addresses that can be hooked at once; 0: no limit
  bool hidden_from_reads = false;  ///< the guest cannot read a trace of a hook
  bool write_protected = false;    ///< nor write over one before that is known
};

/// Counts of one hook since it was loaded. `hits` = sent + filtered + rate_limited + dropped,
/// over entries; returns are counted on their own.
struct HookCounters {
  HookId id;
  std::uint64_t hits = 0;
  std::uint64_t sent = 0;
  std::uint64_t filtered = 0;
  std::uint64_t rate_limited = 0;
  std::uint64_t dropped = 0;  ///< ring full
  std::uint64_t returned = 0;
  std::uint64_t unreturned =
      0;  ///< armed calls whose return was given up (exit, longjmp, eviction)
};

/// Counts of the whole probe.
struct ProbeCounters {
  std::uint64_t records = 0;
  std::uint64_t dropped = 0;  ///< records lost because a ring was full
  std::uint64_t budget = 0;   ///< programs ended by their jump budget
  std::uint64_t page_questions = 0;
  std::uint64_t page_timeouts = 0;  ///< questions nobody answered in time: the page ran unhooked
  std::uint64_t malformed = 0;      ///< records the monitor refused
  std::uint64_t late_commits = 0;   ///< commits that did not take effect within a second
  std::uint64_t overwritten = 0;    ///< places where the guest wrote over a hook
  /// Times hooks were out of the guest for a moment: so that its image, or the files that it reads,
  /// are clean, or because it wrote to their pages.
  std::uint64_t lifted = 0;
  /// Of the blocks of code that an emulator translated: those that the probe looked at, and those
  /// that it did not have to, which run as if nobody watched. 0 where nothing is translated.
  std::uint64_t blocks_shown = 0, blocks_hidden = 0;
};

/// What poll() hands over; borrowed for the call only.
using RecordSink = std::function<void(const capture::RecordView&)>;

/// One watched VM. Destroying it detaches: hooks are removed and the guest runs on.
/// Methods are called from one thread; memory() and load() are safe on the oracle's thread too.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  [[nodiscard]] virtual Capabilities capabilities() const = 0;
  /// The guest's RAM as it would be without hooks in it; scans' views may show them.
  [[nodiscard]] virtual const PhysicalMemory& memory() const = 0;

  /// What to scan for a kernel: memory() itself, unless reads of that are costly (recorded).
  [[nodiscard]] virtual const PhysicalMemory& scan_memory() const { return memory(); }

  /// Something about the session that a later replay of it must know. Forgotten by default.
  virtual Result<> note(const std::string& /*key*/, std::span<const std::byte> /*value*/) {
    return {};
  }
  /// What was noted when this session was recorded; empty for a live VM.
  [[nodiscard]] virtual std::optional<std::vector<std::byte>> noted(
      const std::string& /*key*/) const {
    return std::nullopt;
  }

  /// Address space programs see as Space::kernel, and whether tables have five levels.
  virtual Result<> set_kernel_space(AddressSpace space) = 0;
  /// Kernel functions a `jmp` to which is a return (Linux: __x86_return_thunk and its kin).
  virtual Result<> set_return_thunks(const std::vector<Gva>& thunks) = 0;
  /// What CpuRegister::lstar and idt_base hold in an untouched guest. A backend that cannot ask a
  /// processor for them may find them by that. Without effect by default.
  virtual Result<> set_kernel_entries(const KernelEntries&) { return {}; }
  /// Lets a backend find page tables that its processor tells only slowly. Without effect by
  /// default.
  virtual Result<> set_process_tables(const ProcessTables&) { return {}; }
  /// Program that captures who runs, attached to page questions and code_page records.
  virtual Result<> set_context_program(capture::Program program) = 0;

  /// Verifies and stores a hook's programs. Nothing runs until a site names the hook.
  virtual Result<> load(const HookPrograms& hook) = 0;
  /// Watches a page of the kernel, or of programs with user_places, at a fixed physical place
  /// (replaces earlier sites of that page).
  /// ErrorCode::unsupported, with nothing replaced, when the code at an entry cannot be hooked.
  virtual Result<> place(Gpa page, const PageSites& sites) = 0;
  /// Hooks an instruction (replaces the hook it has). Unsupported by default.
  virtual Result<> place_at(PrivilegedInstruction, HookId) {
    return fail(ErrorCode::unsupported, "this hypervisor does not hook instructions");
  }
  /// Starts asking about user-mode code pages. Forgets all earlier answers.
  virtual Result<> watch_user_pages(PageOracle oracle) = 0;
  /// Asks no more: when this returns, the oracle does not run, nor will it. For before anything
  /// goes away that an oracle uses, this object included.
  virtual void stop_asking() {}
  /// Stops a hook for good; its sites go dead at once.
  virtual Result<> unload(HookId id) = 0;
  /// Makes place()/watch_user_pages() effective for code the guest has already run.
  virtual Result<> commit() = 0;

  /// Sets are named by small numbers that programs use; see capture::SetTable.
  virtual Result<> set_add(std::uint32_t set, std::uint64_t key) = 0;
  virtual Result<> set_remove(std::uint32_t set, std::uint64_t key) = 0;
  /// `per_second` tokens a second, at most `burst` at once, for limiter `limiter`.
  virtual Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second,
                            std::uint32_t burst) = 0;

  /// Hands all records that are complete, in time order over all vCPUs, to `sink`; waits up to
  /// `timeout` for the first. The number handed over; ErrorCode::closed when the VM is gone.
  virtual Result<std::size_t> poll(const RecordSink& sink, std::chrono::milliseconds timeout) = 0;

  /// Wall-clock time of a record's timestamp.
  [[nodiscard]] virtual std::chrono::system_clock::time_point wall_time(
      std::uint64_t timestamp) const = 0;

  [[nodiscard]] virtual Result<std::vector<HookCounters>> hook_counters() = 0;
  [[nodiscard]] virtual Result<ProbeCounters> probe_counters() = 0;
};

}  // namespace glasshook::hypervisor
