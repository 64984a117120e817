// Who started whom, with what came of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "behaviour/event.h"

namespace glasshook::output {

/// Collects processes from events and draws them as a tree. Memory is bounded: processes beyond
/// kMaxProcesses are counted and not drawn.
class ProcessTree {
 public:
  static constexpr std::size_t kMaxProcesses = 50'000;
  /// Deeper processes are drawn at this depth.
  static constexpr std::size_t kMaxDepth = 48;

  void add(const behaviour::Event& event);

  /// Several lines, each with its newline; empty without processes.
  [[nodiscard]] std::string render(bool color) const;

 private:
  struct Node {
    std::shared_ptr<const behaviour::Process> image;  ///< the latest
    std::size_t parent = kNone;
    std::vector<std::size_t> children;
    std::string ending;  ///< "exit code 1", "killed by SIGKILL"; empty while running
    bool failed = false;
    std::map<std::string_view, std::uint64_t> counts;  ///< of what is worth telling
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t node_for(const std::shared_ptr<const behaviour::Process>& process);
  [[nodiscard]] std::string label(const Node& node, bool with_pid, bool color) const;
  [[nodiscard]] std::size_t fold(const std::vector<std::size_t>& siblings, std::size_t from) const;

  std::vector<Node> nodes_;
  std::unordered_map<std::string, std::size_t> by_id_;
  std::uint64_t left_out_ = 0;  ///< events of processes beyond the limit
};

}  // namespace glasshook::output
