// One hot path, over and over, for callgrind to count: count_instructions
// hit|filtered|kvm_path|kvm_name|code_page|decode|json TIMES.
// Only the repetitions are counted: valgrind --tool=callgrind --collect-atstart=no.
#include <fmt/format.h>
#include <valgrind/callgrind.h>

#include <charconv>
#include <cstdio>
#include <functional>
#include <string_view>

#include "decoded_call.h"
#include "hooked_kvm.h"
#include "hooked_probe.h"
#include "hypervisor/qemu/code_pages.h"
#include "output/json_line.h"
#include "output/sample_events.h"

namespace {

using namespace glasshook;  // NOLINT

/// An event as the file family makes it.
behaviour::Event opened_file() {
  using namespace output::testing;  // NOLINT
  return sample_event(
      "file_opened", sample_process("python3", 1234, {"python3", "-S", "/home/user/program.py"}),
      {{"file.path", std::string("/home/user/documents/letters/to-whom-it-may-concern.txt")},
       {"file.inode", std::string("123456")},
       {"file.type", std::string("file")},
       {"glasshook.open.flags", std::vector<std::string>{"O_RDONLY", "O_CLOEXEC"}}});
}

/// What to repeat; nothing when there is no such path.
std::function<void()> path_called(std::string_view name) {
  using hypervisor::probe::HookedProbe;
  if (name == "hit" || name == "filtered") {
    auto probe = std::make_shared<HookedProbe>(name == "hit" ? hypervisor::probe::path_at_return()
                                                             : hypervisor::probe::filtered());
    return [probe] { probe->call(); };
  }
  if (name == "kvm_path" || name == "kvm_name") {
    using namespace hypervisor::kvm;  // NOLINT
    auto probe = name == "kvm_path"
                     ? std::make_shared<HookedKvm>(hypervisor::Tier::stealth, file_opened())
                     : std::make_shared<HookedKvm>(hypervisor::Tier::broad, function_called());
    return [probe] {
      const std::uint64_t before = probe->sent();
      probe->hit();
      if (probe->sent() == before) std::abort();
    };
  }
  if (name == "code_page") {
    // What is asked for each block of a program that QEMU translates.
    auto pages = std::make_shared<hypervisor::qemu::CodePages>(42);
    const auto bytes = std::make_shared<hypervisor::qemu::CodePageBytes>();
    bytes->fill(std::byte{0x90});
    return [pages, bytes] { (void)pages->user(Gpa{0x5000}, *bytes, Gva{0x400000}, 0, 1000); };
  }
  if (name == "decode") {
    auto call = std::make_shared<monitor::DecodedCall>();
    return [call] {
      const std::uint64_t before = call->fields_seen();
      call->decode();
      if (call->fields_seen() == before) std::abort();
    };
  }
  if (name == "json") {
    auto lines = std::make_shared<output::JsonLines>(output::JsonOptions{});
    return [lines, event = opened_file()] {
      if (lines->event(event).empty()) std::abort();
    };
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  unsigned times = 0;
  const std::string_view wanted = argc > 2 ? argv[2] : "";
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), times);
  const auto path = argc > 1 ? path_called(argv[1]) : nullptr;
  if (!path || times == 0) {
    fmt::print(
        stderr,
        "usage: count_instructions hit|filtered|kvm_path|kvm_name|code_page|decode|json TIMES\n");
    return 2;
  }
  for (unsigned i = 0; i < 100; ++i) path();  // caches and buffers are as they stay
  CALLGRIND_TOGGLE_COLLECT;
  for (unsigned i = 0; i < times; ++i) path();
  CALLGRIND_TOGGLE_COLLECT;
  return 0;
}
