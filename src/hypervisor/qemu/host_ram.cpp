#include "hypervisor/qemu/host_ram.h"

#include <algorithm>
#include <sstream>

#include "hypervisor/probe/command_line.h"
#include "hypervisor/probe/ram_mapping.h"

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::uint64_t kFourGib = 1ull << 32;

}  // namespace

std::string machine_type_of(const std::vector<std::string>& command_line) {
  std::string type = "pc";
  for (std::size_t i = 0; i + 1 < command_line.size(); ++i) {
    if (command_line[i] != "-machine" && command_line[i] != "-M") continue;
    std::istringstream options(command_line[i + 1]);
    bool first = true;
    for (std::string option; std::getline(options, option, ','); first = false) {
      if (option.starts_with("type=")) type = option.substr(5);
      if (first && option.find('=') == std::string::npos) type = option;
    }
  }
  return type;
}

std::uint64_t low_ram_size(std::string_view machine_type, std::uint64_t ram_size,
                           std::optional<std::uint64_t> max_below_4g) {
  const bool q35 = machine_type.find("q35") != std::string_view::npos;
  std::uint64_t low = q35 ? 0xb000'0000 : 0xe000'0000;
  if (ram_size >= low) low = q35 ? 0x8000'0000 : 0xc000'0000;
  if (max_below_4g) low = *max_below_4g;
  return std::min(low, ram_size);
}

Result<HostRam> find_host_ram() {
  const auto mapping = probe::find_ram_mapping();
  if (!mapping) return std::unexpected(mapping.error());
  const auto fd = probe::open_read_only(*mapping);
  if (!fd) return std::unexpected(fd.error());
  HostRam result;
  result.fd = *fd;
  const std::uint64_t size = mapping->end - mapping->begin;
  const std::uint64_t low =
      low_ram_size(machine_type_of(probe::own_command_line()), size, std::nullopt);
  result.pieces.push_back({.gpa = 0, .size = low, .file_offset = 0});
  if (size > low)
    result.pieces.push_back({.gpa = kFourGib, .size = size - low, .file_offset = low});
  for (const probe::RamPiece& piece : result.pieces)
    result.ram.add(
        {.begin = Gpa{piece.gpa},
         .size = piece.size,
         .host = reinterpret_cast<const std::byte*>(mapping->begin) + piece.file_offset});
  return result;
}

}  // namespace glasshook::hypervisor::qemu
