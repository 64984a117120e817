#include "machine/windows_program.h"

#include <strings.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>

#include "base/text.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

// Offsets from the DOS header.
constexpr std::size_t kDosHeader = 0x40;
constexpr std::size_t kNewHeaderAt = 0x3c;
// Offsets from the PE signature: COFF header, then optional header.
constexpr std::size_t kMachine = 4;
constexpr std::size_t kCharacteristics = 22;
constexpr std::size_t kOptionalMagic = 24;
constexpr std::size_t kDirectoryCount64 = 24 + 108;
constexpr std::size_t kDirectories64 = 24 + 112;
constexpr std::size_t kDirectoryCount32 = 24 + 92;
constexpr std::size_t kDirectories32 = 24 + 96;
constexpr std::size_t kDirectorySize = 8;
constexpr std::size_t kHeaders = kDirectories64 + 16 * kDirectorySize;

constexpr std::uint16_t kMachineI386 = 0x14c;
constexpr std::uint16_t kMachineAmd64 = 0x8664;
constexpr std::uint16_t kMachineArm64 = 0xaa64;
constexpr std::uint16_t kMagic64 = 0x20b;
constexpr std::uint16_t kFileDll = 0x2000;
constexpr std::uint32_t kClrDirectory = 14;  // IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR

template <class T>
T number_at(std::span<const char> bytes, std::size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// Up to `out.size()` bytes from `offset`; how many there were.
std::size_t read_at(std::ifstream& file, std::uint64_t offset, std::span<char> out) {
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(out.data(), static_cast<std::streamsize>(out.size()));
  return static_cast<std::size_t>(file.gcount());
}

bool is_for_dotnet(std::span<const char, kHeaders> pe) {
  const bool wide = number_at<std::uint16_t>(pe, kOptionalMagic) == kMagic64;
  const auto count = number_at<std::uint32_t>(pe, wide ? kDirectoryCount64 : kDirectoryCount32);
  const std::size_t entry =
      (wide ? kDirectories64 : kDirectories32) + kClrDirectory * kDirectorySize;
  return count > kClrDirectory && number_at<std::uint32_t>(pe, entry) != 0;
}

Result<> check_kind(std::span<const char, kHeaders> pe, const std::string& name) {
  const auto machine = number_at<std::uint16_t>(pe, kMachine);
  if (number_at<std::uint16_t>(pe, kCharacteristics) & kFileDll)
    return with_remedy(fail(ErrorCode::unsupported, "{} is a DLL, not a program", name),
                       fmt::format("--copy {} -- rundll32.exe {},EXPORT", name,
                                   fs::path(name).filename().native()));
  if (is_for_dotnet(pe))
    return with_remedy(
        fail(ErrorCode::unsupported, "{} is a .NET program; the guest has no .NET", name),
        "only native programs run there");
  if (machine == kMachineAmd64) return {};
  std::string what = fmt::format("a program for machine {:#x}", machine);
  if (machine == kMachineI386) what = "a 32 bit program";
  if (machine == kMachineArm64) what = "a program for ARM64";
  return with_remedy(fail(ErrorCode::unsupported,
                          "{} is {}; the guest runs only 64 bit ones (x86-64)", name, what),
                     "get the program for x86-64");
}

}  // namespace

bool is_windows_program(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  if (::strcasecmp(file.extension().c_str(), ".exe") == 0) return true;
  std::ifstream stream(file, std::ios::binary);
  std::array<char, 2> magic{};
  return read_at(stream, 0, magic) == magic.size() && magic == std::array{'M', 'Z'};
}

Result<> check_windows_program(const fs::path& file) {
  const std::string name = to_printable(file.native());
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(ErrorCode::io, "cannot read {}: {}", name, std::strerror(errno));
  std::array<char, kDosHeader> dos{};
  if (read_at(stream, 0, dos) < dos.size() || dos[0] != 'M' || dos[1] != 'Z')
    return with_remedy(fail(ErrorCode::unsupported,
                            "{} is not a Windows program: it does not begin with MZ", name),
                       "check that the file is whole and not packed");
  std::array<char, kHeaders> pe{};
  const std::size_t got = read_at(stream, number_at<std::uint32_t>(dos, kNewHeaderAt), pe);
  if (got < kOptionalMagic || std::memcmp(pe.data(), "PE\0\0", kMachine) != 0)
    return with_remedy(
        fail(ErrorCode::unsupported, "{} is not a Windows program: it has no PE header", name),
        "MS-DOS and 16 bit programs do not run in the guest; check that the file is whole");
  return check_kind(pe, name);
}

}  // namespace glasshook::machine
