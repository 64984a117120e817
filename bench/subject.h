// A VM in which work is measured: unwatched, or watched in one way.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/guest_apis.h"
#include "behaviour/family.h"
#include "machine/guest.h"
#include "monitor/session.h"

namespace glasshook::bench {

enum class Plugin : std::uint8_t { none, empty, probe };

/// One way to watch.
struct Case {
  const char* name;
  Plugin plugin = Plugin::none;
  std::optional<std::vector<std::string>> behaviours = std::nullopt;  ///< none: no monitor
  std::vector<std::string> apis = {};                                 ///< as behind -e
  std::string prepared_by = "true";      ///< a line of the guest's shell, run once
  std::vector<std::string> run_by = {};  ///< a command that runs the one behind it
  monitor::FamilyMaker more_families = {};
};

struct Workload {
  std::string name;
  std::vector<std::string> command;  ///< in the guest; the programs of bench/programs are beside
};

/// What one run of a workload took.
struct Taken {
  double cpu_seconds = 0;      ///< processor time of the vCPU's thread on the host
  double monitor_seconds = 0;  ///< processor time of this process, which is the monitor
  double wall_seconds = 0;
  std::uint64_t events = 0;
  std::map<std::string, std::uint64_t> actions = {};  ///< event.action of those
};

/// A VM of one case. It lives through all rounds, idle while the others work.
class Subject {
 public:
  /// In that guest; the signatures are borrowed.
  static Result<std::unique_ptr<Subject>> start(const char* guest, const Case& c,
                                                const api::GuestApis& apis);

  Result<Taken> run(const Workload& workload);
  /// Each round of a program that makes the rounds itself, as many as its last argument says, and
  /// prints a line before and after each.
  Result<std::vector<Taken>> run_rounds(const Workload& workload, int rounds);

 private:
  Subject(machine::Guest guest, machine::GuestProfile profile)
      : guest_(std::move(guest)), profile_(std::move(profile)) {}

  Result<> prepare(const Case& c);
  Result<> watch(const Case& c, const api::GuestApis& apis);
  void count(const behaviour::Event& event);
  Result<> find_vcpu();
  [[nodiscard]] double vcpu_seconds() const;
  [[nodiscard]] Taken so_far() const;
  Result<> begin(const std::vector<std::string>& command);
  Result<> wait();

  machine::Guest guest_;
  machine::GuestProfile profile_;
  std::vector<std::string> run_by_;
  std::unique_ptr<monitor::Session> session_;
  std::string statistics_;
  std::uint64_t events_ = 0;
  std::map<std::string, std::uint64_t> actions_;
  std::vector<Taken> lines_;  ///< so_far() when each line of output came
};

}  // namespace glasshook::bench
