// The reading side of a ring whose producer writes anything anywhere. Input: a list of steps.
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "capture/merger.h"
#include "capture/ring_memory.h"

using namespace glasshook::capture;  // NOLINT

namespace {

/// Takes numbers off the front of the input; zeros when it is used up.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  template <class T>
  T take() {
    T value{};
    const std::size_t size = std::min(sizeof value, bytes_.size());
    std::memcpy(&value, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static RingMemory memory[2];
  std::vector<RingProducer> producers;
  std::vector<RingConsumer> consumers;
  for (RingMemory& m : memory) {
    producers.push_back(RingProducer::create(m.bytes(), nullptr).value());
    consumers.push_back(RingConsumer::attach(m.bytes()).value());
  }
  std::uint64_t now = 1000;
  RingMerger merger(std::move(consumers), [&now] { return now; }, 100);
  std::size_t seen = 0;
  const auto sink = [&](const RecordView& record) {
    for (const FieldView& field : record.fields()) seen += field.word(0);
  };
  for (Input input({data, size}); !input.empty();) {
    RingMemory& m = memory[input.take<std::uint8_t>() % 2];
    switch (input.take<std::uint8_t>() % 8) {
      case 0:
        m.header().head = input.take<std::uint64_t>();
        break;
      case 1:
        m.header().head += input.take<std::uint16_t>();
        break;
      case 2:
        m.header().tail = input.take<std::uint64_t>();
        break;
      case 3:
        m.header().in_flight = input.take<std::uint64_t>();
        break;
      case 4: {
        const auto at = input.take<std::uint16_t>();
        m.data()[at] = static_cast<std::byte>(input.take<std::uint8_t>());
        break;
      }
      case 5: {
        auto record = make_record(input.take<std::uint16_t>(), input.take<std::uint8_t>() * 8);
        producers[&m - memory].push(record);
        break;
      }
      case 6:
        now += input.take<std::uint16_t>();
        break;
      default:
        merger.drain(sink, 1000);
    }
  }
  merger.drain(sink, 1000);
  (void)RingConsumer::attach(memory[0].bytes());
  return 0;
}
