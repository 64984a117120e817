#include "cli/vm_locator.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/unique_fd.h"
#include "hypervisor/attached/probe_client.h"

namespace glasshook::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPluginName = "glasshook-qemu";
constexpr std::string_view kLibraryName = "glasshook-kvm";
constexpr const char* kStartRemedy =
    "start QEMU with -plugin libglasshook-qemu.so,socket=PATH (glasshook doctor says where it is)";

std::optional<pid_t> process_id(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc{} || end != text.data() + text.size() || pid <= 0) return std::nullopt;
  return pid;
}

/// The words of a file of /proc that ends each with a NUL.
std::vector<std::string> words_of(const fs::path& proc_file) {
  std::ifstream file(proc_file, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = std::min(all.find('\0', at), all.size());
    arguments.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return arguments;
}

/// The members of a QEMU option list; a doubled comma stands for one.
std::vector<std::string> option_list(std::string_view text) {
  std::vector<std::string> members(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      members.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      members.back() += text[++i];
    } else {
      members.emplace_back();
    }
  }
  return members;
}

fs::path socket_of_process(const fs::path& process) {
  std::error_code error;
  const fs::path directory = fs::read_symlink(process / "cwd", error);
  const fs::path plugin = plugin_socket(words_of(process / "cmdline"), directory);
  if (!plugin.empty()) return plugin;
  // The environment is also that of whatever started QEMU.
  const std::string program = fs::read_symlink(process / "exe", error).filename();
  if (program.find("qemu") == std::string::npos) return {};
  return library_socket(words_of(process / "environ"), directory);
}

Result<fs::path> locate_process(pid_t pid, const fs::path& proc) {
  const fs::path process = proc / std::to_string(pid);
  if (!fs::exists(process))
    return fail(ErrorCode::not_found, "there is no process {} on this machine", pid);
  const fs::path socket = socket_of_process(process);
  if (socket.empty())
    return with_remedy(
        fail(ErrorCode::unsupported, "process {} is no QEMU with Glasshook's plugin", pid),
        kStartRemedy);
  return socket;
}

Result<fs::path> locate_only(const fs::path& proc) {
  const std::vector<RunningVm> vms = running_vms(proc);
  if (vms.size() == 1) return vms.front().socket;
  if (vms.empty())
    return with_remedy(fail(ErrorCode::not_found, "no VM with Glasshook's plugin runs here"),
                       kStartRemedy);
  std::string list;
  for (const RunningVm& vm : vms)
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", vm.qemu, vm.socket.native());
  return with_remedy(fail(ErrorCode::invalid_argument, "{} VMs run here: {}", vms.size(), list),
                     "say which, by its process id");
}

/// Who listens on a stream socket. Nothing for the plugin's socket, which is of another type.
Result<std::optional<pid_t>> stream_listener(const fs::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.native().size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid_argument, "socket path is too long: {}", socket.native());
  socket.native().copy(address.sun_path, socket.native().size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
    return peer.pid;
  if (errno == EPROTOTYPE) return std::nullopt;
  return with_remedy(
      fail(ErrorCode::io, "nothing answers at {}: {}", socket.native(), std::strerror(errno)),
      kStartRemedy);
}

}  // namespace

fs::path plugin_socket(const std::vector<std::string>& qemu_arguments, const fs::path& directory) {
  for (std::size_t i = 0; i + 1 < qemu_arguments.size(); ++i) {
    if (qemu_arguments[i] != "-plugin" && qemu_arguments[i] != "--plugin") continue;
    const std::vector<std::string> members = option_list(qemu_arguments[i + 1]);
    if (members.front().find(kPluginName) == std::string::npos) continue;
    for (const std::string& member : members)
      if (member.starts_with("socket=") && member.size() > 7) return directory / member.substr(7);
  }
  return {};
}

fs::path library_socket(const std::vector<std::string>& environment, const fs::path& directory) {
  constexpr std::string_view kVariable = "GLASSHOOK_KVM=", kSocket = "socket=";
  bool loaded = false;
  fs::path socket;
  for (const std::string& variable : environment) {
    loaded |=
        variable.starts_with("LD_PRELOAD=") && variable.find(kLibraryName) != std::string::npos;
    if (!variable.starts_with(kVariable)) continue;
    const std::string_view value = std::string_view(variable).substr(kVariable.size());
    const std::size_t at = value.find(kSocket);
    if (at == std::string_view::npos) continue;
    const std::size_t begin = at + kSocket.size();
    socket = directory / value.substr(begin, value.find(',', begin) - begin);
  }
  return loaded ? socket : fs::path();
}

std::vector<RunningVm> running_vms(const fs::path& proc) {
  std::vector<RunningVm> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(proc, error)) {
    const auto pid = process_id(entry.path().filename().native());
    if (!pid) continue;
    const fs::path socket = socket_of_process(entry.path());
    if (!socket.empty()) found.push_back({.qemu = *pid, .socket = socket});
  }
  std::ranges::sort(found, {}, &RunningVm::qemu);
  return found;
}

Result<fs::path> locate_vm(std::string_view name, const fs::path& proc) {
  if (name.empty()) return locate_only(proc);
  if (const auto pid = process_id(name)) return locate_process(*pid, proc);
  std::error_code error;
  const fs::path path(name);
  if (!fs::exists(path, error))
    return with_remedy(fail(ErrorCode::not_found, "there is no VM '{}': no such file", name),
                       kStartRemedy);
  if (!fs::is_socket(path, error))
    return with_remedy(fail(ErrorCode::invalid_argument, "{} is no socket", name),
                       "name the socket= of QEMU's -plugin option, or QEMU's process id");
  const auto listener = stream_listener(path);
  if (!listener) return std::unexpected(listener.error());
  return *listener ? locate_process(**listener, proc) : path;
}

Result<std::unique_ptr<hypervisor::Hypervisor>> attach_socket(const fs::path& socket,
                                                              hypervisor::Tier tier) {
  auto client = hypervisor::ProbeClient::connect(socket.native(), {}, tier);
  if (client) return std::move(*client);
  Error error = client.error();
  if (error.code == ErrorCode::timeout)
    error.remedy = "end the other monitor of this VM first: one at a time can be attached";
  return std::unexpected(std::move(error));
}

Result<std::unique_ptr<hypervisor::Hypervisor>> attach_vm(std::string_view name) {
  const auto socket = locate_vm(name);
  if (!socket) return std::unexpected(socket.error());
  return attach_socket(*socket);
}

}  // namespace glasshook::cli
