#include "machine/stealth.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <regex>

#include "machine/vm.h"
#include "scratch.h"

namespace glasshook::machine {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

MachineConfig pc() {
  MachineConfig config;
  config.kernel = "/images/vmlinuz";
  config.disks = {{"/images/disk.raw", "raw"}};
  config.smp = 2;
  config.memory_mib = 4096;
  config.stealth = true;
  return config;
}

std::vector<std::string> arguments(const MachineConfig& config) {
  return qemu_arguments(config, {.qmp = 7, .delivery = 8, .ports = {9, 10, 11}}, false);
}

/// The values of an option, in their order.
std::vector<std::string> values_of(const std::vector<std::string>& args, std::string_view option) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i + 1 < args.size(); ++i)
    if (args[i] == option) values.push_back(args[i + 1]);
  return values;
}

TEST(Stealth, HasNoVirtualDevice) {
  const auto devices = values_of(arguments(pc()), "-device");
  EXPECT_EQ(devices.size(), 6u);  // card, two disks, three ports
  EXPECT_THAT(devices, Each(AllOf(Not(HasSubstr("virt")), Not(HasSubstr("pvpanic")))));
  MachineConfig plain = pc();
  plain.stealth = false;
  EXPECT_THAT(values_of(arguments(plain), "-device"), Contains(HasSubstr("virtio")));
}

TEST(Stealth, HidesTheHypervisorFromCpuid) {
  const auto cpu = values_of(arguments(pc()), "-cpu").at(0);
  EXPECT_THAT(cpu, HasSubstr(",-hypervisor,"));
  EXPECT_THAT(cpu, HasSubstr(",tcg-cpuid=off,"));
  EXPECT_THAT(cpu, HasSubstr("Core(TM)2 Duo"));
  EXPECT_EQ(values_of(arguments(pc()), "-smp").at(0), "2,sockets=1,cores=2,threads=1");
  MachineConfig four = pc();
  four.smp = 4;
  EXPECT_THAT(values_of(arguments(four), "-cpu").at(0), HasSubstr("Core(TM)2 Quad"));
}

TEST(Stealth, NamesFirmwareBoardAndDisks) {
  const auto args = arguments(pc());
  const auto board = values_of(args, "-machine").at(0);
  EXPECT_THAT(board, AllOf(HasSubstr("memory-backend=ram"), HasSubstr("vmport=off"),
                           HasSubstr("x-oem-id=DELL")));
  const auto tables = values_of(args, "-smbios");
  for (const char* type : {"type=0,", "type=1,", "type=2,", "type=3,", "type=4,", "type=17,"})
    EXPECT_THAT(tables, Contains(HasSubstr(type)));
  const auto devices = values_of(args, "-device");
  EXPECT_THAT(devices, Contains(AllOf(HasSubstr("ide-hd,drive=disk0,bus=ide.0,model=WDC"),
                                      HasSubstr("serial=WD-"))));
  EXPECT_THAT(devices, Contains(HasSubstr("ide-hd,drive=delivery,bus=ide.1,model=")));
  EXPECT_THAT(devices, Contains("isa-serial,chardev=control,iobase=0x2f8,irq=3"));
  EXPECT_THAT(devices, Contains("isa-serial,chardev=stderr,iobase=0x2e8,irq=7"));
}

TEST(Stealth, KeepsWhatHoldsForEveryMachine) {
  const auto args = arguments(pc());
  EXPECT_THAT(values_of(args, "-sandbox").at(0), HasSubstr("spawn=deny"));
  EXPECT_THAT(values_of(args, "-drive"), Contains(HasSubstr("snapshot=on,cache=unsafe")));
  EXPECT_THAT(values_of(args, "-netdev"), Each(HasSubstr("hubport")));  // leads nowhere
  EXPECT_EQ(values_of(args, "-nic").at(0), "none");
}

TEST(Stealth, SnapshotsOfAProfileAreItsOwn) {
  const Scratch scratch;
  MachineConfig config = pc();
  config.qemu = scratch.write("qemu", "#!/bin/sh\n", 0755);
  const auto stealth = snapshot_identity(config);
  EXPECT_EQ(snapshot_identity(config).value_or(""), stealth.value_or("-"));
  config.stealth = false;
  EXPECT_NE(snapshot_identity(config).value_or("-"), stealth.value_or("-"));
}

TEST(Stealth, SerialNumbersAreStableAndDiffer) {
  const SerialNumbers one = serial_numbers(1), again = serial_numbers(1), other = serial_numbers(2);
  EXPECT_EQ(one.uuid, again.uuid);
  EXPECT_NE(one.service_tag, other.service_tag);
  EXPECT_NE(one.mac, other.mac);
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const SerialNumbers n = serial_numbers(seed);
    EXPECT_EQ(n.service_tag.size(), 7u);
    EXPECT_THAT(n.mac, MatchesRegex("00:1b:21:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]"));
    EXPECT_TRUE(std::regex_match(
        n.uuid, std::regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")))
        << n.uuid;
    for (const std::string& text : {n.board, n.disk, n.memory, n.service_tag})
      EXPECT_EQ(text.find(','), std::string::npos) << text;
  }
}

TEST(Stealth, RefusesWhatNoSuchPcHas) {
  EXPECT_TRUE(check_stealth(kStealthCpus, kStealthMemoryMib));
  EXPECT_TRUE(check_stealth(4, 8192));
  for (const auto& [smp, mib] :
       {std::pair{1u, 4096u}, {3u, 4096u}, {8u, 4096u}, {2u, 512u}, {2u, 1500u}, {2u, 16384u}}) {
    const auto checked = check_stealth(smp, mib);
    ASSERT_FALSE(checked) << smp << " " << mib;
    EXPECT_FALSE(checked.error().remedy.empty());
  }
}

TEST(Stealth, RenamingsKeepTheLength) {
  for (const Renaming& name : kFirmwareNames.acpi) EXPECT_EQ(name.from.size(), name.to.size());
  for (const Renaming& name : kFirmwareNames.rom) EXPECT_EQ(name.from.size(), name.to.size());
  EXPECT_EQ(kFirmwareNames.acpi_creator.size(), 4u);
  EXPECT_EQ(kFirmwareNames.acpi_hidden.size(), 4u);
}

}  // namespace
}  // namespace glasshook::machine
