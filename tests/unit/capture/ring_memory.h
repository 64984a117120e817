// Rings in ordinary memory, and records to put into them.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "capture/program.h"
#include "capture/ring.h"

namespace glasshook::capture {

/// Memory of a ring, aligned as a mapping would be.
class RingMemory {
 public:
  explicit RingMemory(std::size_t data_size = kMinRingData)
      : size_(ring_bytes(data_size)), bytes_(new(std::align_val_t{64}) std::byte[size_]{}) {}

  [[nodiscard]] std::span<std::byte> bytes() { return {bytes_.get(), size_}; }
  [[nodiscard]] RingHeader& header() { return *reinterpret_cast<RingHeader*>(bytes_.get()); }
  [[nodiscard]] std::byte* data() { return bytes_.get() + sizeof(RingHeader); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte[], Free> bytes_;
};

/// A well-formed record of `payload` bytes of data (a multiple of 8) that all have one value.
inline std::vector<std::byte> make_record(std::uint64_t timestamp, std::uint16_t payload = 8,
                                          std::byte fill = std::byte{0x55}) {
  std::vector<std::byte> bytes(sizeof(RecordHeader) + sizeof(FieldHeader) + payload, fill);
  const RecordHeader header{.size = static_cast<std::uint32_t>(bytes.size()),
                            .timestamp = timestamp};
  const FieldHeader field{.id = 1, .kind = FieldKind::bytes, .length = payload};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &field, sizeof field);
  return bytes;
}

/// Announces, pushes and ends a record taken at `timestamp`.
inline bool push_at(RingProducer& producer, std::uint64_t timestamp, std::uint16_t payload = 8) {
  auto record = make_record(producer.begin([&] { return timestamp; }), payload);
  const bool pushed = producer.push(record);
  producer.end();
  return pushed;
}

}  // namespace glasshook::capture
