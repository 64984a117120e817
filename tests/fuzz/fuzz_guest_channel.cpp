// What a guest (or a QEMU it took over) may say on the ports and the control socket.
#include <sys/socket.h>

#include <array>
#include <string_view>

#include "machine/qmp.h"
#include "machine/shell.h"

using namespace glasshook::machine;  // NOLINT

using glasshook::UniqueFd;

namespace {

/// A stream that says `text`, then ends.
UniqueFd saying(std::string_view text) {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  const UniqueFd peer(ends[1]);
  (void)!::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return UniqueFd(ends[0]);
}

void speak_qmp(std::string_view text) {
  constexpr std::string_view kOpening = "{\"QMP\":{}}\n{\"return\":{},\"id\":1}\n";
  auto client = QmpClient::adopt(saying(std::string(kOpening).append(text)), Clock::now());
  if (!client) return;
  (void)(*client)->execute("query-status", "", Clock::now());
  while (true) {
    const auto event = (*client)->next_event(Clock::now());
    if (!event || !*event) break;
    (void)(*event)->text("reason");
  }
}

void speak_shell(std::string_view text) {
  const std::size_t third = text.size() / 3;
  std::array<UniqueFd, kPorts> ports{saying(text.substr(0, third)),
                                     saying(text.substr(third, third)),
                                     saying(text.substr(2 * third))};
  GuestShell shell(std::move(ports), -1, std::chrono::seconds(0));
  for (int i = 0; i < 4; ++i)
    if (!shell.pump([](Stream, std::string_view) {}, std::chrono::milliseconds(0))) break;
  (void)shell.run_line("true", Clock::now());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.empty()) return 0;
  if (text[0] & 1)
    speak_qmp(text.substr(1));
  else
    speak_shell(text.substr(1));
  return 0;
}
