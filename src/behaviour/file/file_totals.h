// Reads and writes, added up for each process and file.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "behaviour/family.h"
#include "behaviour/support.h"
#include "behaviour/totals.h"

namespace glasshook::behaviour {

/// Told as file_read and file_written when the file is closed, the process ends or the session
/// does. Memory is bounded: when kMost are held, all are told and begun anew.
class FileTotals {
 public:
  static constexpr std::size_t kMost = 50'000;
  using Time = std::chrono::system_clock::time_point;

  struct Actor {
    ProcessKey key;
    std::shared_ptr<const Process> process;  ///< may be null
    std::uint32_t thread_id = 0;
    Time time;
  };
  /// One operation on an open file.
  struct Operation {
    std::uint64_t file = 0;              ///< which: an address, or any other number of its own
    std::optional<std::uint64_t> inode;  ///< where there are any
    std::optional<std::uint64_t> size;   ///< of the file afterwards, where that is known
    std::uint64_t bytes = 0;
    bool write = false;
    std::string unresolved_handle = {};  ///< on Windows: its value, when that is all that is known
  };
  void count(const Actor& actor, const Operation& operation, const std::string& path,
             Context& context);

  /// The last reference to a file is gone.
  void closed(std::uint64_t file, Time now, Context& context);
  void process_exited(const Process& process, Time now, Context& context);
  void tell_all(Time now, Context& context);

  [[nodiscard]] std::size_t size() const { return held_; }

 private:
  struct OfProcess {
    ProcessKey key;
    std::shared_ptr<const Process> process;
    std::uint32_t thread_id = 0;
    std::optional<std::uint64_t> inode;
    std::optional<std::uint64_t> size;
    std::string path;
    std::string unresolved_handle;
    Totals read, written;
  };
  using Users = std::vector<OfProcess>;  ///< nearly always one

  OfProcess& find_or_add(const Actor& actor, const Operation& operation, const std::string& path,
                         Context& context);
  /// Takes what a process did on a file out of the tables.
  [[nodiscard]] OfProcess take(std::uint64_t file, Users& users, Users::iterator user);
  static void tell(const OfProcess& user, Time now, Context& context);
  static void tell_in_order(Users users, Time now, Context& context);

  std::unordered_map<std::uint64_t, Users> files_;
  std::map<ProcessKey, std::unordered_set<std::uint64_t>> files_of_;
  std::size_t held_ = 0;
};

}  // namespace glasshook::behaviour
