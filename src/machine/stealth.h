// The machine that --stealth shows: an office PC of 2007, which is what QEMU's q35 board can pass
// for, in place of one made of virtual devices.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glasshook::machine {

struct MachineConfig;
struct MachineFds;

/// What such a PC has when nobody says otherwise.
inline constexpr std::uint32_t kStealthCpus = 2;
inline constexpr std::uint64_t kStealthMemoryMib = 4096;
/// What the first disk of a built image, "disk0", claims to hold, in bytes: the 80 GB of its model.
inline constexpr std::uint64_t kStealthDiskSize = 80'026'361'856;

/// The subsystem ids of a PCI device, which QEMU gives no option for.
struct PciSubsystem {
  std::uint16_t vendor, device;
  std::uint16_t subsystem_vendor, subsystem;
};

/// Bytes that stand for others of the same number.
struct Renaming {
  std::string_view from, to;
};

/// What has to be changed in a machine whose firmware has run; see machine/disguise.h. Ids are from
/// the PCI id list: the board's devices are those of a Dell OptiPlex 755.
struct FirmwareNames {
  std::array<PciSubsystem, 4> pci;
  std::string_view acpi_creator;  ///< four characters
  std::uint32_t acpi_creator_revision;
  std::string_view acpi_hidden;  ///< signature of a table that only virtual machines have
  std::array<Renaming, 3> acpi;  ///< in the byte code of DSDT and SSDT
  std::array<Renaming, 9> rom;   ///< in what the BIOS left below 1 MiB, in any case
  std::uint8_t chassis;          ///< SMBIOS 7.4.1
};
inline constexpr FirmwareNames kFirmwareNames{
    .pci = {{{0x8086, 0x29c0, 0x1028, 0x0211},    // 82Q35 host bridge
             {0x8086, 0x2918, 0x1028, 0x0211},    // ICH9 LPC
             {0x8086, 0x2922, 0x1028, 0x0211},    // ICH9 SATA
             {0x8086, 0x2930, 0x1028, 0x0211}}},  // ICH9 SMBus
    .acpi_creator = "INTL",
    .acpi_creator_revision = 0x20050624,
    .acpi_hidden = "WAET",
    .acpi = {{{"QEMU0002", "DELLABCE"},
              {"CPU Hotplug resources", "Motherboard resources"},
              {"PCI Hotplug resources", "Motherboard resources"}}},
    .rom = {{{"SeaBIOS", "Phoenix"},
             {"Bochs", "Dell "},
             {"QEMU", "Dell"},
             {"BXPC", "INTL"},
             {"virtio", "floppy"},
             {"pvpanic", "monitor"},
             {"fw_cfg", "config"},
             {"KVMKVMKVM", "         "},
             {"Linux loader", "Intel Boot A"}}},
    .chassis = 6,  // mini tower
};

/// Numbers that differ from one PC to the next, made from `seed`.
struct SerialNumbers {
  std::string service_tag;  ///< Dell's seven characters
  std::string board, disk, memory, uuid, mac;
};
[[nodiscard]] SerialNumbers serial_numbers(std::uint64_t seed);

/// Fails when there is no such PC with that many processors or that much memory.
[[nodiscard]] Result<> check_stealth(std::uint32_t smp, std::uint64_t memory_mib);

/// The values of QEMU's options -cpu, -smp and -machine.
[[nodiscard]] std::string stealth_cpu(const MachineConfig& config);
[[nodiscard]] std::string stealth_smp(const MachineConfig& config);
[[nodiscard]] std::string stealth_board();
/// Firmware tables, network card: options with their values.
[[nodiscard]] std::vector<std::string> stealth_parts(const MachineConfig& config,
                                                     const SerialNumbers& numbers);
/// The value of -device for the disk `drive`, the `index`th of the machine.
[[nodiscard]] std::string stealth_disk(std::string_view drive, std::size_t index,
                                       const SerialNumbers& numbers);
/// The same for the disk with what is delivered to the guest.
[[nodiscard]] std::string stealth_delivery(std::string_view drive, std::size_t index,
                                           const SerialNumbers& numbers);
/// The same for the serial port with the character device `name`, the `index`th besides the
/// console's.
[[nodiscard]] std::string stealth_port(std::string_view name, std::size_t index);

}  // namespace glasshook::machine
