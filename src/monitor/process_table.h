// Who is who: every process of the guest under a name that pid reuse never confuses.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "behaviour/event.h"

namespace glasshook::monitor {

/// A process id and when its first thread started: together unique within one boot.
struct ProcessKey {
  std::uint32_t pid = 0;
  std::uint64_t start_time = 0;  ///< ns since boot

  bool operator==(const ProcessKey&) const = default;
};

/// Where a record says it comes from.
struct Actor {
  std::uint64_t task = 0;  ///< address of the running thread's task_struct
  std::uint32_t thread_id = 0;
  ProcessKey key;
};

using ProcessPtr = std::shared_ptr<const behaviour::Process>;

/// All processes seen, alive or lately gone. Memory is bounded: the oldest of the gone are
/// forgotten. Used from one thread.
class ProcessTable {
 public:
  /// Reads a process from the guest by the address of one of its tasks; empty when there is none.
  using Reader = std::function<std::optional<behaviour::Process>(std::uint64_t task)>;
  static constexpr std::size_t kMaxGone = 8192;

  /// `host_id` makes entity ids differ between machines.
  ProcessTable(std::string host_id, Reader reader)
      : host_id_(std::move(host_id)), reader_(std::move(reader)) {}

  /// Enters a process found in the guest's own list.
  ProcessPtr add(behaviour::Process process);
  /// The process of an actor; read from the guest when it is not known yet, and made up from the
  /// record alone when the guest says something else. Null for a record without an actor.
  ProcessPtr resolve(const Actor& actor);
  /// A new process; read from the guest when its parent is not known.
  ProcessPtr forked(const ProcessPtr& parent, std::uint64_t child_task, behaviour::Process child);
  /// The process runs a new image now; it keeps its identity and its parent.
  ProcessPtr executed(const ProcessPtr& process, behaviour::Process image);
  /// The process with that key, if it is known, is in another container now.
  void moved(const ProcessKey& key, const std::string& container_id);
  void exited(const ProcessPtr& process);

  /// The living process with that id, else the last one that had it; null when unknown.
  [[nodiscard]] ProcessPtr by_pid(std::uint32_t pid) const;
  [[nodiscard]] std::size_t size() const { return processes_.size(); }

 private:
  struct KeyHash {
    std::size_t operator()(const ProcessKey& k) const noexcept {
      return std::hash<std::uint64_t>{}(k.start_time * 0x9e3779b97f4a7c15 ^ k.pid);
    }
  };

  ProcessPtr store(behaviour::Process process);
  [[nodiscard]] std::string entity_id(const ProcessKey& key) const;

  std::string host_id_;
  Reader reader_;
  std::unordered_map<ProcessKey, ProcessPtr, KeyHash> processes_;
  std::unordered_map<std::uint32_t, ProcessKey> latest_;
  std::deque<ProcessKey> gone_;
};

}  // namespace glasshook::monitor
