#include <gmock/gmock.h>

#include <set>

#include "behaviour/fake_guest.h"
#include "hook/process_filter.h"

namespace glasshook::behaviour {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(InjectionFamily, TheFirstWriteAtOnceTheRestAddedUp) {
  FakeGuest guest("injection");
  const Caller caller{.process = make_process(10)};
  for (std::uint64_t i = 0; i < 100; ++i)
    guest.call("ptrace_access_vm", true, caller,
               {{"pid", 20}, {"name", "victim"}, {"address", 0x7000 + 8 * i}, {"bytes", 8}});
  Event event = guest.only();
  EXPECT_EQ(event.action, "process_memory_written");
  EXPECT_EQ(text_of(event, "glasshook.target.pid"), "20");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x7000");
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "8");
  EXPECT_EQ(text_of(event, "glasshook.method"), "ptrace");
  guest.family().on_process_exit(make_process(20), guest);  // the target is gone
  event = guest.only();
  EXPECT_EQ(event.process, caller.process);
  EXPECT_EQ(text_of(event, "glasshook.bytes"), "792");
  EXPECT_EQ(text_of(event, "glasshook.operations"), "99");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x7008");
  guest.family().on_end(guest);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(InjectionFamily, ProcessVmWritevFindsItsTargetAcrossPidNamespaces) {
  FakeGuest guest("injection");
  const Caller caller{.process = make_process(10)};
  guest.call("mm_access", false, caller, {{"pid", 4711}, {"name", "victim"}});
  guest.call("process_vm_rw", true, caller,
             {{"pid", 3}, {"address", std::string("\0\x10\0\0\0\0\0\0", 8)}, {"bytes", 64}});
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x1000");
  EXPECT_EQ(text_of(event, "glasshook.target.pid"), "4711");
  EXPECT_EQ(text_of(event, "glasshook.target.name"), "victim");
  guest.call("mm_access", false, caller, {{"pid", 10}, {"name", "self"}});
  guest.call("process_vm_rw", true, caller, {{"pid", 1}, {"bytes", 64}});
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(InjectionFamily, AttachAndProcMem) {
  FakeGuest guest("injection");
  guest.processes[20] = make_process(20, "victim");
  const Caller caller{.process = make_process(10)};
  guest.call("ptrace_attach", true, caller, {{"pid", 20}, {"name", "victim"}, {"request", 0x4206}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.method"), "PTRACE_SEIZE");
  guest.call("mem_rw", true, caller, {{"pid", 20}, {"position", 0x5010}, {"bytes", 16}});
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x5000");
  EXPECT_EQ(text_of(event, "glasshook.method"), "/proc/PID/mem");
  EXPECT_EQ(text_of(event, "glasshook.target.name"), "victim");
}

TEST(KernelFamily, ModulesAndPrograms) {
  FakeGuest guest("kernel");
  Caller caller{.process = make_process(10), .syscall = 313};
  guest.call("security_kernel_read_file", false, caller, {{"path", "/lib/modules/x.ko"}});
  guest.call("do_init_module", true, caller,
             {{"name", "rootkit"}, {"taints", 1u << 12 | 1u << 13}, {"version", ""}});
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.module.name"), "rootkit");
  EXPECT_EQ(text_of(event, "file.path"), "/lib/modules/x.ko");
  EXPECT_EQ(text_of(event, "glasshook.module.taints"), "out_of_tree,unsigned");
  caller.syscall = 175;
  guest.call("do_init_module", true, caller, {{"name", "x"}, {"taints", 0}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.module.from_memory"), "true");
  EXPECT_EQ(event.find("file.path"), nullptr);
  guest.call("bpf_prog_kallsyms_add", false, caller, {{"name", "probe"}, {"type", 2}, {"id", 5}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.bpf.type"), "kprobe");
  guest.call("bpf_prog_kallsyms_add", false, caller, {{"name", ""}, {"type", 1000}, {"id", 5}});
  EXPECT_EQ(text_of(guest.only(), "glasshook.bpf.type"), "type 1000");
}

TEST(ModuleFamily, EachLibraryOnceForEachImage) {
  FakeGuest guest("module");
  Caller caller{.process = make_process(10), .syscall = 9};
  const auto map = [&](std::string path) {
    guest.call("vm_mmap_pgoff", true, caller,
               {{"path", std::move(path)}, {"address", 0x7f0000}, {"inode", 3}});
  };
  map("/usr/lib/libc.so.6");
  map("/usr/lib/libc.so.6");
  map("/usr/bin/prog");  // itself
  map("");
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "dll.path"), "/usr/lib/libc.so.6");
  EXPECT_EQ(text_of(event, "dll.name"), "libc.so.6");
  caller.process = make_process(10);  // another image of the same process
  map("/usr/lib/libc.so.6");
  EXPECT_THAT(guest.actions(), ElementsAre("library_loaded"));
  caller.syscall = 59;
  map("/lib64/ld-linux-x86-64.so.2");
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(MemoryFamily, TheFirstPageAtOnceTheNumberAtTheEnd) {
  FakeGuest guest("memory");
  const auto process = make_process(10);
  for (std::uint64_t page = 5; page > 0; --page)
    guest.family().on_unbacked_code(process, page * 0x1000, at_second(1), guest);
  EXPECT_EQ(text_of(guest.only(), "glasshook.address"), "0x5000");
  guest.family().on_process_exit(process, guest);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.pages"), "5");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x1000");
  guest.family().on_unbacked_code(nullptr, 1, at_second(1), guest);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(KernelFamily, SaysWhereATableLeadsNow) {
  FakeGuest guest("kernel");
  guest.family().on_kernel_tampered(TableChange{.table = "sys_call_table",
                                                .index = 59,
                                                .before = "__x64_sys_execve",
                                                .after = "0xffffffffc0123456"},
                                    at_second(1), guest);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "kernel_table_changed");
  EXPECT_EQ(event.process, nullptr);
  EXPECT_EQ(text_of(event, "glasshook.table.index"), "59");
  EXPECT_EQ(text_of(event, "glasshook.table.after"), "0xffffffffc0123456");
}

TEST(KernelFamily, NamesWhoSetAnEntry) {
  FakeGuest guest("kernel");
  guest.call("wrmsr", false, {.process = make_process(7)}, {{"value", 0xffff'ffff'c000'1000}});
  EXPECT_EQ(guest.entry, 0xffff'ffff'c000'1000);
  guest.family().on_kernel_tampered(EntryChange{.name = "LSTAR", .before = "a", .after = "b"},
                                    at_second(1), guest);
  Event event = guest.only();
  EXPECT_EQ(event.process->pid, 7u);
  EXPECT_EQ(text_of(event, "glasshook.evidence"), "wrmsr");
  guest.family().on_kernel_tampered(EntryChange{.name = "IDTR", .before = "a", .after = "b"},
                                    at_second(1), guest);
  event = guest.only();
  EXPECT_EQ(event.process, nullptr);
  EXPECT_EQ(text_of(event, "glasshook.evidence"), "(none)");
  guest.call("lidt", false, {.process = make_process(8)}, {});
  guest.family().on_kernel_tampered(EntryChange{.name = "IDTR", .before = "a", .after = "b"},
                                    at_second(1), guest);
  EXPECT_EQ(guest.only().process->pid, 8u);
}

TEST(KernelFamily, NamesWhoCouldWriteThere) {
  FakeGuest guest("kernel");
  const auto tampered = [&](std::uint64_t address, int second) {
    guest.family().on_kernel_tampered(
        TableChange{.table = "t", .address = address, .before = "a", .after = "b"},
        at_second(second), guest);
    return guest.only();
  };
  EXPECT_EQ(tampered(0x1000, 0).process, nullptr);
  guest.call("do_init_module", true, {.process = make_process(1), .seconds = 1},
             {{"name", "x"}, {"taints", 0}, {"version", ""}, {"module", 0}});
  guest.events.clear();
  EXPECT_EQ(text_of(tampered(0x1000, 2), "glasshook.evidence"), "module_load");
  guest.call("mov cr0", false, {.process = make_process(2), .seconds = 3}, {});
  guest.call("set_memory_rw", false, {.process = make_process(3), .seconds = 4},
             {{"address", 0x1000}, {"pages", 2}});
  guest.call("mov cr0", false, {.process = make_process(4), .seconds = 5}, {});
  EXPECT_EQ(tampered(0x2fff, 6).process->pid, 3u);
  const Event other = tampered(0x3000, 6);
  EXPECT_EQ(other.process->pid, 4u);
  EXPECT_EQ(text_of(other, "glasshook.evidence"), "cr0_write_protect");
  EXPECT_EQ(tampered(0x3000, 66).process, nullptr) << "too long ago";
  for (int i = 0; i < 1000; ++i)
    guest.call("set_memory_rw", false, {.process = make_process(9), .seconds = 70},
               {{"address", ~0ull - 100}, {"pages", ~0ull}});
  EXPECT_EQ(tampered(0x3000, 70).process, nullptr);
}

TEST(MemoryFamily, EachChangedPageOfAFileUpToALimit) {
  FakeGuest guest("memory");
  const auto process = make_process(10);
  const behaviour::ModifiedCode code{
      .path = "/lib/libc.so.6", .address = 0x7f0123, .bytes = 5, .functions = {"libc!open"}};
  guest.family().on_modified_code(process, code, at_second(1), guest);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "code_modified");
  EXPECT_EQ(text_of(event, "dll.name"), "libc.so.6");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x7f0123");
  EXPECT_EQ(text_of(event, "glasshook.code.changed_bytes"), "5");
  for (int i = 0; i < 1000; ++i)
    guest.family().on_modified_code(process, code, at_second(2), guest);
  EXPECT_EQ(guest.actions().size(), 63u);
  guest.family().on_modified_code(nullptr, code, at_second(2), guest);
  guest.family().on_process_exit(process, guest);
  EXPECT_THAT(guest.actions(), IsEmpty());
}

TEST(BypassFamily, SaysWhichCodeMadeTheCall) {
  FakeGuest guest("bypass");
  Caller caller{.process = make_process(10), .syscall = 59};
  guest.origin = {.origin = CodeOrigin::libc, .module = "/usr/lib/libc.so.6"};
  guest.call("security_bprm_creds_for_exec", false, caller, {});
  EXPECT_THAT(guest.events, IsEmpty());
  guest.origin = {.origin = CodeOrigin::anonymous, .module = ""};
  for (int i = 0; i < 3; ++i) guest.call("security_bprm_creds_for_exec", false, caller, {});
  Event event = guest.only();
  EXPECT_EQ(event.action, "api_bypassed");
  EXPECT_EQ(text_of(event, "glasshook.syscall.name"), "execve");
  EXPECT_EQ(text_of(event, "glasshook.bypass.origin"), "anonymous_memory");
  EXPECT_EQ(text_of(event, "glasshook.address"), "0x401000");
  guest.origin = {.origin = CodeOrigin::main_executable, .module = "/usr/bin/prog"};
  guest.call("security_bprm_creds_for_exec", false, caller, {});
  EXPECT_EQ(text_of(guest.only(), "glasshook.bypass.module"), "/usr/bin/prog");
  caller.syscall = 322;
  guest.call("security_bprm_creds_for_exec", false, caller, {});
  EXPECT_THAT(guest.events, IsEmpty());  // a static program is told once
  guest.origin = {.origin = CodeOrigin::anonymous, .module = ""};
  guest.call("security_bprm_creds_for_exec", false, caller, {});
  EXPECT_EQ(text_of(guest.only(), "glasshook.syscall.name"), "execveat");
  caller.user_ip = 0;
  caller.process = make_process(12);
  guest.call("security_bprm_creds_for_exec", false, caller, {});
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(Registry, FamiliesAreWellFormed) {
  std::set<std::string> names;
  for (const auto& family : make_families()) {
    EXPECT_TRUE(names.insert(std::string{family->name()}).second);
    EXPECT_FALSE(family->description().empty());
    for (const hook::HookSpec& spec : family->hooks()) {
      EXPECT_FALSE(spec.functions.empty());
      EXPECT_TRUE(spec.entry.enabled || spec.exit.enabled);
      EXPECT_EQ(family->platform(), Platform::linux);
      EXPECT_LE(spec.entry.captures.size() + spec.exit.captures.size(), 60u);
      for (const auto* moment : {&spec.entry, &spec.exit})
        for (const hook::Capture& capture : moment->captures)
          EXPECT_FALSE(capture.expression.empty()) << capture.name;
    }
  }
}

/// No family may trust a record: every hook gets records without, with wrong and with wild fields.
TEST(Registry, FamiliesSurviveHostileRecords) {
  for (const auto& named : make_families()) {
    FakeGuest guest(named->name());
    const std::vector<hook::HookSpec> hooks = named->hooks();
    for (std::size_t i = 0; i < hooks.size(); ++i) {
      for (const bool is_exit : {false, true}) {
        const hook::Moment& moment = is_exit ? hooks[i].exit : hooks[i].entry;
        if (!moment.enabled) continue;
        for (int shape = 0; shape < 4; ++shape) {
          std::vector<Captured> captured;
          for (const hook::Capture& capture : moment.captures) {
            if (shape == 1) captured.emplace_back(capture.name, ~std::uint64_t{0});
            if (shape == 2)
              captured.emplace_back(capture.name,
                                    std::string(3000 / moment.captures.size(), '\xff'));
            if (shape == 3)
              captured.emplace_back(capture.name, std::string(), capture::kFieldFaulted);
          }
          for (const auto& process : {std::shared_ptr<Process>{}, make_process(10)})
            guest.send(i, is_exit, {.process = process, .syscall = 1}, captured);
        }
      }
    }
    for (const WantedApi& api : named->apis()) {
      const std::string name = api.selector.substr(api.selector.find('!') + 1);
      for (std::uint64_t round = 0; round < 6; ++round)
        for (const auto& process : {std::shared_ptr<Process>{}, make_process(10)}) {
          const Caller caller{.process = process};
          guest.user_call_entered(name, caller, wild_arguments(round));
          guest.user_call(name, caller, wild_arguments(round), round % 8 == 7 ? 0xc0000001 : 0);
          guest.unreturned_user_call(name, caller, {});
          guest.user_call(name, caller, {});
        }
    }
    guest.family().on_process_exit(nullptr, guest);
    guest.family().on_process_exit(make_process(10), guest);
    guest.family().on_end(guest);
    for (const Event& event : guest.events) EXPECT_NE(find_action(event.action), nullptr);
  }
}

TEST(ChokePoints, FitIntoTheBreakpointsOfAProcessor) {
  constexpr std::size_t kBreakpoints = 4;
  std::set<std::string> functions;
  for (const auto& family : make_families())
    for (const hook::HookSpec& spec : family->hooks()) {
      if (!spec.choke_point) {
        EXPECT_FALSE(spec.stands_in) << spec.functions.front();
        continue;
      }
      EXPECT_FALSE(spec.exit.enabled) << spec.functions.front();
      functions.insert(spec.functions.front());
    }
  for (const hook::HookSpec& spec : hook::tree_hooks())
    if (spec.choke_point) functions.insert(spec.functions.front());
  EXPECT_THAT(functions, ElementsAre("finalize_exec", "security_file_open", "taskstats_exit",
                                     "wake_up_new_task"));
  EXPECT_LE(functions.size(), kBreakpoints);
}

TEST(Actions, AreUniqueAndFitTheirColumn) {
  std::set<std::string_view> names;
  for (const ActionInfo& action : actions()) {
    EXPECT_TRUE(names.insert(action.name).second) << action.name;
    EXPECT_LE(action.words.size(), 19u) << action.name;
    EXPECT_EQ(make_event(action.name).category, action.category);
  }
  EXPECT_EQ(find_action("nonsense"), nullptr);
}

}  // namespace
}  // namespace glasshook::behaviour
