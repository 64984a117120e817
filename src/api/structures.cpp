#include "api/structures.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "api/call.h"
#include "api/format.h"
#include "api/windows_values.h"
#include "base/text.h"

namespace glasshook::api {
namespace {

constexpr std::size_t kMaxShownElements = 16;
constexpr std::string_view kSocketAddress = "sockaddr";
constexpr std::string_view kWaitStatus = "wait_status";
constexpr std::string_view kWindowsSocketAddress = "SOCKADDR";
constexpr std::string_view kGuid = "GUID";
constexpr std::string_view kSid = "SID";

/// Little-endian value of 1 to 8 bytes.
std::uint64_t load(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min<std::size_t>(bytes.size(), sizeof value));
  return value;
}

std::uint16_t load_port(std::span<const std::byte> bytes) {
  return ntohs(static_cast<std::uint16_t>(load(bytes.first(2))));
}

std::string ip_text(int family, std::span<const std::byte> bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* shown = inet_ntop(family, bytes.data(), text.data(), text.size());
  return shown ? shown : "";
}

/// What waitpid stores (glibc bits/waitstatus.h).
std::string show_wait_status(const Vocabulary& vocabulary, std::uint32_t status) {
  const auto signal_name = [&](std::uint32_t number) {
    const ValueSet* set = vocabulary.find_set("signal_names");
    const std::string_view name = set ? enumerator(*set, number) : std::string_view{};
    return name.empty() ? fmt::format("signal {}", number) : std::string(name);
  };
  const std::uint32_t low = status & 0x7f, high = (status >> 8) & 0xff;
  if (status == 0xffff) return "[continued]";
  if ((status & 0xff) == 0x7f) return fmt::format("[stopped by {}]", signal_name(high));
  if (low == 0) return fmt::format("[exit {}]", high);
  return fmt::format("[killed by {}{}]", signal_name(low),
                     (status & 0x80) != 0 ? ", core dumped" : "");
}

using Place = StructureField::Place;

/// A character array, up to its first NUL.
std::string show_array(const StructureField& field, std::span<const std::byte> bytes) {
  if (field.type.kind == TypeKind::utf16) {
    std::size_t size = 0;
    while (size + 1 < bytes.size() && load(bytes.subspan(size, 2)) != 0) size += 2;
    return quote(utf8_of_utf16(bytes.first(size)));
  }
  const std::string_view array{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return quote(array.substr(0, array.find('\0')));
}

/// One field; `bytes` begin at it and may reach further. `context` is that of its structure.
std::string show_field(const Vocabulary& vocabulary, const StructureField& field,
                       std::span<const std::byte> bytes, PointerContext context) {
  context.base += field.offset;
  if (field.place == Place::embedded) {
    const StructureLayout* part = vocabulary.find_structure(field.type.name);
    if (!part || ++context.depth > kMaxNestedDepth) return "{...}";
    return show_structures(vocabulary, *part,
                           bytes.first(std::min<std::size_t>(bytes.size(), part->size)), context);
  }
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), field.bytes));
  if (field.place == Place::array) return show_array(field, bytes);
  const std::uint64_t value = load(bytes);
  if (field.place != Place::pointer) return show_scalar(vocabulary, field.type, value).text;
  std::string text;
  if (context.pointees && value != 0) text = context.pointees->show(context.parent, context.base);
  return text.empty() ? show_address(value) : text;
}

/// One structure with named fields.
std::string show_fields(const Vocabulary& vocabulary, const StructureLayout& layout,
                        std::span<const std::byte> bytes, const PointerContext& context) {
  const bool single = is_single_value(layout);
  std::string text = single ? "" : "{";
  for (const StructureField& field : layout.fields) {
    if (field.place == Place::hidden) continue;
    if (text.size() > 1) text += ", ";
    const bool may_be_cut = field.place == Place::array || field.place == Place::embedded;
    if (field.offset + std::size_t{may_be_cut ? 1 : field.bytes} > bytes.size())
      return text + (single ? "..." : "...}");
    if (!single) text += field.name + "=";
    text += show_field(vocabulary, field, bytes.subspan(field.offset), context);
  }
  return single ? text : text + "}";
}

bool is_plain_value(const StructureLayout& layout) {
  return layout.fields.size() == 1 && layout.fields[0].name.empty();
}

}  // namespace

bool is_single_value(const StructureLayout& layout) {
  const auto hidden = std::ranges::count(layout.fields, Place::hidden, &StructureField::place);
  return hidden > 0 && std::ssize(layout.fields) - hidden == 1;
}

std::optional<SocketAddress> parse_socket_address(std::span<const std::byte> bytes,
                                                  SocketPlatform platform) {
  constexpr std::uint16_t kWindowsInet6 = 23;  // ws2def.h
  if (bytes.size() < 2) return std::nullopt;
  SocketAddress address;
  address.family = static_cast<std::uint16_t>(load(bytes.first(2)));
  if (platform == SocketPlatform::windows && address.family == kWindowsInet6)
    address.family = AF_INET6;
  if (address.family == AF_INET) {
    if (bytes.size() < 8) return std::nullopt;
    address.port = load_port(bytes.subspan(2));
    address.ip = ip_text(AF_INET, bytes.subspan(4, 4));
  } else if (address.family == AF_INET6) {
    if (bytes.size() < 24) return std::nullopt;
    address.port = load_port(bytes.subspan(2));
    address.ip = ip_text(AF_INET6, bytes.subspan(8, 16));
  } else if (address.family == AF_UNIX) {
    constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path);
    const std::span<const std::byte> rest =
        bytes.subspan(2).first(std::min(bytes.size() - 2, kMaxPath));
    address.path.assign(reinterpret_cast<const char*>(rest.data()), rest.size());
    address.is_abstract = address.path.size() > 1 && address.path[0] == '\0';
    if (address.is_abstract) address.path.erase(0, 1);
    address.path.resize(std::min(address.path.find('\0'), address.path.size()));
  }
  return address;
}

std::string to_text(const Vocabulary& vocabulary, const SocketAddress& address) {
  if (address.family == AF_INET) return fmt::format("{}:{}", address.ip, address.port);
  if (address.family == AF_INET6) return fmt::format("[{}]:{}", address.ip, address.port);
  if (address.family == AF_UNIX)
    return fmt::format("unix:{}{}", address.is_abstract ? "@" : "", to_printable(address.path));
  const ValueSet* families = vocabulary.find_set("address_family");
  const std::string_view name = families ? enumerator(*families, address.family) : "";
  return name.empty() ? fmt::format("family {}", address.family) : std::string(name);
}

void add_builtin_structures(Vocabulary& vocabulary) {
  const auto add = [&](std::string_view name, std::uint32_t size) {
    vocabulary.structures.emplace(
        name, StructureLayout{.name = std::string(name), .size = size, .fields = {}});
  };
  add(kSocketAddress, sizeof(sockaddr_storage));
  add(kWaitStatus, sizeof(std::uint32_t));
  add(kWindowsSocketAddress, sizeof(sockaddr_storage));
  add(kGuid, kGuidBytes);
  add(kSid, kMaxSidBytes);
}

bool is_counted_in_bytes(std::string_view structure) {
  return structure == kSocketAddress || structure == kWindowsSocketAddress;
}

namespace {

/// Structures that are shown by code (add_builtin_structures); empty for others.
std::string show_builtin(const Vocabulary& vocabulary, const StructureLayout& layout,
                         std::span<const std::byte> bytes) {
  const bool on_windows = layout.name == kWindowsSocketAddress;
  std::string text;
  if (layout.name == kSocketAddress || on_windows) {
    const std::optional<SocketAddress> address =
        parse_socket_address(bytes, on_windows ? SocketPlatform::windows : SocketPlatform::linux);
    if (address) text = to_text(vocabulary, *address);
  } else if (layout.name == kWaitStatus) {
    return bytes.size() < 4 ? "[...]"
                            : show_wait_status(vocabulary, static_cast<std::uint32_t>(load(bytes)));
  } else if (layout.name == kGuid) {
    text = guid_text(bytes);
  } else if (layout.name == kSid) {
    text = sid_text(bytes);
  } else {
    return {};
  }
  return text.empty() ? "{...}" : text;
}

}  // namespace

std::string show_structures(const Vocabulary& vocabulary, const StructureLayout& layout,
                            std::span<const std::byte> bytes, PointerContext context) {
  if (std::string text = show_builtin(vocabulary, layout, bytes); !text.empty()) return text;
  const bool plain = is_plain_value(layout);
  if (!plain && bytes.size() <= layout.size) return show_fields(vocabulary, layout, bytes, context);

  std::string text = "[";
  for (std::size_t i = 0; !bytes.empty(); ++i) {
    if (text.size() > 1) text += ", ";
    if (i == kMaxShownElements || (plain && bytes.size() < layout.size)) {
      text += "...";
      break;
    }
    const std::size_t size = std::min<std::size_t>(layout.size, bytes.size());
    text += plain ? show_field(vocabulary, layout.fields[0], bytes.first(size), context)
                  : show_fields(vocabulary, layout, bytes.first(size), context);
    bytes = bytes.subspan(size);
    context.pointees = nullptr;  // only the first element's were followed
  }
  return text + "]";
}

}  // namespace glasshook::api
