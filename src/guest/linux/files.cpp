#include "guest/linux/files.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxUnixAddress = 110;  // sizeof(struct sockaddr_un)

template <class Address>
std::string address_text(const LinuxKernel& kernel, int family, Gva sock, Offset member) {
  const auto raw = kernel.read<Address>(sock, member);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!raw || ::inet_ntop(family, &*raw, text.data(), text.size()) == nullptr) return {};
  return text.data();
}

void read_internet(const LinuxKernel& kernel, Gva sock, SocketInfo& info) {
  const auto& l = kernel.layout().sock;
  if (info.family == AF_INET) {
    info.local.address = address_text<in_addr>(kernel, AF_INET, sock, l.local4);
    info.remote.address = address_text<in_addr>(kernel, AF_INET, sock, l.remote4);
  } else {
    info.local.address = address_text<in6_addr>(kernel, AF_INET6, sock, l.local6);
    info.remote.address = address_text<in6_addr>(kernel, AF_INET6, sock, l.remote6);
  }
  info.local.port = kernel.read<std::uint16_t>(sock, l.local_port).value_or(0);
  info.remote.port = ntohs(kernel.read<std::uint16_t>(sock, l.remote_port).value_or(0));
}

/// Name of an AF_UNIX socket: `len` counts the family and the bytes of the name.
std::string unix_name(const LinuxKernel& kernel, Gva sock) {
  const Layout& l = kernel.layout();
  const auto address = kernel.pointer(sock, l.unix_sock.addr);
  if (!address || address->is_null() || !l.unix_address.name.present()) return {};
  const auto length = kernel.read<std::uint32_t>(*address, l.unix_address.length);
  if (!length || *length <= sizeof(sa_family_t) || *length > kMaxUnixAddress) return {};
  std::string name(*length - sizeof(sa_family_t), '\0');
  const Gva at = *address + l.unix_address.name.bytes() + sizeof(sa_family_t);
  if (!kernel.virtual_memory().read(at, std::as_writable_bytes(std::span{name}))) return {};
  if (name[0] != '\0') name.resize(std::min(name.find('\0'), name.size()));
  return name;
}

OpenFile read_open_file(const LinuxKernel& kernel, std::uint32_t descriptor, Gva file,
                        PathRef root) {
  const Layout& l = kernel.layout();
  OpenFile open;
  open.descriptor = descriptor;
  open.file = file;
  open.path = file_path(kernel, file, root);
  open.flags = kernel.read<std::uint32_t>(file, l.file.flags).value_or(0);
  const auto inode = kernel.pointer(file, l.file.inode);
  open.inode_mode = inode ? kernel.read<std::uint16_t>(*inode, l.inode.mode).value_or(0) : 0;
  if (S_ISSOCK(open.inode_mode)) open.socket = socket_of_file(kernel, file);
  return open;
}

}  // namespace

std::string_view SocketInfo::state_name() const {
  static constexpr std::array<std::string_view, 13> kNames{
      "UNKNOWN",     "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
      "UNCONNECTED", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};
  return state < kNames.size() ? kNames[state] : kNames[0];
}

std::optional<SocketInfo> read_sock(const LinuxKernel& kernel, Gva sock) {
  const auto& l = kernel.layout().sock;
  const auto family = kernel.read<std::uint16_t>(sock, l.family);
  if (!family) return std::nullopt;
  SocketInfo info;
  info.family = *family;
  info.state = kernel.read<std::uint8_t>(sock, l.state).value_or(0);
  info.protocol = kernel.read<std::uint16_t>(sock, l.protocol).value_or(0);
  if (info.family == AF_INET || info.family == AF_INET6) read_internet(kernel, sock, info);
  if (info.family == AF_UNIX) info.unix_path = unix_name(kernel, sock);
  return info;
}

std::optional<SocketInfo> socket_of_file(const LinuxKernel& kernel, Gva file) {
  const Layout& l = kernel.layout();
  const auto socket = kernel.pointer(file, l.file.private_data);
  const auto sock = socket ? kernel.pointer(*socket, l.socket.sk) : std::nullopt;
  if (!sock || sock->is_null()) return std::nullopt;
  auto info = read_sock(kernel, *sock);
  if (info) info->type = kernel.read<std::uint16_t>(*socket, l.socket.type).value_or(0);
  return info;
}

Result<Listing<OpenFile>> open_files(const LinuxKernel& kernel, Gva task) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const Layout& l = kernel.layout();
  const auto files = kernel.pointer(task, l.task.files);
  if (!files) return fail(ErrorCode::guest_fault, "there is no task at {:#x}", task.value);
  Listing<OpenFile> listing;
  if (files->is_null()) return listing;  // exiting
  const auto table = kernel.pointer(*files, l.files.fdt);
  const auto array = table ? kernel.pointer(*table, l.fdtable.fd) : std::nullopt;
  const auto count = table ? kernel.read<std::uint32_t>(*table, l.fdtable.max_fds) : std::nullopt;
  if (!array || !count) return fail(ErrorCode::guest_fault, "the task has no table of open files");
  std::vector<std::uint64_t> pointers(std::min(*count, kMaxDescriptors));
  const std::size_t got =
      kernel.virtual_memory().read_some(*array, std::as_writable_bytes(std::span{pointers})) / 8;
  if (got < *count)
    listing.incomplete =
        fail(ErrorCode::limit, "only {} of {} descriptors were read", got, *count).error();
  const PathRef root = root_of(kernel, task);
  ListingBudget budget;
  for (std::uint32_t i = 0; i < got; ++i) {
    if (!Gva{pointers[i]}.is_kernel()) continue;
    listing.items.push_back(read_open_file(kernel, i, Gva{pointers[i]}, root));
    if (budget.take(listing.items.back().path.cost())) continue;
    listing.incomplete = ListingBudget::used_up();
    break;
  }
  return listing;
}

}  // namespace glasshook::linux_guest
