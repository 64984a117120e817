#include "monitor/process_table.h"

#include <fmt/format.h>

#include <utility>

namespace glasshook::monitor {

using behaviour::Process;

namespace {

ProcessKey key_of(const Process& process) {
  return {.pid = process.pid, .start_time = process.start_time};
}

}  // namespace

std::string ProcessTable::entity_id(const ProcessKey& key) const {
  return fmt::format("{}-{:x}-{}", host_id_, key.start_time, key.pid);
}

ProcessPtr ProcessTable::store(Process process) {
  const ProcessKey key = key_of(process);
  process.entity_id = entity_id(key);
  auto shared = std::make_shared<const Process>(std::move(process));
  processes_[key] = shared;
  latest_[key.pid] = key;
  return shared;
}

ProcessPtr ProcessTable::add(Process process) { return store(std::move(process)); }

ProcessPtr ProcessTable::resolve(const Actor& actor) {
  if (actor.task == 0) return nullptr;
  const auto known = processes_.find(actor.key);
  if (known != processes_.end()) return known->second;
  Process process;
  if (auto read = reader_(actor.task); read && key_of(*read) == actor.key)
    process = std::move(*read);
  process.pid = actor.key.pid;
  process.start_time = actor.key.start_time;
  return store(std::move(process));
}

ProcessPtr ProcessTable::forked(const ProcessPtr& parent, std::uint64_t child_task, Process child) {
  child.parent = parent;
  if (!parent)
    if (auto read = reader_(child_task); read && key_of(*read) == key_of(child))
      child = std::move(*read);
  return store(std::move(child));
}

ProcessPtr ProcessTable::executed(const ProcessPtr& process, Process image) {
  if (process) {
    image.pid = process->pid;
    image.start_time = process->start_time;
    image.parent = process->parent;
    if (image.namespace_pid == 0) image.namespace_pid = process->namespace_pid;
  }
  return store(std::move(image));
}

void ProcessTable::moved(const ProcessKey& key, const std::string& container_id) {
  const auto known = processes_.find(key);
  if (known == processes_.end() || known->second->container_id == container_id) return;
  Process process = *known->second;
  process.container_id = container_id;
  known->second = std::make_shared<const Process>(std::move(process));
}

void ProcessTable::exited(const ProcessPtr& process) {
  if (!process) return;
  gone_.push_back(key_of(*process));
  if (gone_.size() <= kMaxGone) return;
  const ProcessKey oldest = gone_.front();
  gone_.pop_front();
  processes_.erase(oldest);
  const auto latest = latest_.find(oldest.pid);
  if (latest != latest_.end() && latest->second == oldest) latest_.erase(latest);
}

ProcessPtr ProcessTable::by_pid(std::uint32_t pid) const {
  const auto latest = latest_.find(pid);
  if (latest == latest_.end()) return nullptr;
  const auto it = processes_.find(latest->second);
  return it == processes_.end() ? nullptr : it->second;
}

}  // namespace glasshook::monitor
