// A small hand-made DLL for tests, which may spoil any byte of it.
#pragma once

#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "guest/windows/pe_module.h"

namespace glasshook::windows {

/// Bytes it owns, with pages that can be taken away.
class TestSource final : public ByteSource {
 public:
  explicit TestSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    for (const std::uint64_t page : missing_)
      if (offset < (page + 1) * 4096 && offset + out.size() > page * 4096) return false;
    return elf::SpanSource(bytes_).read(offset, out);
  }
  void remove_page(std::uint64_t page) { missing_.insert(page); }

 private:
  std::vector<std::byte> bytes_;
  std::set<std::uint64_t> missing_;
};

/// Four pages, the same in the file and in memory: headers, code, exports and imports, unwind data.
///
///   #1 Open     at 0x1000, in two parts: 0x1000-0x1010, and 0x1010-0x1020 chained to it
///   #2 Read     at 0x1040, a leaf without unwind data
///   #3 Stub     at 0x1080, jumps through the import kernelbase!CreateFileW
///   #4          at 0x10c0, jumps through the import kernelbase!#7
///   #5 Forward  to NTDLL.RtlAllocateHeap
///   #6 Data     at 0x2800
class TinyPe {
 public:
  static constexpr std::uint64_t kNewHeader = 0x80, kFileHeader = kNewHeader + 4,
                                 kOptional = kFileHeader + sizeof(FileHeader),
                                 kDirectories = kOptional + sizeof(OptionalHeader),
                                 kSections = kDirectories + kDirectoryCount * sizeof(DataDirectory);
  static constexpr std::uint32_t kCode = 0x1000, kExports = 0x2000, kFunctions = 0x2040,
                                 kNames = 0x2060, kNameOrdinals = 0x2080, kTexts = 0x20a0,
                                 kExportBytes = 0x200, kImports = 0x2400, kAddresses = 0x2480,
                                 kLookups = 0x24a0, kHint = 0x24c0, kData = 0x2800,
                                 kUnwind = 0x3000, kUnwindInfo = 0x3100;
  static constexpr std::size_t kBytes = 0x4000;

  TinyPe() : bytes_(kBytes) {
    put_headers();
    put_code();
    put_exports();
    put_imports();
    put_unwind();
  }

  template <class T>
  TinyPe& put(std::uint64_t at, const T& value) {
    std::memcpy(&bytes_.at(at + sizeof value - 1) - (sizeof value - 1), &value, sizeof value);
    return *this;
  }
  TinyPe& put_text(std::uint64_t at, std::string_view text) {
    std::memcpy(&bytes_.at(at), text.data(), text.size());
    bytes_.at(at + text.size()) = std::byte{0};
    return *this;
  }
  TinyPe& put_directory(std::size_t index, std::uint32_t rva, std::uint32_t size) {
    return put(kDirectories + index * sizeof(DataDirectory), DataDirectory{rva, size});
  }
  TinyPe& put_section(std::size_t index, SectionHeader header) {
    return put(kSections + index * sizeof(SectionHeader), header);
  }

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] Result<PeModule> parse(Layout layout = Layout::file) const {
    return PeModule::parse(std::make_shared<TestSource>(bytes_), layout);
  }
  [[nodiscard]] PeModule good(Layout layout = Layout::file) const {
    Result<PeModule> module = parse(layout);
    if (!module) throw std::runtime_error(module.error().message);
    return std::move(*module);
  }

 private:
  void put_headers() {
    put(0, kDosMagic);
    put(0x3c, std::uint32_t{kNewHeader});
    put(kNewHeader, kPeMagic);
    FileHeader file{};
    file.machine = kMachineAmd64;
    file.section_count = 3;
    file.optional_header_bytes = sizeof(OptionalHeader) + kDirectoryCount * sizeof(DataDirectory);
    file.characteristics = kFileIsDll;
    put(kFileHeader, file);
    OptionalHeader optional{};
    optional.magic = kOptionalMagic64;
    optional.image_base = 0x7b00'0000;
    optional.entry_point = 0x1000;
    optional.image_bytes = kBytes;
    optional.header_bytes = 0x400;
    optional.directory_count = kDirectoryCount;
    put(kOptional, optional);
    put_section(0, section(".text", kCode, kSectionExecutes | kSectionReads));
    put_section(1, section(".rdata", kExports, kSectionReads));
    put_section(2, section(".pdata", kUnwind, kSectionReads));
  }
  static SectionHeader section(std::string_view name, std::uint32_t rva, std::uint32_t flags) {
    SectionHeader header{};
    std::memcpy(header.name.data(), name.data(), name.size());
    header.virtual_size = header.file_size = 0x1000;
    header.rva = header.file_offset = rva;
    header.characteristics = flags;
    return header;
  }

  void put_code() {
    for (std::uint32_t i = 0; i < 0x1000; ++i) put(kCode + i, std::uint8_t{0xcc});
    put(0x1000, std::array<std::uint8_t, 3>{0x90, 0x75, 0x0e});  // jne 0x1011
    put(0x1003, std::uint8_t{0xc3});
    put(0x1011, std::uint8_t{0xc3});
    put(0x1040, std::array<std::uint8_t, 2>{0x90, 0xc3});
    // lea rsp, [rsp + 0]; jmp [rip + ...]
    put(0x1080, std::array<std::uint8_t, 10>{0x48, 0x8d, 0xa4, 0x24, 0, 0, 0, 0, 0xff, 0x25});
    put(0x108a, std::uint32_t{kAddresses - 0x108e});
    put(0x10c0, std::array<std::uint8_t, 3>{0x48, 0xff, 0x25});  // rex.w jmp, as Microsoft's
    put(0x10c3, std::uint32_t{kAddresses + 8 - 0x10c7});
  }

  void put_exports() {
    put_directory(kExportDirectory, kExports, kExportBytes);
    ExportHeader header{};
    header.name = kTexts;
    header.ordinal_base = 1;
    header.function_count = 6;
    header.name_count = 5;
    header.functions = kFunctions;
    header.names = kNames;
    header.name_ordinals = kNameOrdinals;
    put(kExports, header);
    put(kFunctions,
        std::array<std::uint32_t, 6>{0x1000, 0x1040, 0x1080, 0x10c0, kTexts + 0x60, kData});
    put_text(kTexts, "tiny.dll");
    put_text(kTexts + 0x60, "NTDLL.RtlAllocateHeap");
    const std::array<std::string_view, 5> names{"Data", "Forward", "Open", "Read", "Stub"};
    for (std::uint32_t i = 0; i < names.size(); ++i) {
      put_text(kTexts + 0x10 + 0x10 * i, names[i]);
      put(kNames + 4 * i, kTexts + 0x10 + 0x10 * i);
    }
    put(kNameOrdinals, std::array<std::uint16_t, 5>{5, 4, 0, 1, 2});
  }

  void put_imports() {
    put_directory(kImportDirectory, kImports, 0x100);
    put(kImports, ImportDescriptor{kLookups, 0, 0, kHint + 0x20, kAddresses});
    put(kLookups, std::array<std::uint64_t, 3>{kHint, kImportByOrdinal | 7, 0});
    put_text(kHint + 2, "CreateFileW");
    put_text(kHint + 0x20, "KernelBase.dll");
  }

  void put_unwind() {
    put_directory(kExceptionDirectory, kUnwind, 3 * sizeof(RuntimeFunction));
    const RuntimeFunction primary{0x1000, 0x1010, kUnwindInfo};
    put(kUnwind, primary);
    put(kUnwind + 12, RuntimeFunction{0x1010, 0x1020, kUnwindInfo + 0x10});
    put(kUnwind + 24, RuntimeFunction{0x1100, 0x1110, kUnwindInfo});
    put(kUnwindInfo, UnwindHeader{1, 0, 0, 0});
    put(kUnwindInfo + 0x10, UnwindHeader{1 | kUnwindChained << 3, 0, 1, 0});
    put(kUnwindInfo + 0x18, primary);  // behind one code, padded to two
  }

  std::vector<std::byte> bytes_;
};

}  // namespace glasshook::windows
