#include "guest/elf/eh_frame.h"

#include <array>

#include "guest/elf/limits.h"

namespace glasshook::elf {
namespace {

// Pointer encodings (DW_EH_PE_*): the low half is the format, the high half what it is relative to.
constexpr std::uint8_t kAbsolutePointer = 0x00, kUnsigned4 = 0x03, kUnsigned8 = 0x04,
                       kSigned4 = 0x0b, kSigned8 = 0x0c;
constexpr std::uint8_t kRelativeToPlace = 0x10, kRelativeToHeader = 0x30;
constexpr std::uint8_t kFormatMask = 0x0f, kApplicationMask = 0x70, kIndirect = 0x80;

/// Reads forward through the image; a failed read sticks.
class Cursor {
 public:
  Cursor(const Image& image, std::uint64_t address) : image_(image), address_(address) {}

  template <class T>
  T read() {
    const auto value = image_.read_value<T>(address_);
    ok_ &= value.has_value();
    address_ += sizeof(T);
    return value.value_or(T{});
  }
  /// Seven bits a byte; at most ten bytes.
  std::uint64_t read_uleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && ok_; shift += 7) {
      const auto byte = read<std::uint8_t>();
      if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  /// A value in the format of an encoding; false when the format is not one of those above.
  bool read_format(std::uint8_t encoding, std::uint64_t& out) {
    switch (encoding & kFormatMask) {
      case kUnsigned4:
        out = read<std::uint32_t>();
        return ok_;
      case kSigned4:
        out = static_cast<std::uint64_t>(std::int64_t{read<std::int32_t>()});
        return ok_;
      case kAbsolutePointer:
      case kUnsigned8:
      case kSigned8:
        out = read<std::uint64_t>();
        return ok_;
      default:
        return false;
    }
  }
  bool read_pointer(std::uint8_t encoding, std::uint64_t& out) {
    const std::uint64_t place = address_;
    if ((encoding & kIndirect) != 0 || !read_format(encoding, out)) return false;
    const std::uint8_t application = encoding & kApplicationMask;
    if (application == kRelativeToPlace) out += place;
    return application == kRelativeToPlace || application == 0;
  }
  void skip(std::uint64_t bytes) { address_ += bytes; }
  [[nodiscard]] std::uint64_t address() const { return address_; }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  const Image& image_;
  std::uint64_t address_;
  bool ok_ = true;
};

/// How the FDEs of a CIE write addresses, or empty when the CIE makes no sense.
std::optional<std::uint8_t> pointer_encoding(const Image& image, std::uint64_t cie) {
  Cursor cursor(image, cie);
  const auto length = cursor.read<std::uint32_t>();
  const auto id = cursor.read<std::uint32_t>();
  const auto version = cursor.read<std::uint8_t>();
  if (!cursor.ok() || length == 0 || id != 0 || (version != 1 && version != 3)) return std::nullopt;

  std::array<char, 8> augmentation{};
  std::size_t size = 0;
  while (const char c = static_cast<char>(cursor.read<std::uint8_t>())) {
    if (size == augmentation.size()) return std::nullopt;
    augmentation[size++] = c;
  }
  if (size == 0) return cursor.ok() ? std::optional{kAbsolutePointer} : std::nullopt;
  if (augmentation[0] != 'z') return std::nullopt;
  cursor.read_uleb();  // code alignment
  cursor.read_uleb();  // data alignment: signed, but of the same length
  version == 1 ? cursor.skip(1) : static_cast<void>(cursor.read_uleb());  // return address column
  cursor.read_uleb();                                                     // augmentation length
  for (std::size_t i = 1; i < size && cursor.ok(); ++i) {
    std::uint64_t ignored = 0;
    switch (augmentation[i]) {
      case 'R': {
        const auto encoding = cursor.read<std::uint8_t>();
        return cursor.ok() ? std::optional{encoding} : std::nullopt;
      }
      case 'P':
        if (!cursor.read_format(cursor.read<std::uint8_t>(), ignored)) return std::nullopt;
        break;
      case 'L':
        cursor.skip(1);
        break;
      case 'S':
      case 'B':
        break;
      default:
        return std::nullopt;
    }
  }
  return cursor.ok() ? std::optional{kAbsolutePointer} : std::nullopt;
}

/// The addresses an FDE speaks of.
std::optional<Extent> description_extent(const Image& image, std::uint64_t fde) {
  Cursor cursor(image, fde);
  const auto length = cursor.read<std::uint32_t>();
  const std::uint64_t id_place = cursor.address();
  const auto cie_distance = cursor.read<std::uint32_t>();
  // An FDE names its CIE by the distance back to it; 0 would be a CIE, ~0 has a 64-bit length.
  if (!cursor.ok() || length == 0 || length == 0xffffffff || cie_distance == 0) return std::nullopt;
  const auto encoding = pointer_encoding(image, id_place - cie_distance);
  Extent extent;
  std::uint64_t size = 0;
  if (!encoding || !cursor.read_pointer(*encoding, extent.begin) ||
      !cursor.read_format(*encoding, size))
    return std::nullopt;
  if (__builtin_add_overflow(extent.begin, size, &extent.end) || size == 0) return std::nullopt;
  return extent;
}

}  // namespace

std::optional<UnwindTable> UnwindTable::open(const Image& image, std::uint64_t address) {
  Cursor cursor(image, address);
  const auto version = cursor.read<std::uint8_t>();
  const auto frame_encoding = cursor.read<std::uint8_t>();
  const auto count_encoding = cursor.read<std::uint8_t>();
  const auto table_encoding = cursor.read<std::uint8_t>();
  UnwindTable table;
  std::uint64_t ignored = 0;
  if (!cursor.ok() || version != 1 || table_encoding != (kRelativeToHeader | kSigned4) ||
      !cursor.read_format(frame_encoding, ignored) ||
      !cursor.read_format(count_encoding, table.count_) || table.count_ > kMaxUnwindEntries)
    return std::nullopt;
  table.header_ = address;
  table.table_ = cursor.address();
  return table;
}

std::optional<UnwindTable::Entry> UnwindTable::entry(const Image& image,
                                                     std::uint64_t index) const {
  struct Stored {
    std::int32_t function, description;
  };
  const auto stored = image.read_value<Stored>(table_ + index * sizeof(Stored));
  if (!stored) return std::nullopt;
  return Entry{header_ + static_cast<std::uint64_t>(std::int64_t{stored->function}),
               header_ + static_cast<std::uint64_t>(std::int64_t{stored->description})};
}

std::optional<Extent> UnwindTable::function(const Image& image, std::uint64_t index) const {
  const auto found = index < count_ ? entry(image, index) : std::nullopt;
  return found ? description_extent(image, found->description) : std::nullopt;
}

std::optional<Extent> UnwindTable::function_at(const Image& image, std::uint64_t address) const {
  std::uint64_t low = 0, high = count_;  // entries before `low` begin at or before the address
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto probed = entry(image, middle);
    if (!probed) return std::nullopt;
    if (probed->function <= address)
      low = middle + 1;
    else
      high = middle;
  }
  const std::optional<Extent> extent = low > 0 ? function(image, low - 1) : std::nullopt;
  return extent && extent->contains(address) ? extent : std::nullopt;
}

}  // namespace glasshook::elf
