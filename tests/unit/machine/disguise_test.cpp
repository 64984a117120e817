#include "machine/disguise.h"

#include <gmock/gmock.h>

#include <cstring>
#include <numeric>
#include <random>

#include "machine/stealth.h"
#include "scratch.h"

namespace glasshook::machine {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kRam = std::size_t{1} << 20;  // where it begins in the state
constexpr std::size_t kTables = 0x200000;           // where the firmware put its tables

template <class T>
void put(Bytes& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

void put(Bytes& bytes, std::size_t at, std::string_view text) {
  std::memcpy(bytes.data() + at, text.data(), text.size());
}

std::string text(const Bytes& bytes, std::size_t at, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, size};
}

std::uint8_t sum(const Bytes& bytes, std::size_t at, std::size_t size) {
  return std::accumulate(
      bytes.begin() + static_cast<std::ptrdiff_t>(at),
      bytes.begin() + static_cast<std::ptrdiff_t>(at + size), std::uint8_t{0},
      [](std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>(a + b); });
}

/// A kernel image with two sectors of setup.
Bytes kernel() {
  Bytes image(3 * 512 + 8192, 0x90);
  image[0x1f1] = 2;
  put(image, 0x202, std::string_view("HdrS"));
  for (std::size_t i = 0; i < 4096; ++i) image[3 * 512 + i] = static_cast<std::uint8_t>(i * 7);
  return image;
}

void put_table(Bytes& state, std::size_t address, std::string_view signature, std::uint32_t size) {
  put(state, kRam + address, signature);
  put(state, kRam + address + 4, size);
  put(state, kRam + address + 28, std::string_view("BXPC"));
}

/// A machine as QEMU would save it, as far as that matters.
Bytes saved() {
  Bytes state(kRam + 0x300000 + 4096, 0);
  const Bytes image = kernel();
  std::copy(image.begin() + 3 * 512, image.begin() + 3 * 512 + 4096,
            state.begin() + static_cast<std::ptrdiff_t>(kRam + kKernelEntry));
  put(state, kRam + kKernelEntry, std::uint16_t{0xfeeb});
  // ACPI
  put(state, kRam + 0xf1000, std::string_view("RSD PTR "));
  put(state, kRam + 0xf1010, std::uint32_t{kTables});
  put_table(state, kTables, "RSDT", 36 + 3 * 4);
  put(state, kRam + kTables + 36, std::uint32_t{kTables + 0x100});
  put(state, kRam + kTables + 40, std::uint32_t{kTables + 0x300});
  put(state, kRam + kTables + 44, std::uint32_t{kTables + 0x400});
  put_table(state, kTables + 0x100, "FACP", 116);
  put(state, kRam + kTables + 0x100 + 40, std::uint32_t{kTables + 0x200});
  put_table(state, kTables + 0x200, "DSDT", 100);
  put(state, kRam + kTables + 0x200 + 40, std::string_view("QEMU0002"));
  put_table(state, kTables + 0x300, "WAET", 40);
  put_table(state, kTables + 0x400, "HPET", 56);
  // SMBIOS: BIOS and chassis
  put(state, kRam + 0xf2000, std::string_view("_SM_"));
  put(state, kRam + 0xf2000 + 22, std::uint16_t{64});
  put(state, kRam + 0xf2000 + 24, std::uint32_t{0xf3000});
  put(state, kRam + 0xf3000, std::string_view("\0\x18", 2));
  state[kRam + 0xf3013] = 0x14;
  put(state, kRam + 0xf3018, std::string_view("a\0\0\x03\x16", 5));
  state[kRam + 0xf301b + 5] = 1;
  // what SeaBIOS calls itself
  put(state, kRam + 0xf4000, std::string_view("SeaBIOS (version qemu)"));
  // PCI devices
  std::size_t at = kRam + 0x300000;
  for (const PciSubsystem& device : kFirmwareNames.pci) {
    put(state, at + 1, device.vendor);
    put(state, at + 3, device.device);
    put(state, at + 1 + 0x2c, std::uint32_t{0x11001af4});
    at += 300;
  }
  return state;
}

TEST(Disguise, TheKernelStaysAtItsEntryUntilThen) {
  const Scratch scratch;
  const Bytes image = kernel();
  const auto file = scratch.write("vmlinuz", std::string(image.begin(), image.end()));
  const auto held = held_at_entry(file);
  ASSERT_TRUE(held) << held.error().message;
  EXPECT_EQ(text(*held, 3 * 512, 2), "\xeb\xfe");
  Bytes restored = *held;
  restored[3 * 512] = image[3 * 512];
  restored[3 * 512 + 1] = image[3 * 512 + 1];
  EXPECT_EQ(restored, image);
  Bytes state = saved();
  ASSERT_TRUE(disguise(state, image));
  EXPECT_EQ(text(state, kRam + kKernelEntry, 2), text(image, 3 * 512, 2));
}

TEST(Disguise, NamesTheFirmwaresTables) {
  Bytes state = saved();
  const auto done = disguise(state, kernel());
  ASSERT_TRUE(done) << done.error().message;
  for (const auto& [table, size] :
       {std::pair{0u, 44u}, {0x100u, 116u}, {0x200u, 100u}, {0x400u, 56u}}) {
    EXPECT_EQ(text(state, kRam + kTables + table + 28, 4), "INTL") << table;
    EXPECT_EQ(sum(state, kRam + kTables + table, size), 0) << table;
  }
  EXPECT_EQ(text(state, kRam + kTables + 0x200 + 40, 8), "DELLABCE");
  // The table that only virtual machines have is not listed any more.
  EXPECT_EQ(state[kRam + kTables + 4], 44);
  std::uint32_t second = 0;
  std::memcpy(&second, state.data() + kRam + kTables + 40, 4);
  EXPECT_EQ(second, kTables + 0x400);
  EXPECT_EQ(text(state, kRam + 0xf4000, 22), "Phoenix (version Dell)");
}

TEST(Disguise, SmbiosSaysWhatAPcsDoes) {
  Bytes state = saved();
  ASSERT_TRUE(disguise(state, kernel()));
  EXPECT_EQ(state[kRam + 0xf3013], 0x04);
  EXPECT_EQ(state[kRam + 0xf301b + 5], kFirmwareNames.chassis);
}

TEST(Disguise, DevicesAreOfTheBoardsMaker) {
  Bytes state = saved();
  ASSERT_TRUE(disguise(state, kernel()));
  EXPECT_EQ(text(state, kRam + 0x300000 + 1 + 0x2c, 4), std::string("\x28\x10\x11\x02", 4));
}

TEST(Disguise, FailsWhenSomethingIsMissing) {
  for (const auto& [at, what] : {std::pair{kRam + kKernelEntry, "no kernel"},
                                 {kRam + 0xf1000, "no ACPI tables"},
                                 {kRam + kTables, "no ACPI root"},
                                 {kRam + 0xf2000, "no SMBIOS"},
                                 {kRam + 0xf3001, "incomplete"},
                                 {kRam + 0x300001, "3 of 4 PCI"}}) {
    Bytes state = saved();
    state[at] ^= 0xff;
    const auto done = disguise(state, kernel());
    ASSERT_FALSE(done) << what;
    EXPECT_THAT(done.error().message, HasSubstr(what));
  }
  Bytes state = saved();
  EXPECT_FALSE(disguise(state, Bytes(100)));
  EXPECT_FALSE(disguise(state, Bytes(2000)));
}

TEST(Disguise, AStateOfAnyBytesIsChangedWithinItself) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    Bytes state = saved();
    for (int i = 0; i < 40; ++i) {
      // Where addresses, sizes and counts are.
      const std::size_t area[] = {0xf1000, 0xf2000, 0xf3000, kTables, kTables + 0x100};
      state[kRam + area[random() % 5] + random() % 64] = static_cast<std::uint8_t>(random());
    }
    const std::size_t size = state.size();
    (void)disguise(state, kernel());
    EXPECT_EQ(state.size(), size);
  }
}

}  // namespace
}  // namespace glasshook::machine
