// Entry point of the QEMU TCG plugin:
//   -plugin libglasshook-qemu.so,socket=PATH[,ring=MIB]
// or, from who starts QEMU with an end of a SOCK_SEQPACKET socket pair: fd=NUMBER[,ring=MIB]
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "hypervisor/probe/command_line.h"
#include "hypervisor/qemu/late_frees.h"
#include "hypervisor/qemu/qemu_probe.h"

#define GLASSHOOK_EXPORT extern "C" __attribute__((visibility("default")))

/// The lowest API that has all we use (QEMU 9.2); later ones are compatible up to 6.
GLASSHOOK_EXPORT int qemu_plugin_version;
int qemu_plugin_version = 4;

namespace {

using namespace glasshook;
using namespace glasshook::hypervisor;

struct Arguments {
  std::string socket;
  int fd = -1;
  std::uint64_t ring_mib = 8;
};

bool parse_arguments(int count, char** values, Arguments& out) {
  for (int i = 0; i < count; ++i) {
    const std::string_view argument = values[i];
    const auto equals = argument.find('=');
    const auto name = argument.substr(0, equals);
    const auto value = equals == std::string_view::npos ? "" : argument.substr(equals + 1);
    if (name == "socket") {
      out.socket = value;
    } else if (name == "fd") {
      std::from_chars(value.data(), value.data() + value.size(), out.fd);
    } else if (name == "ring") {
      std::from_chars(value.data(), value.data() + value.size(), out.ring_mib);
      if (out.ring_mib < 1 || out.ring_mib > 1024) return false;
    } else {
      return false;
    }
  }
  return out.socket.empty() != (out.fd < 0);
}

int refuse(std::string_view why) {
  qemu_plugin_outs(fmt::format("glasshook: {}\n", why).c_str());
  return 1;
}

bool is_only_plugin() {
  const auto words = probe::own_command_line();
  return std::count_if(words.begin(), words.end(), [](const std::string& word) {
           return word == "-plugin" || word == "--plugin";
         }) == 1;
}

}  // namespace

GLASSHOOK_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                         char** argv) {
  Arguments arguments;
  if (!parse_arguments(argc, argv, arguments))
    return refuse("use -plugin libglasshook-qemu.so,socket=PATH[,ring=MIB]");
  if (!info->system_emulation || std::string_view(info->target_name) != "x86_64")
    return refuse("only qemu-system-x86_64 can be watched");

  qemu::ProbeOptions options;
  options.vcpus = static_cast<std::uint32_t>(info->system.max_vcpus);
  options.ring_bytes = probe::SharedRegion::ring_bytes_for(arguments.ring_mib << 20);
  if (options.vcpus == 0 || options.vcpus > probe::kMaxVcpus)
    return refuse(fmt::format("at most {} vCPUs can be watched", probe::kMaxVcpus));
  int fd = -1;
  const auto bytes = probe::make_shared_memory(
      probe::SharedRegion::size_for(options.vcpus, options.ring_bytes), fd);
  if (!bytes) return refuse(bytes.error().message);
  const auto region = probe::SharedRegion::create(*bytes, options.vcpus, options.ring_bytes,
                                                  probe::measure_ticks_per_second());

  // Lives as long as QEMU: translated code and vCPU threads refer to it to the end.
  qemu::g_probe = new qemu::QemuProbe(id, options, region, fd);
  const auto started = arguments.fd >= 0
                           ? probe::ControlServer::adopt(arguments.fd, *qemu::g_probe)
                           : probe::ControlServer::start(arguments.socket, *qemu::g_probe);
  if (!started) return refuse(started.error().message);
  // Without it a guest of several vCPUs ends now and then when hooks change.
  (void)qemu::LateFrees::install();
  qemu::g_probe->register_callbacks();
  // Without it all blocks are shown, which works as well.
  if (is_only_plugin()) (void)qemu::TranslationGate::install();
  return 0;
}
