// State that belongs to one program run: forgotten when the process executes another or ends.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>

#include "behaviour/event.h"

namespace glasshook::behaviour {

/// A T for every living program image. Memory is bounded: with kMost processes all is forgotten.
template <class T>
class PerImage {
 public:
  static constexpr std::size_t kMost = 20'000;

  /// The state of this image, new when the process runs another image than last time.
  T& of(const std::shared_ptr<const Process>& process) {
    if (states_.size() >= kMost && !states_.contains(process->entity_id)) states_.clear();
    Entry& entry = states_[process->entity_id];
    if (entry.image != process) entry = Entry{process, T{}};
    return entry.state;
  }

  [[nodiscard]] const T* find(const Process& process) const {
    const auto found = states_.find(process.entity_id);
    return found == states_.end() ? nullptr : &found->second.state;
  }

  void forget(const Process& process) { states_.erase(process.entity_id); }

 private:
  struct Entry {
    std::shared_ptr<const Process> image;
    T state;
  };
  std::unordered_map<std::string, Entry> states_;
};

}  // namespace glasshook::behaviour
