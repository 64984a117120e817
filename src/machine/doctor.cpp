#include "machine/doctor.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <charconv>
#include <fstream>

#include "base/text.h"
#include "machine/image.h"
#include "machine/kvm_check.h"
#include "machine/process.h"
#include "machine/resources.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

constexpr auto kSetup = "scripts/setup";
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr unsigned kOldestQemu = 10;

Check check_qemu() {
  const fs::path program = find_program("qemu-system-x86_64");
  if (program.empty())
    return {Health::problem, "QEMU", "qemu-system-x86_64 is not installed", kSetup};
  const Deadline deadline = in(std::chrono::seconds(10));
  const auto version = run_program({program, "--version"}, deadline);
  const auto help = run_program({program, "--help"}, deadline);
  if (!version || !help)
    return {Health::problem, "QEMU", (version ? help : version).error().message, kSetup};
  return judge_qemu(*version, *help);
}

Check check_plugin() {
  const auto plugin = plugin_file();
  if (plugin) return {Health::ok, "QEMU plugin", plugin->native(), {}};
  return {Health::problem, "QEMU plugin", plugin.error().message, plugin.error().remedy};
}

Check check_image() {
  const auto store = ImageStore::open();
  if (!store) return {Health::problem, "guest image", store.error().message, store.error().remedy};
  const auto image = store->find("linux");
  if (!image) return {Health::problem, "guest image", image.error().message, image.error().remedy};
  return {Health::ok,
          "guest image",
          fmt::format("{} ({} MiB)", image->directory.native(), image->bytes / kMiB),
          {}};
}

Check check_disk_space() {
  fs::path place = cache_directory();
  while (place.has_relative_path() && !fs::exists(place)) place = place.parent_path();
  struct statvfs info{};
  if (::statvfs(place.c_str(), &info) != 0) return {Health::warning, "disk space", "unknown", {}};
  const auto store = ImageStore::open();
  return judge_disk_space(std::uint64_t{info.f_bavail} * info.f_frsize,
                          store && store->find("linux"));
}

Check check_memory() {
  std::ifstream in("/proc/meminfo");
  constexpr std::string_view kKey = "MemAvailable:";
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(kKey)) continue;
    const std::size_t digit = line.find_first_of("0123456789");
    std::uint64_t kib = 0;
    if (digit != std::string::npos)
      std::from_chars(line.data() + digit, line.data() + line.size(), kib);
    return judge_memory(kib * 1024);
  }
  return {Health::warning, "memory", "unknown", {}};
}

Check check_image_tools() {
  std::string missing;
  for (const char* tool : {"mmdebstrap", "mke2fs", "cpio", "xz", "zstd"})
    if (find_program(tool).empty()) missing += fmt::format(" {}", tool);
  if (missing.empty()) return {Health::ok, "image tools", "mmdebstrap, mke2fs, cpio", {}};
  return {Health::problem, "image tools", "not installed:" + missing, kSetup};
}

Check check_namespaces() {
  constexpr auto kName = "image building";
  if (::geteuid() == 0) return {Health::ok, kName, "as root", {}};
  const auto tried = run_program({"unshare", "--user", "--map-auto", "--map-root-user", "true"},
                                 in(std::chrono::seconds(10)));
  if (tried) return {Health::ok, kName, "in a user namespace", {}};
  return {Health::warning, kName,
          "user namespaces or subordinate ids are off: images can only be built by root",
          "sudo sysctl -w user.max_user_namespaces=10000; sudo usermod --add-subuids "
          "100000-165535 --add-subgids 100000-165535 $USER"};
}

Check check_kvm_watching() {
  constexpr auto kName = "KVM";
  const auto works = check_kvm();
  if (!works)
    return {Health::info, kName, works.error().message + "; not needed: guests run under TCG",
            works.error().remedy};
  const auto library = kvm_library_file();
  if (!library) return {Health::warning, kName, library.error().message, library.error().remedy};
  const std::string watched = "guests can be watched (--accel kvm): --tier stealth, broad";
  const auto device = open_userfaultfd();
  if (!device)
    return {Health::info, kName, watched + "; " + device.error().message, device.error().remedy};
  return {Health::ok, kName, watched, {}};
}

}  // namespace

Check judge_qemu(std::string_view version, std::string_view help) {
  constexpr std::string_view kBefore = "version ";
  const std::size_t at = version.find(kBefore);
  unsigned major = 0;
  if (at != std::string_view::npos)
    std::from_chars(version.data() + at + kBefore.size(), version.data() + version.size(), major);
  const std::string first = to_printable(version.substr(0, version.find('\n')));
  if (major == 0) return {Health::problem, "QEMU", "its version is unreadable: " + first, kSetup};
  if (major < kOldestQemu)
    return {Health::problem, "QEMU", fmt::format("{}: {} or later is needed", first, kOldestQemu),
            kSetup};
  if (help.find("\n-plugin ") == std::string_view::npos)
    return {Health::problem, "QEMU", first + ": built without plugin support", kSetup};
  return {Health::ok, "QEMU", first, {}};
}

Check judge_disk_space(std::uint64_t available, bool image_built) {
  // The image and its snapshot take 300 MiB, building it three times that for a while.
  const std::uint64_t needed = (image_built ? 512 : 2048) * kMiB;
  const std::string text =
      fmt::format("{} MiB free in {}", available / kMiB, to_printable(cache_directory().native()));
  if (available >= needed) return {Health::ok, "disk space", text, {}};
  return {Health::problem, "disk space", fmt::format("{}; {} MiB are needed", text, needed / kMiB),
          "set GLASSHOOK_CACHE to a directory on a larger disk"};
}

Check judge_memory(std::uint64_t available) {
  constexpr std::uint64_t kNeeded = 1200 * kMiB;  // guest 512, translated code, QEMU, monitor
  const std::string text = fmt::format("{} MiB available", available / kMiB);
  if (available >= kNeeded) return {Health::ok, "memory", text, {}};
  return {Health::warning,
          "memory",
          fmt::format("{}; a guest and its monitor take up to {} MiB", text, kNeeded / kMiB),
          {}};
}

std::vector<Check> run_doctor() {
  return {check_qemu(),       check_plugin(),     check_image(),  check_image_tools(),
          check_namespaces(), check_disk_space(), check_memory(), check_kvm_watching()};
}

}  // namespace glasshook::machine
