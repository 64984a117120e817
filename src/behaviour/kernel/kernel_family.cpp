#include "behaviour/kernel/kernel_family.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <variant>

#include "behaviour/kernel/bpf_types.h"
#include "behaviour/kernel/suspects.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

using hypervisor::PrivilegedInstruction;

/// x86-64 number of init_module, which takes the module from memory instead of a file.
constexpr std::uint64_t kSysInitModule = 175;

enum ModuleRead { kReadPath };
enum ModuleInit { kModuleName, kModuleTaints, kModuleVersion, kModuleAddress };
enum Patch { kPatchAddress, kPatchLength };
enum MsrWrite { kMsrValue };
enum Writable { kWritableBegin, kWritablePages };
enum Bpf { kBpfName, kBpfType, kBpfId };

/// Why a module taints the kernel (include/linux/panic.h, TAINT_*).
std::vector<std::string> taint_names(std::uint64_t taints) {
  constexpr std::pair<int, std::string_view> kTaints[] = {
      {0, "proprietary"}, {1, "forced"}, {12, "out_of_tree"}, {13, "unsigned"}};
  std::vector<std::string> names;
  for (const auto& [bit, name] : kTaints)
    if (taints >> bit & 1) names.emplace_back(name);
  return names;
}

/// Whatever process the user watches: what it does to the kernel it does to all.
hook::HookSpec everywhere(hook::HookSpec spec) {
  spec.in_scope_only = false;
  return spec;
}

class KernelFamily final : public TableFamily<KernelFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "kernel"; }
  [[nodiscard]] std::string_view description() const override {
    return "kernel modules and BPF programs loaded; kernel tables or code changed, processes or "
           "modules hidden";
  }

  [[nodiscard]] bool wants_kernel_checks() const override { return true; }
  void on_kernel_tampered(const KernelTampering& tampering,
                          std::chrono::system_clock::time_point time, Context& context) override {
    Event event = std::visit([&](const auto& what) { return tell(what, time); }, tampering);
    event.time = time;
    context.emit(std::move(event));
  }
  /// Nothing tells it by Windows' own names.
  [[nodiscard]] bool on_by_default(Platform) const override { return true; }

  static std::vector<Rule> rules() {
    return {
        {at_entry({"security_kernel_read_file"}, {"id == READING_MODULE"},
                  {path("path", "file->f_path")}),
         &KernelFamily::on_module_read},
        {at_exit({"do_init_module"}, {}, {"ret == 0"},
                 {string("name", "mod->name", 64), word("taints", "mod->taints"),
                  string("version", "mod->version", 64), word("module", "mod")}),
         &KernelFamily::on_module},
        {everywhere(
             at_entry({"__text_poke"}, {}, {word("address", "addr"), word("length", "len")})),
         &KernelFamily::on_patch},
        // While the kernel starts.
        {everywhere(optional(
             at_entry({"text_poke_early"}, {}, {word("address", "addr"), word("length", "len")}))),
         &KernelFamily::on_patch},
        // What tampering takes; Linux itself does it while processors start, if at all.
        {everywhere(at_instruction(PrivilegedInstruction::write_msr, "wrmsr",
                                   {"(unsigned int)arg3 == 0xc0000082"},  // MSR_LSTAR
                                   {word("value", "operand")})),
         &KernelFamily::on_entry_set},
        {everywhere(at_instruction(PrivilegedInstruction::load_idt, "lidt", {}, {})),
         &KernelFamily::on_idt_loaded},
        {everywhere(at_instruction(PrivilegedInstruction::write_cr0, "mov cr0",
                                   {"!(operand & 0x10000)"}, {})),  // CR0.WP
         &KernelFamily::on_unprotected},
        {everywhere(optional(at_entry({"set_memory_rw"}, {},
                                      {word("address", "addr"), word("pages", "numpages")}))),
         &KernelFamily::on_made_writable},
        // Called for every program when it is ready, and before that for the functions it is made
        // of, which have no id.
        {at_entry({"bpf_prog_kallsyms_add"}, {"fp->aux->id != 0"},
                  {string("name", "fp->aux->name", 16), word("type", "fp->type"),
                   word("id", "fp->aux->id")}),
         &KernelFamily::on_bpf},
    };
  }

 private:
  static constexpr std::size_t kMaxReads = 256, kMaxLoaders = 1024;

  using Time = std::chrono::system_clock::time_point;

  /// Names who could write there.
  void accuse(Event& event, std::uint64_t address, Time time) {
    const Suspect* suspect = suspects_.of(address, time);
    if (suspect == nullptr) return;
    event.process = suspect->process;
    add(event, "glasshook.evidence", std::string{name_of(suspect->means)});
  }

  [[nodiscard]] Event tell(const TableChange& change, Time time) {
    Event event = make_event("kernel_table_changed");
    accuse(event, change.address, time);
    add(event, "glasshook.table.name", std::string{change.table});
    add_number(event, "glasshook.table.index", change.index);
    add(event, "glasshook.table.before", change.before);
    add(event, "glasshook.table.after", change.after);
    return event;
  }

  [[nodiscard]] Event tell(const EntryChange& change, Time) const {
    Event event = make_event("kernel_entry_changed");
    const bool lstar = change.name == "LSTAR";
    event.process = lstar ? entry_setter_ : idt_loader_;
    if (event.process) add(event, "glasshook.evidence", std::string{lstar ? "wrmsr" : "lidt"});
    add(event, "glasshook.entry.register", std::string{change.name});
    add_number(event, "glasshook.entry.cpu", change.cpu);
    add(event, "glasshook.entry.before", change.before);
    add(event, "glasshook.entry.after", change.after);
    return event;
  }

  [[nodiscard]] Event tell(const KernelCodeChange& change, Time time) {
    Event event = make_event("kernel_code_modified");
    accuse(event, change.address, time);
    add(event, "glasshook.address", hex(change.address));
    add_number(event, "glasshook.code.changed_bytes", change.bytes);
    if (!change.functions.empty()) add(event, "glasshook.code.functions", change.functions);
    add_known(event, "glasshook.code.target", change.target);
    return event;
  }

  [[nodiscard]] Event tell(const HiddenProcess& hidden, Time) const {
    Event event = make_event("process_hidden");
    event.process = hidden.process;
    add_number(event, "glasshook.hidden.pid", hidden.pid);
    add(event, "glasshook.hidden.missing_from", hidden.missing_from);
    return event;
  }

  [[nodiscard]] Event tell(const HiddenModule& hidden, Time) const {
    Event event = make_event("kernel_module_hidden");
    const auto loader = loaders_.find(hidden.name);
    if (loader != loaders_.end()) event.process = loader->second;
    add(event, "glasshook.module.name", hidden.name);
    add(event, "glasshook.address", hex(hidden.address));
    add_number(event, "glasshook.bytes", hidden.bytes);
    return event;
  }

  void on_module_read(const Call& call, Context& context) {
    if (reads_.size() >= kMaxReads) reads_.clear();
    reads_[call.context(hook::kContextTask)] = context.path(call, kReadPath);
  }

  void on_patch(const Call& call, Context& context) {
    context.kernel_code_patched(call.word(kPatchAddress), call.word(kPatchLength));
  }

  void on_entry_set(const Call& call, Context& context) {
    entry_setter_ = call.process();
    context.kernel_entry_set(call.word(kMsrValue), call.record().header().vcpu);
  }

  void on_idt_loaded(const Call& call, Context&) { idt_loader_ = call.process(); }

  void on_unprotected(const Call& call, Context&) {
    suspects_.note({.means = Means::write_protect, .process = call.process(), .time = call.time()});
  }

  void on_made_writable(const Call& call, Context&) {
    constexpr std::uint64_t kMostPages = 1 << 20;
    const std::uint64_t begin = call.word(kWritableBegin);
    const std::uint64_t pages = std::min(call.word(kWritablePages), kMostPages);
    suspects_.note({.means = Means::page_attributes,
                    .process = call.process(),
                    .begin = begin,
                    .end = begin + pages * kPageSize,
                    .time = call.time()});
  }

  void on_module(const Call& call, Context& context) {
    context.kernel_module_loaded(call.word(kModuleAddress));
    suspects_.note({.means = Means::module_load, .process = call.process(), .time = call.time()});
    if (loaders_.size() >= kMaxLoaders) loaders_.clear();
    loaders_[std::string{call.text(kModuleName)}] = call.process();
    const auto file = reads_.extract(call.context(hook::kContextTask));
    const bool from_memory = call.context(hook::kContextSyscall) == kSysInitModule;
    Event event = make_event("kernel_module_loaded");
    add(event, "glasshook.module.name", std::string{call.text(kModuleName)});
    add_known(event, "glasshook.module.version", std::string{call.text(kModuleVersion)});
    if (auto taints = taint_names(call.word(kModuleTaints)); !taints.empty())
      add(event, "glasshook.module.taints", std::move(taints));
    add_flag(event, "glasshook.module.from_memory", from_memory);
    if (!file.empty() && !from_memory) add_known(event, "file.path", file.mapped());
    context.emit(call, std::move(event));
  }

  void on_bpf(const Call& call, Context& context) {
    Event event = make_event("bpf_program_loaded");
    add_known(event, "glasshook.bpf.name", std::string{call.text(kBpfName)});
    add(event, "glasshook.bpf.type", bpf_type_name(call.word(kBpfType)));
    add_number(event, "glasshook.bpf.id", call.word(kBpfId));
    context.emit(call, std::move(event));
  }

  /// By name of a module: who loaded it.
  std::map<std::string, std::shared_ptr<const Process>> loaders_;
  std::shared_ptr<const Process> entry_setter_, idt_loader_;
  Suspects suspects_;
  /// By task: the file its module is read from.
  std::unordered_map<std::uint64_t, std::string> reads_;
};

}  // namespace

std::unique_ptr<Family> make_kernel_family() { return std::make_unique<KernelFamily>(); }

}  // namespace glasshook::behaviour
