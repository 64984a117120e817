// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "guest/elf/elf_module.h"

namespace glasshook::elf {

/// Bytes it owns, with pages that can be taken away.
class TestSource final : public ByteSource {
 public:
  explicit TestSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    for (std::uint64_t page = offset / 4096; page * 4096 < offset + out.size(); ++page)
      if (missing_.contains(page)) return false;
    return SpanSource(bytes_).read(offset, out);
  }
  void remove_page(std::uint64_t page) { missing_.insert(page); }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::set<std::uint64_t> missing_;
};

inline std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

inline ElfModule parse_file(const std::filesystem::path& path) {
  Result<ElfModule> module =
      ElfModule::parse(std::make_shared<TestSource>(read_bytes(path)), Layout::file);
  if (!module) throw std::runtime_error(path.string() + ": " + module.error().message);
  return std::move(*module);
}

/// What a command prints.
inline std::string output_of(const std::string& command) {
  std::string output;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    std::array<char, 65536> buffer;
    for (std::size_t size; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      output.append(buffer.data(), size);
    pclose(pipe);
  }
  return output;
}

/// Modules of this machine that the tests look at; those that exist.
inline std::vector<std::string> real_modules() {
  std::vector<std::string> found;
  for (const char* path :
       {"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2",
        "/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "/usr/bin/python3", "/bin/ls"})
    if (std::filesystem::exists(path)) found.push_back(std::filesystem::canonical(path));
  return found;
}

inline constexpr const char* kLibc = "/lib/x86_64-linux-gnu/libc.so.6";

}  // namespace glasshook::elf
