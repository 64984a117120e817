// API calls from their records: entry and return joined, arguments decoded.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/call.h"
#include "behaviour/user_call.h"
#include "monitor/hook_set.h"
#include "monitor/process_table.h"

namespace glasshook::monitor {

/// A decoded call of a hook made from a signature.
struct TracedCall {
  behaviour::UserCall call;
  const ApiHook& hook;
  std::uint32_t shown_depth = 0;  ///< calls around it that the user named
  bool is_entry = false;          ///< it begins; what it returns is told later
};

/// Turns the records of such hooks into calls. A call is told when it returns, or when its process
/// ends without that. Used from one thread.
class ApiTracer {
 public:
  using Tell = std::function<void(const TracedCall&)>;
  /// Calls awaited at once; the oldest beyond are told as not returned.
  static constexpr std::size_t kMaxPending = 65'536;

  explicit ApiTracer(Tell tell) : tell_(std::move(tell)) {}

  /// Who made the call, and when.
  struct Origin {
    using Time = std::chrono::system_clock::time_point;
    Time time;
    ProcessPtr process;
    std::uint32_t thread_id = 0;
  };

  /// A hook's record. `at_entry`: the call is also told when it begins.
  void on_record(const ApiHook& hook, bool at_entry, const capture::RecordView& record,
                 const Origin& origin);
  /// Tells the calls of that process as not returned.
  void on_process_exit(const ProcessPtr& process);
  /// The process runs another image: tells its calls of user-mode functions as not returned.
  void on_process_executed(const ProcessPtr& process);
  /// The function is no longer hooked: tells its calls as not returned.
  void on_hook_removed(const api::Signature& signature);
  /// Tells all calls still awaited.
  void finish();

  /// Exit records without their entry, and entries given up for lack of room.
  [[nodiscard]] std::uint64_t unjoined() const { return unjoined_; }

 private:
  struct Depth {
    std::uint32_t all = 0;
    std::uint32_t shown = 0;  ///< of what the user named
  };
  struct Pending {
    std::uint64_t call = 0;
    ApiHook hook;
    std::vector<std::byte> entry;
    Origin origin;
    Depth depth = {};
  };
  using PendingList = std::list<Pending>;

  const Pending& remember(const ApiHook& hook, const capture::RecordView& record,
                          const Origin& origin);
  void tell(const Pending& pending, const capture::RecordView& entry,
            const capture::RecordView* exit, Origin::Time ended, bool is_entry = false);
  void tell_unreturned(PendingList::iterator pending);
  template <class Condition>
  void tell_unreturned_if(Condition&& condition);
  void forget(PendingList::iterator pending);

  Tell tell_;
  PendingList pending_;  ///< oldest first
  std::unordered_map<std::uint64_t, PendingList::iterator> by_call_;
  std::unordered_map<std::uint64_t, Depth> depth_;  ///< open calls by process and thread
  std::uint64_t unjoined_ = 0;
};

}  // namespace glasshook::monitor
