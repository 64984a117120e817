#include "behaviour/network/dns_question.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace glasshook::behaviour {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxLabelBytes = 63;

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::uint16_t word_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

/// Takes the name off the front of `rest`.
std::optional<std::string> take_name(std::string_view& rest) {
  std::string name;
  for (std::size_t used = 0; !rest.empty();) {
    const std::size_t length = byte_at(rest, 0);
    rest.remove_prefix(1);
    if (length == 0) return name.empty() ? "." : name;
    used += 1 + length;
    // Longer "lengths" are compression pointers, which a question has nothing to point to.
    if (length > kMaxLabelBytes || used >= kMaxNameBytes || length > rest.size())
      return std::nullopt;
    if (!name.empty()) name += '.';
    for (const char c : rest.substr(0, length)) {
      if (c == '.' || c == '\\') name += '\\';  // a dot inside a label is not one between
      name += c;
    }
    rest.remove_prefix(length);
  }
  return std::nullopt;
}

std::string type_name(std::uint16_t type) {
  using Known = std::pair<std::uint16_t, std::string_view>;
  static constexpr auto kKnown = std::to_array<Known>(
      {{1, "A"},      {2, "NS"},     {5, "CNAME"},  {6, "SOA"},     {12, "PTR"},   {13, "HINFO"},
       {15, "MX"},    {16, "TXT"},   {28, "AAAA"},  {33, "SRV"},    {35, "NAPTR"}, {39, "DNAME"},
       {43, "DS"},    {46, "RRSIG"}, {47, "NSEC"},  {48, "DNSKEY"}, {52, "TLSA"},  {64, "SVCB"},
       {65, "HTTPS"}, {251, "IXFR"}, {252, "AXFR"}, {255, "ANY"},   {257, "CAA"}});
  for (const auto& [number, name] : kKnown)
    if (number == type) return std::string{name};
  return fmt::format("TYPE{}", type);  // RFC 3597
}

}  // namespace

std::optional<DnsQuestion> parse_dns_question(std::string_view message) {
  constexpr std::uint16_t kResponseOrOpcode = 0xf800;
  if (message.size() < kHeaderBytes) return std::nullopt;
  const std::uint16_t flags = word_at(message, 2);
  const std::uint16_t questions = word_at(message, 4);
  if ((flags & kResponseOrOpcode) != 0 || questions == 0) return std::nullopt;
  std::string_view rest = message.substr(kHeaderBytes);
  std::optional<std::string> name = take_name(rest);
  if (!name || rest.size() < 4) return std::nullopt;
  return DnsQuestion{
      .id = word_at(message, 0), .name = std::move(*name), .type = type_name(word_at(rest, 0))};
}

}  // namespace glasshook::behaviour
