// What the tests of this folder share: scratch files, checked results.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "machine/process.h"

namespace glasshook::machine {

inline Deadline soon() { return in(std::chrono::seconds(20)); }

/// A scratch directory that goes away with the test.
class Scratch {
 public:
  Scratch() : dir_(TempDir::create()) { EXPECT_TRUE(dir_.has_value()); }

  [[nodiscard]] const std::filesystem::path& path() const { return dir_->path(); }
  std::filesystem::path write(const std::filesystem::path& name, std::string_view content,
                              unsigned mode = 0644) const {
    const std::filesystem::path file = path() / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    ::chmod(file.c_str(), mode);
    return file;
  }

 private:
  Result<TempDir> dir_;
};

inline std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Two connected sockets.
struct Sockets {
  UniqueFd ours, theirs;
  Sockets() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
  }
};

/// Sets a variable for the life of the object; nullptr unsets it.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    set(value);
  }
  ~Environment() { set(had_ ? old_.c_str() : nullptr); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const char* value) {
    if (value != nullptr)
      ::setenv(name_, value, 1);
    else
      ::unsetenv(name_);
  }
  const char* name_;
  std::string old_;
  bool had_ = false;
};

}  // namespace glasshook::machine
