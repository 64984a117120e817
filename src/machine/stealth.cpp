#include "machine/stealth.h"

#include <fmt/format.h>

#include <algorithm>

#include "machine/vm.h"

namespace glasshook::machine {
namespace {

/// Processors of the time whose features TCG has: family 6, model 15, stepping 11, with the
/// 4 MiB of second-level cache that QEMU shows.
struct Processor {
  std::uint32_t cores;
  const char* name;
};
constexpr std::array kProcessors{Processor{2, "Intel(R) Core(TM)2 Duo CPU     E6750  @ 2.66GHz"},
                                 Processor{4, "Intel(R) Core(TM)2 Quad CPU    Q6700  @ 2.66GHz"}};
constexpr std::uint64_t kMinMemoryMib = 1024;
constexpr std::uint64_t kMaxMemoryMib = 8192;

constexpr auto kMaker = "Dell Inc.";
constexpr auto kDiskModel = "WDC WD800JD-75MSA3";
constexpr auto kDiskFirmware = "10.01E04";
constexpr auto kDeliveryModel = "1GB SATA Flash Drive";
constexpr auto kDeliveryFirmware = "SFDK003A";
constexpr auto kNetworkVendor = "00:1b:21";  // Intel

/// Ports and interrupts of COM2 to COM4, none of them shared.
struct SerialPort {
  unsigned base, interrupt;
};
constexpr std::array<SerialPort, kPorts> kSerialPorts{{{0x2f8, 3}, {0x3e8, 5}, {0x2e8, 7}}};

const Processor& processor(std::uint32_t cores) {
  const auto at = std::ranges::find(kProcessors, cores, &Processor::cores);
  return at == kProcessors.end() ? kProcessors.front() : *at;
}

/// splitmix64, for numbers that only have to look like any.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::string text(std::string_view alphabet, std::size_t length) {
    std::string out;
    while (out.size() < length) out += alphabet[next() % alphabet.size()];
    return out;
  }

 private:
  std::uint64_t state_;
};

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kTag = "123456789BCDFGHJKLMNPQRSTVWXYZ";

}  // namespace

SerialNumbers serial_numbers(std::uint64_t seed) {
  Numbers numbers(seed);
  SerialNumbers serial;
  serial.service_tag = numbers.text(kTag, 6) + "J";
  serial.board = "..CN" + numbers.text(kDigits, 7) + numbers.text(kTag, 4) + ".";
  serial.disk = "WD-WMAM9" + numbers.text(kTag, 7);
  serial.memory = numbers.text("0123456789ABCDEF", 8);
  // Dell's: its name, then the service tag.
  std::string tag;
  for (const char c : serial.service_tag) tag += fmt::format("{:02x}", static_cast<unsigned>(c));
  serial.uuid = fmt::format("44454c4c-{}-10{}-80{}-{}c04f{}", tag.substr(2, 4), tag.substr(6, 2),
                            tag.substr(8, 2), tag.substr(0, 2), tag.substr(10, 4) + "4a");
  serial.mac = kNetworkVendor;
  for (int i = 0; i < 3; ++i) serial.mac += ":" + numbers.text(kHex, 2);
  return serial;
}

Result<> check_stealth(std::uint32_t smp, std::uint64_t memory_mib) {
  if (std::ranges::find(kProcessors, smp, &Processor::cores) == kProcessors.end())
    return with_remedy(fail(ErrorCode::invalid_argument,
                            "--stealth shows a PC, whose processor has 2 or 4 cores, not {}", smp),
                       "--smp 2");
  if (memory_mib < kMinMemoryMib || memory_mib > kMaxMemoryMib || memory_mib % 1024 != 0)
    return with_remedy(
        fail(ErrorCode::invalid_argument,
             "--stealth shows a PC, whose memory is a number of GiB from {} to {}, not {} MiB",
             kMinMemoryMib / 1024, kMaxMemoryMib / 1024, memory_mib),
        fmt::format("--memory {}G", kStealthMemoryMib / 1024));
  return {};
}

std::string stealth_cpu(const MachineConfig& config) {
  // hypervisor: the bit of leaf 1; tcg-cpuid: leaf 0x40000000; l3-cache: such a processor has none.
  return fmt::format(
      "Conroe,stepping=11,phys-bits=36,+cx16,-hypervisor,tcg-cpuid=off,l3-cache=off,model-id={}",
      processor(config.smp).name);
}

std::string stealth_smp(const MachineConfig& config) {
  return fmt::format("{0},sockets=1,cores={0},threads=1", config.smp);
}

std::string stealth_board() {
  // vmport: VMware's back door, which QEMU's PCs have too.
  return "q35,memory-backend=ram,vmport=off,x-oem-id=DELL,x-oem-table-id=B10K";
}

std::vector<std::string> stealth_parts(const MachineConfig& config, const SerialNumbers& numbers) {
  const auto& n = numbers;
  return {
      "-smbios",
      fmt::format("type=0,vendor={},version=A22,date=06/11/2012,release=0.0", kMaker),
      "-smbios",
      fmt::format("type=1,manufacturer={},product=OptiPlex 755,serial={},uuid={}", kMaker,
                  n.service_tag, n.uuid),
      "-smbios",
      fmt::format("type=2,manufacturer={},product=0PU052,serial={}", kMaker, n.board),
      "-smbios",
      fmt::format("type=3,manufacturer={},serial={}", kMaker, n.service_tag),
      "-smbios",
      fmt::format("type=4,sock_pfx=CPU,manufacturer=Intel,version={},max-speed=5200,"
                  "current-speed=2666",
                  processor(config.smp).name),
      "-smbios",
      fmt::format("type=17,loc_pfx=DIMM_,bank=BANK,manufacturer=Samsung,serial={},"
                  "part=M3 78T5663EH3-CF7,speed=800",
                  n.memory),
      // A card with nobody at the other end. No boot ROM: its text names who made it.
      "-netdev",
      "hubport,id=lan,hubid=0",
      "-device",
      fmt::format("e1000e,netdev=lan,mac={},subsys_ven=0x8086,subsys=0xa01f,rombar=0", n.mac),
  };
}

std::string stealth_disk(std::string_view drive, std::size_t index, const SerialNumbers& numbers) {
  std::string serial = numbers.disk;
  serial.back() = static_cast<char>('1' + index);
  return fmt::format("ide-hd,drive={},bus=ide.{},model={},serial={},ver={}", drive, index,
                     kDiskModel, serial, kDiskFirmware);
}

std::string stealth_delivery(std::string_view drive, std::size_t index,
                             const SerialNumbers& numbers) {
  return fmt::format("ide-hd,drive={},bus=ide.{},model={},serial={},ver={},rotation_rate=1", drive,
                     index, kDeliveryModel, "000" + numbers.memory, kDeliveryFirmware);
}

std::string stealth_port(std::string_view name, std::size_t index) {
  const SerialPort& port = kSerialPorts.at(index);
  return fmt::format("isa-serial,chardev={},iobase={:#x},irq={}", name, port.base, port.interrupt);
}

}  // namespace glasshook::machine
