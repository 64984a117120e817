#include "guest/windows/pe_module.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/elf/instruction.h"
#include "guest/windows/limits.h"

namespace glasshook::windows {
namespace {

constexpr std::uint64_t kNewHeaderField = 0x3c;  // e_lfanew
/// The loader ignores the low bits of a section's file offset.
constexpr std::uint64_t kFileSector = 512;

std::string machine_name(std::uint16_t machine) {
  if (machine == kMachineI386) return "32-bit x86";
  if (machine == kMachineArm64) return "ARM64";
  return fmt::format("machine {:#x}", machine);
}

Result<> check(const FileHeader& header) {
  if (header.machine != kMachineAmd64)
    return fail(ErrorCode::unsupported, "a PE module for {}: only x86-64 is supported",
                machine_name(header.machine));
  if (header.optional_header_bytes < sizeof(OptionalHeader) || header.section_count == 0 ||
      header.section_count > kMaxSections)
    return fail(ErrorCode::guest_fault, "the PE headers make no sense");
  return {};
}

Section to_section(const SectionHeader& header) {
  const std::string_view name{header.name.data(), ::strnlen(header.name.data(), 8)};
  const std::uint64_t size = header.virtual_size != 0 ? header.virtual_size : header.file_size;
  return {.name = std::string(name),
          .rva = header.rva,
          .size = size,
          .file_offset = header.file_offset / kFileSector * kFileSector,
          .file_size = std::min<std::uint64_t>(header.file_size, size),
          .readable = (header.characteristics & kSectionReads) != 0,
          .writable = (header.characteristics & kSectionWrites) != 0,
          .executable = (header.characteristics & kSectionExecutes) != 0};
}

/// The slot that code jumps through when it does nothing else; empty for real code. Wine's stubs
/// begin with `lea rsp, [rsp + 0]`, which does nothing.
std::optional<std::uint64_t> stub_slot(const Image& image, std::uint64_t rva) {
  constexpr std::array<unsigned char, 8> kNothing{0x48, 0x8d, 0xa4, 0x24, 0, 0, 0, 0};
  constexpr std::size_t kMostBytes = 32;
  std::array<std::byte, kMostBytes> code{};
  std::size_t size = code.size();
  while (size > 0 && !image.read(rva, std::span{code}.first(size))) size /= 2;
  std::size_t at = 0;
  if (size > kNothing.size() && std::memcmp(code.data(), kNothing.data(), kNothing.size()) == 0)
    at = kNothing.size();
  while (at < size) {
    const auto found = elf::decode_flow(std::span{code}.subspan(at, size - at), rva + at);
    if (!found) return std::nullopt;
    if (found->flow == elf::Flow::slot_jump) return found->target;
    if (found->flow != elf::Flow::padding) return std::nullopt;
    at += found->length;
  }
  return std::nullopt;
}

}  // namespace

bool is_pe(const ByteSource& source) { return source.read_value<std::uint16_t>(0) == kDosMagic; }

Result<PeModule> PeModule::parse(std::shared_ptr<const ByteSource> source, Layout layout,
                                 Parts parts) {
  PeModule module(std::move(source), layout);
  if (Result<> read = module.read_headers(); !read) return std::unexpected(read.error());
  const Extent exports = module.directory(kExportDirectory);
  if (exports != Extent{} && parts == Parts::all)
    module.exports_ = ExportTable::read(module.image_, exports, module.incomplete_);
  module.imports_ = ImportTable::read(module.image_, module.directory(kImportDirectory),
                                      module.directory(kDelayImportDirectory));
  module.unwind_ = UnwindTable(module.directory(kExceptionDirectory));
  return module;
}

Result<> PeModule::read_headers() {
  const ByteSource& source = image_.source();
  if (!is_pe(source)) return fail(ErrorCode::guest_fault, "not a PE module");
  const auto at = source.read_value<std::uint32_t>(kNewHeaderField);
  if (!at || *at > kMaxHeaderOffset)
    return fail(ErrorCode::guest_fault, "the PE header is missing");
  const auto magic = source.read_value<std::uint32_t>(*at);
  if (magic != kPeMagic) return fail(ErrorCode::guest_fault, "a DOS program, not a PE module");
  const std::uint64_t file_header = *at + sizeof kPeMagic;
  const std::uint64_t optional_header = file_header + sizeof(FileHeader);
  const auto header = source.read_value<FileHeader>(file_header);
  if (!header) return fail(ErrorCode::guest_fault, "the PE header is missing");
  if (Result<> checked = check(*header); !checked) return checked;
  const auto optional = source.read_value<OptionalHeader>(optional_header);
  if (!optional || optional->magic != kOptionalMagic64 || optional->image_bytes == 0 ||
      optional->image_bytes > kMaxImageBytes)
    return fail(ErrorCode::guest_fault, "the PE optional header makes no sense");

  is_dll_ = (header->characteristics & kFileIsDll) != 0;
  preferred_base_ = optional->image_base;
  entry_point_ = optional->entry_point;
  image_.set_size(optional->image_bytes, std::min(optional->header_bytes, optional->image_bytes));
  const std::uint64_t directory_room =
      (header->optional_header_bytes - sizeof(OptionalHeader)) / sizeof(DataDirectory);
  read_directories(optional_header + sizeof(OptionalHeader),
                   std::min<std::uint64_t>({optional->directory_count, directory_room,
                                            std::uint64_t{kDirectoryCount}}));
  return read_sections(optional_header + header->optional_header_bytes, header->section_count);
}

void PeModule::read_directories(std::uint64_t at, std::uint64_t count) {
  const auto bytes = std::as_writable_bytes(std::span{directories_}.first(count));
  if (!image_.source().read(at, bytes)) {
    std::ranges::fill(directories_, DataDirectory{});
    incomplete_.emplace_back("the data directories are missing");
  }
}

Result<> PeModule::read_sections(std::uint64_t at, std::uint64_t count) {
  std::vector<SectionHeader> headers(count);
  if (!image_.source().read(at, std::as_writable_bytes(std::span{headers})))
    return fail(ErrorCode::guest_fault, "the PE section headers are missing");
  for (const SectionHeader& header : headers) {
    Section section = to_section(header);
    const bool inside = section.rva < image_.size() && section.size <= image_.size() - section.rva;
    if (inside) image_.add(std::move(section));
  }
  if (sections().empty()) return fail(ErrorCode::guest_fault, "a PE module without sections");
  return {};
}

Extent PeModule::directory(std::size_t index) const {
  const DataDirectory& found = directories_[index];
  if (found.rva == 0 || found.size == 0 || found.rva >= image_.size()) return {};
  return {found.rva, found.rva + std::min<std::uint64_t>(found.size, image_.size() - found.rva)};
}

std::optional<Extent> PeModule::function_at(std::uint64_t rva) const {
  if (const auto part = unwind_.part_at(image_, rva)) return part;
  const Section* section = image_.section_at(rva);
  if (section == nullptr || !section->executable) return std::nullopt;
  std::uint64_t end = std::min(section->extent().end, rva + kMaxLeafBytes);
  if (const auto next = unwind_.next(image_, rva)) end = std::min(end, next->begin);
  if (const auto next = exports_.next_address(rva)) end = std::min(end, *next);
  return end > rva ? std::optional{Extent{rva, end}} : std::nullopt;
}

std::optional<ExportName> PeModule::target_of(const Export& entry) const {
  if (!entry.forwarder.empty()) return parse_forwarder(entry.forwarder);
  if (!is_code(entry.rva)) return std::nullopt;
  const auto slot = stub_slot(image_, entry.rva);
  return slot ? import_at(*slot) : std::nullopt;
}

elf::CodeView code_of(const PeModule& module) {
  return {.read = [&module](std::uint64_t rva,
                            std::span<std::byte> out) { return module.image().read(rva, out); },
          .function_at = [&module](std::uint64_t rva) { return module.function_at(rva); },
          .classify = {}};
}

}  // namespace glasshook::windows
