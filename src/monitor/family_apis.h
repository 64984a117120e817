// Which behaviour families want the calls of which functions in user mode.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "api/guest_apis.h"
#include "behaviour/family.h"
#include "hook/selector.h"

namespace glasshook::monitor {

/// Filled before watching begins, then only read.
class FamilyApis {
 public:
  /// Adds what `family` asks for; it is borrowed, as are the signatures. What there is no signature
  /// for, for people.
  [[nodiscard]] std::vector<std::string> add(behaviour::Family& family, const api::GuestApis& apis);

  [[nodiscard]] const hook::Selection& selection() const { return selection_; }
  /// True when a family wants to know when such a call begins.
  [[nodiscard]] bool at_entry(const api::Signature* wanted) const;
  /// Tells a call to the families that want the function `call.as`.
  void tell(const behaviour::UserCall& call, bool is_entry, behaviour::Context& context) const;

 private:
  struct Subscriber {
    behaviour::Family* family = nullptr;
    bool at_entry = false;
  };

  using Subscribers = std::vector<Subscriber>;
  static void subscribe(Subscribers& subscribers, behaviour::Family& family, bool at_entry);
  [[nodiscard]] const Subscribers* subscribers_of(const api::Signature& wanted) const;

  hook::Selection selection_;
  std::unordered_map<const api::Signature*, Subscribers> subscribers_;
  std::unordered_map<std::string, Subscribers> exports_;  ///< without signature, by "module!name"
};

}  // namespace glasshook::monitor
