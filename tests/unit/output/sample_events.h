// Events for the output tests: one of every shape that families make.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "behaviour/actions.h"

namespace glasshook::output::testing {

using behaviour::Event;
using behaviour::Process;

inline std::shared_ptr<const Process> sample_process(
    std::string name, std::uint32_t pid, std::vector<std::string> arguments,
    std::shared_ptr<const Process> parent = nullptr) {
  auto p = std::make_shared<Process>();
  p->pid = pid;
  p->name = name;
  p->entity_id = "id-" + std::to_string(pid);
  p->executable = "/usr/bin/" + name;
  p->arguments = std::move(arguments);
  p->user_id = 1000;
  p->working_directory = "/root";
  p->parent = std::move(parent);
  return p;
}

inline Event sample_event(std::string_view action, std::shared_ptr<const Process> process,
                          std::vector<behaviour::Field> fields = {}) {
  Event e = behaviour::make_event(action);
  e.time =
      std::chrono::system_clock::time_point{std::chrono::nanoseconds{1'764'000'000'123'456'789}};
  e.sequence = 7;
  e.thread_id = process ? process->pid : 0;
  e.process = std::move(process);
  e.fields = std::move(fields);
  return e;
}

}  // namespace glasshook::output::testing
