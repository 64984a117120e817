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
#include "behaviour/event.h"
#include "monitor/process_table.h"

namespace glasshook::monitor {

/// Turns the records of user-chosen hooks (`-e`) into api_called events. A call is told when it
/// returns, or when its process ends without that. Used from one thread.
class ApiTracer {
 public:
  using Emit = std::function<void(behaviour::Event)>;
  /// Calls awaited at once; the oldest beyond are told as not returned.
  static constexpr std::size_t kMaxPending = 65'536;

  explicit ApiTracer(Emit emit) : emit_(std::move(emit)) {}

  /// Who made the call, and when.
  struct Origin {
    std::chrono::system_clock::time_point time;
    ProcessPtr process;
    std::uint32_t thread_id = 0;
  };

  /// What a hook's records are about. Both outlive the tracer.
  struct Api {
    const api::Signature& signature;
    const api::Vocabulary& vocabulary;
  };
  /// A hook's record. `awaits_return`: an exit record will follow for entries.
  void on_record(const Api& api, bool awaits_return, const capture::RecordView& record,
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
  struct Pending {
    std::uint64_t call = 0;
    Api api;
    std::vector<std::byte> entry;
    Origin origin;
    std::uint32_t depth = 0;
  };
  using PendingList = std::list<Pending>;

  void remember(const Api& api, const capture::RecordView& record, const Origin& origin);
  void tell(const Api& api, const capture::RecordView* entry, const capture::RecordView* exit,
            const Origin& origin, std::uint32_t depth, std::chrono::nanoseconds duration);
  void tell_unreturned(PendingList::iterator pending);
  template <class Condition>
  void tell_unreturned_if(Condition&& condition);
  void forget(PendingList::iterator pending);
  [[nodiscard]] const std::vector<std::string>& argument_names(const api::Signature& signature);

  Emit emit_;
  PendingList pending_;  ///< oldest first
  std::unordered_map<std::uint64_t, PendingList::iterator> by_call_;
  std::unordered_map<std::uint64_t, std::uint32_t> depth_;  ///< open calls by process and thread
  std::unordered_map<const api::Signature*, std::vector<std::string>> names_;
  std::uint64_t unjoined_ = 0;
};

}  // namespace glasshook::monitor
