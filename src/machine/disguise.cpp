#include "machine/disguise.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

#include "base/unique_fd.h"
#include "machine/stealth.h"

namespace glasshook::machine {
namespace {

using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

constexpr std::size_t kPage = 4096;
/// Where blocks of memory begin in a mapped-ram file (QEMU's docs/devel/migration/mapped-ram.rst).
constexpr std::size_t kBlockAlignment = std::size_t{1} << 20;
constexpr std::size_t kRomBegin = 0xc0000, kRomEnd = 0x100000;
/// `jmp` to itself.
constexpr std::array<std::uint8_t, 2> kLoop{0xeb, 0xfe};
constexpr std::size_t kMaxTables = 64;
constexpr std::size_t kMaxTableSize = std::size_t{1} << 20;

template <class T>
T load(ConstBytes bytes, std::size_t at) {
  T value{};
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <class T>
void store(Bytes bytes, std::size_t at, T value) {
  if (at + sizeof value <= bytes.size()) std::memcpy(bytes.data() + at, &value, sizeof value);
}

bool has(ConstBytes bytes, std::size_t at, std::string_view text) {
  return at + text.size() <= bytes.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

/// Where a text is next, from `from` on.
std::optional<std::size_t> find(ConstBytes bytes, std::string_view text, std::size_t from = 0) {
  if (from >= bytes.size()) return std::nullopt;
  const void* at = ::memmem(bytes.data() + from, bytes.size() - from, text.data(), text.size());
  if (at == nullptr) return std::nullopt;
  return static_cast<std::size_t>(static_cast<const std::uint8_t*>(at) - bytes.data());
}

void rename(Bytes bytes, std::span<const Renaming> names) {
  for (const Renaming& name : names)
    for (auto at = find(bytes, name.from); at; at = find(bytes, name.from, *at))
      std::memcpy(bytes.data() + *at, name.to.data(), name.to.size());
}

/// Where a table's anchor is, which is at a multiple of 16.
std::optional<std::size_t> find_anchor(ConstBytes rom, std::string_view text) {
  for (std::size_t at = 0; at < rom.size(); at += 16)
    if (has(rom, at, text)) return at;
  return std::nullopt;
}

/// Makes the sum of a table's bytes 0 with the byte at `at`.
void fix_checksum(Bytes table, std::size_t at) {
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : table) sum = static_cast<std::uint8_t>(sum + byte);
  table[at] = static_cast<std::uint8_t>(table[at] - sum);
}

/// The 32 bit code of a kernel image: behind the boot sector and the real mode code.
Result<ConstBytes> protected_mode_code(ConstBytes bzimage) {
  constexpr std::size_t kSetupSectors = 0x1f1, kMagic = 0x202, kSector = 512;
  if (!has(bzimage, kMagic, "HdrS"))
    return fail(ErrorCode::unsupported, "the kernel is not a bzImage");
  const std::size_t sectors = bzimage[kSetupSectors] == 0 ? 4 : bzimage[kSetupSectors];
  const std::size_t begin = (sectors + 1) * kSector;
  if (begin + kPage > bzimage.size())
    return fail(ErrorCode::unsupported, "the kernel's image is cut off");
  return bzimage.subspan(begin);
}

/// One saved machine.
class State {
 public:
  static Result<State> open(Bytes bytes, ConstBytes code) {
    for (std::size_t ram = 0; ram + kKernelEntry + kPage <= bytes.size(); ram += kBlockAlignment) {
      const Bytes entry = bytes.subspan(ram + kKernelEntry, kPage);
      if (std::memcmp(entry.data(), kLoop.data(), kLoop.size()) == 0 &&
          std::ranges::equal(entry.subspan(kLoop.size()),
                             code.subspan(kLoop.size(), kPage - kLoop.size()))) {
        std::memcpy(entry.data(), code.data(), kLoop.size());
        return State(bytes, ram);
      }
    }
    return fail(ErrorCode::protocol, "the saved state has no kernel at its entry");
  }

  Result<> rename_rom() {
    const Bytes rom = ram(kRomBegin, kRomEnd - kRomBegin);
    for (const Renaming& name : kFirmwareNames.rom)
      for (std::size_t at = 0; at + name.from.size() <= rom.size(); ++at)
        if (::strncasecmp(reinterpret_cast<const char*>(rom.data()) + at, name.from.data(),
                          name.from.size()) == 0)
          std::memcpy(rom.data() + at, name.to.data(), name.to.size());
    // The MP configuration table has a checksum.
    for (auto at = find(rom, "PCMP"); at; at = find(rom, "PCMP", *at + 4)) {
      const std::size_t size = load<std::uint16_t>(rom, *at + 4);
      if (size >= 44 && *at + size <= rom.size()) fix_checksum(rom.subspan(*at, size), 7);
    }
    return {};
  }

  /// Follows the system description tables from their root pointer.
  Result<> rename_acpi() {
    const Bytes rom = ram(kRomBegin, kRomEnd - kRomBegin);
    const auto pointer = find_anchor(rom, "RSD PTR ");
    if (!pointer) return fail(ErrorCode::protocol, "the firmware has no ACPI tables");
    const Bytes root = table_at(load<std::uint32_t>(rom, *pointer + 16));
    if (!has(root, 0, "RSDT")) return fail(ErrorCode::protocol, "the firmware has no ACPI root");
    std::size_t kept = kHeader;
    for (std::size_t at = kHeader; at + 4 <= root.size() && at < kHeader + 4 * kMaxTables;
         at += 4) {
      const auto address = load<std::uint32_t>(root, at);
      const Bytes table = table_at(address);
      if (has(table, 0, kFirmwareNames.acpi_hidden)) continue;
      if (has(table, 0, "FACP")) rename_table(table_at(load<std::uint32_t>(table, 40)));
      rename_table(table);
      store(root, kept, address);
      kept += 4;
    }
    store(root, 4, static_cast<std::uint32_t>(kept));
    rename_table(root.first(kept));
    return {};
  }

  /// The tables of SMBIOS: that this is no virtual machine, and what it stands in.
  Result<> rename_smbios() {
    const Bytes rom = ram(kRomBegin, kRomEnd - kRomBegin);
    const auto anchor = find_anchor(rom, "_SM_");
    if (!anchor) return fail(ErrorCode::protocol, "the firmware has no SMBIOS tables");
    const Bytes tables =
        ram(load<std::uint32_t>(rom, *anchor + 24), load<std::uint16_t>(rom, *anchor + 22));
    constexpr std::size_t kBiosExtension = 0x13, kChassisType = 5;
    constexpr std::uint8_t kIsVirtual = 0x10;
    bool bios = false, chassis = false;
    for (std::size_t at = 0; at + 4 <= tables.size();) {
      const std::uint8_t type = tables[at], size = tables[at + 1];
      if (size < 4 || at + size > tables.size()) break;
      if (type == 0 && size > kBiosExtension) {
        tables[at + kBiosExtension] &= static_cast<std::uint8_t>(~kIsVirtual);
        bios = true;
      } else if (type == 3 && size > kChassisType) {
        tables[at + kChassisType] = kFirmwareNames.chassis;
        chassis = true;
      }
      // Behind a structure are its texts, ended by an empty one.
      const auto end = find(tables, std::string_view("\0\0", 2), at + size);
      if (!end) break;
      at = *end + 2;
    }
    if (!bios || !chassis) return fail(ErrorCode::protocol, "the firmware's SMBIOS is incomplete");
    return {};
  }

  /// The configuration spaces of PCI devices, as QEMU saves them.
  Result<> rename_devices() {
    constexpr std::size_t kSubsystem = 0x2c;
    constexpr std::string_view kQemus("\xf4\x1a\x00\x11", 4);  // 1af4:1100
    std::size_t found = 0;
    for (auto at = find(bytes_, kQemus); at; at = find(bytes_, kQemus, *at + kQemus.size())) {
      if (*at < kSubsystem) continue;
      const Bytes space = bytes_.subspan(*at - kSubsystem);
      const auto device = std::ranges::find_if(kFirmwareNames.pci, [&](const PciSubsystem& d) {
        return load<std::uint16_t>(space, 0) == d.vendor &&
               load<std::uint16_t>(space, 2) == d.device;
      });
      if (device == kFirmwareNames.pci.end()) continue;
      store(space, kSubsystem, device->subsystem_vendor);
      store(space, kSubsystem + 2, device->subsystem);
      ++found;
    }
    if (found != kFirmwareNames.pci.size())
      return fail(ErrorCode::protocol, "the saved state has {} of {} PCI devices", found,
                  kFirmwareNames.pci.size());
    return {};
  }

 private:
  static constexpr std::size_t kHeader = 36;  // of a system description table

  State(Bytes bytes, std::size_t ram) : bytes_(bytes), ram_(ram) {}

  /// Guest memory, below where the addresses of RAM have a gap; empty when it is not in the file.
  [[nodiscard]] Bytes ram(std::size_t address, std::size_t size) const {
    if (address >= bytes_.size() || ram_ + address + size > bytes_.size()) return {};
    return bytes_.subspan(ram_ + address, size);
  }

  [[nodiscard]] Bytes table_at(std::size_t address) const {
    const std::size_t size = load<std::uint32_t>(ram(address, kHeader), 4);
    return size < kHeader || size > kMaxTableSize ? Bytes{} : ram(address, size);
  }

  static void rename_table(Bytes table) {
    if (table.size() < kHeader) return;
    std::memcpy(table.data() + 28, kFirmwareNames.acpi_creator.data(), 4);
    store(table, 32, kFirmwareNames.acpi_creator_revision);
    if (has(table, 0, "DSDT") || has(table, 0, "SSDT")) rename(table, kFirmwareNames.acpi);
    fix_checksum(table, 9);
  }

  Bytes bytes_;
  std::size_t ram_;  ///< where guest memory begins in the file
};

Result<std::vector<std::uint8_t>> read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return fail(ErrorCode::io, "cannot read {}", file.native());
  return bytes;
}

}  // namespace

Result<std::vector<std::uint8_t>> held_at_entry(const std::filesystem::path& bzimage) {
  auto image = read_all(bzimage);
  if (!image) return image;
  const auto code = protected_mode_code(*image);
  if (!code) return std::unexpected(code.error());
  std::ranges::copy(kLoop, image->end() - static_cast<std::ptrdiff_t>(code->size()));
  return image;
}

Result<> disguise(Bytes state, ConstBytes bzimage) {
  const auto code = protected_mode_code(bzimage);
  if (!code) return std::unexpected(code.error());
  auto saved = State::open(state, *code);
  if (!saved) return std::unexpected(saved.error());
  if (auto ok = saved->rename_acpi(); !ok) return ok;
  if (auto ok = saved->rename_smbios(); !ok) return ok;
  if (auto ok = saved->rename_devices(); !ok) return ok;
  return saved->rename_rom();
}

Result<> disguise_file(const std::filesystem::path& state, const std::filesystem::path& bzimage) {
  const auto kernel = read_all(bzimage);
  if (!kernel) return std::unexpected(kernel.error());
  const UniqueFd fd(::open(state.c_str(), O_RDWR | O_CLOEXEC));
  struct stat info{};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0)
    return fail(ErrorCode::io, "cannot open {}: {}", state.native(), std::strerror(errno));
  const auto size = static_cast<std::size_t>(info.st_size);
  void* map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED)
    return fail(ErrorCode::io, "cannot map {}: {}", state.native(), std::strerror(errno));
  const auto done = disguise({static_cast<std::uint8_t*>(map), size}, *kernel);
  ::munmap(map, size);
  return done;
}

}  // namespace glasshook::machine
