// What one Windows process has done to another so far, step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace glasshook::behaviour::windows {

/// How code that was put into another process gets to run.
enum class InjectionStart : std::uint8_t {
  remote_thread,   ///< a new thread
  apc,             ///< an asynchronous procedure call of a thread that is there
  thread_context,  ///< the registers of a thread that is there
  resumed,         ///< a process that was made suspended goes on
};

class InjectionStory {
 public:
  enum class Step : std::uint8_t {
    created_suspended,
    opened,
    allocated,
    written,
    made_executable,
    section_mapped,
    image_unmapped,
    thread_suspended,
    context_set,
    apc_queued,
    thread_created,
    thread_resumed
  };

  /// Notes a step, in order; each kind once.
  void add(Step step);
  [[nodiscard]] bool has(Step step) const;
  /// Memory of the target that came from the actor.
  void add_memory(std::uint64_t address, std::uint64_t bytes);
  /// Content of such memory; the first that names a DLL is kept.
  void add_content(std::string_view bytes);
  void add_written(std::uint64_t address, std::uint64_t bytes);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t first_address() const { return first_address_; }
  [[nodiscard]] const std::string& library() const { return library_; }
  /// That memory holds the address.
  [[nodiscard]] bool has_memory_at(std::uint64_t address) const;
  /// Something was put into the target since this was called last.
  [[nodiscard]] bool take_fresh();

  /// "allocated", "wrote", in the order of their first time.
  [[nodiscard]] std::vector<std::string> step_names() const;
  /// "process hollowing", ...; `address` is where code begins to run, 0 when unknown.
  [[nodiscard]] std::string_view method(InjectionStart start, std::uint64_t address) const;
  /// The same in MITRE ATT&CK.
  [[nodiscard]] std::string_view technique(InjectionStart start, std::uint64_t address) const;

 private:
  /// The code is the target's own, and loads a DLL whose name was put there.
  [[nodiscard]] bool loads_library(std::uint64_t address) const {
    return !library_.empty() && address != 0 && !has_memory_at(address);
  }

  static constexpr std::size_t kMostRanges = 256;

  struct Range {
    std::uint64_t begin = 0, end = 0;
  };

  std::vector<Step> steps_;
  std::vector<Range> memory_;
  std::uint64_t bytes_ = 0, first_address_ = 0;
  std::string library_;
  bool fresh_ = false;
};

}  // namespace glasshook::behaviour::windows
