#include "output/process_tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "output/describe.h"
#include "output/output.h"
#include "output/style.h"
#include "output/summary.h"

namespace glasshook::output {
namespace {

using behaviour::Event;
using behaviour::Process;

constexpr std::size_t kMaxLabel = 160;
/// As many alike siblings in a row are drawn as one line.
constexpr std::size_t kFoldFrom = 4;
/// Ancestors followed from one process.
constexpr int kMaxAncestors = 64;

/// Of what stands behind a process: changes and notable things, no routine.
bool worth_telling(const behaviour::ActionInfo& action) {
  return action.weight != behaviour::Weight::routine && action.name != "process_executed";
}

}  // namespace

std::size_t ProcessTree::node_for(const std::shared_ptr<const Process>& process) {
  std::size_t child = kNone;
  std::size_t result = kNone;
  const std::shared_ptr<const Process>* at = &process;
  for (int i = 0; i < kMaxAncestors && *at; ++i, at = &(*at)->parent) {
    const auto found = by_id_.find((*at)->entity_id);
    const bool known = found != by_id_.end();
    std::size_t index = known ? found->second : nodes_.size();
    if (!known) {
      if (nodes_.size() >= kMaxProcesses) return result;
      by_id_.emplace((*at)->entity_id, index);
      nodes_.emplace_back().image = *at;
    }
    if (i == 0) {
      nodes_[index].image = *at;
      result = index;
    } else if (child != index) {
      nodes_[child].parent = index;
      nodes_[index].children.push_back(child);
    }
    if (known) break;
    child = index;
  }
  return result;
}

void ProcessTree::add(const Event& event) {
  if (!event.process) return;
  const std::size_t index = node_for(event.process);
  if (index == kNone) {
    ++left_out_;
    return;
  }
  Node& node = nodes_[index];
  const Description d = describe(event);
  if (event.action == "process_exited") {
    node.ending = d.result;
    node.failed = d.result != "exit code 0";
  }
  const behaviour::ActionInfo* info = behaviour::find_action(event.action);
  if (info != nullptr && worth_telling(*info)) ++node.counts[d.words];
}

std::string ProcessTree::label(const Node& node, bool with_pid, bool color) const {
  const Style s = style(color);
  const Process& p = *node.image;
  std::string line = p.arguments.empty() ? process_name(p) : command_line(p);
  line = cut_to(std::move(line), kMaxLabel);
  if (with_pid) line += fmt::format(" {}[{}]{}", s.dim, p.pid, s.reset);
  if (node.failed) line += fmt::format("  {}{}{}", s.notable, node.ending, s.reset);
  std::string told;
  for (const auto& [words, count] : node.counts)
    told += fmt::format("{}{} {}", told.empty() ? "" : ", ", words, grouped(count));
  if (!told.empty()) line += fmt::format("  {}({}){}", s.dim, told, s.reset);
  return line;
}

/// How many siblings from `from` on are leaves that look the same.
std::size_t ProcessTree::fold(const std::vector<std::size_t>& siblings, std::size_t from) const {
  const Node& first = nodes_[siblings[from]];
  if (!first.children.empty()) return 1;
  const std::string look = label(first, false, false);
  std::size_t end = from + 1;
  while (end < siblings.size() && nodes_[siblings[end]].children.empty() &&
         label(nodes_[siblings[end]], false, false) == look)
    ++end;
  return end - from >= kFoldFrom ? end - from : 1;
}

std::string ProcessTree::render(bool color) const {
  const Style s = style(color);
  struct Level {
    const std::vector<std::size_t>* siblings;
    std::size_t next;
    std::size_t indent;  ///< bytes of `indentation` that stand before these siblings
  };
  std::vector<std::size_t> roots;
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].parent == kNone) roots.push_back(i);

  std::string out, indentation;
  std::vector<Level> stack{{&roots, 0, 0}};
  while (!stack.empty()) {
    Level& level = stack.back();
    indentation.resize(level.indent);
    if (level.next == level.siblings->size()) {
      stack.pop_back();
      continue;
    }
    const bool root = level.siblings == &roots;
    const Node& node = nodes_[(*level.siblings)[level.next]];
    const std::size_t alike = fold(*level.siblings, level.next);
    level.next += alike;
    const bool last = level.next == level.siblings->size();
    out += indentation;
    if (!root) out += last ? "└─ " : "├─ ";
    out += label(node, alike == 1, color);
    if (alike > 1) out += fmt::format(" {}× {}{}", s.dim, grouped(alike), s.reset);
    out += '\n';
    if (node.children.empty()) continue;
    if (!root && stack.size() < kMaxDepth) indentation += last ? "   " : "│  ";
    stack.push_back({&node.children, 0, indentation.size()});
  }
  if (left_out_ != 0)
    out += fmt::format("… and {} events of processes beyond the first {}\n", grouped(left_out_),
                       grouped(kMaxProcesses));
  return out;
}

namespace {

class TreeOutput final : public Output {
 public:
  TreeOutput(LineSink sink, TreeOptions options) : sink_(std::move(sink)), options_(options) {}

  Result<> write(const Event& event) override {
    if (options_.show_tree) tree_.add(event);
    return {};
  }
  Result<> flush() override { return sink_.flush(); }

  Result<> finish(const Summary& summary) override {
    std::string text;
    if (options_.show_tree) text = tree_.render(options_.color);
    if (options_.show_summary) {
      if (!text.empty()) text += '\n';
      text += render_summary(summary, options_);
    }
    if (Result<> written = sink_.write(text); !written) return written;
    return sink_.flush();
  }

 private:
  LineSink sink_;
  TreeOptions options_;
  ProcessTree tree_;
};

}  // namespace

std::unique_ptr<Output> make_tree_output(LineSink sink, TreeOptions options) {
  return std::make_unique<TreeOutput>(std::move(sink), options);
}

}  // namespace glasshook::output
