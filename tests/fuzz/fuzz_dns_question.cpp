// DNS questions and socket addresses of any bytes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "behaviour/network/dns_question.h"
#include "behaviour/network/endpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view data(reinterpret_cast<const char*>(bytes), size);
  // 255 bytes of labels, each of them escaped.
  if (const auto question = glasshook::behaviour::parse_dns_question(data))
    if (question->name.empty() || question->name.size() > 510) std::abort();
  const glasshook::behaviour::Endpoint end = glasshook::behaviour::parse_sockaddr(data);
  if (end.ip.size() > 45 || end.path.size() > size) std::abort();
  return 0;
}
