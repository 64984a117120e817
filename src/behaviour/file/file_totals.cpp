#include "behaviour/file/file_totals.h"

#include <algorithm>
#include <iterator>

#include "behaviour/support.h"

namespace glasshook::behaviour {

FileTotals::OfProcess& FileTotals::find_or_add(const Actor& actor, const Operation& operation,
                                               const std::string& path, Context& context) {
  const ProcessKey& key = actor.key;
  Users& users = files_[operation.file];
  const auto found = std::ranges::find(users, key, &OfProcess::key);
  if (found != users.end() && found->inode == operation.inode) return *found;
  // The address can belong to another file now.
  if (found != users.end()) tell(take(operation.file, users, found), actor.time, context);
  ++held_;
  files_of_[key].insert(operation.file);
  OfProcess& user = users.emplace_back();
  user.key = key;
  user.inode = operation.inode;
  user.path = path;
  user.unresolved_handle = operation.unresolved_handle;
  return user;
}

FileTotals::OfProcess FileTotals::take(std::uint64_t file, Users& users, Users::iterator user) {
  OfProcess taken = std::move(*user);
  users.erase(user);
  --held_;
  const auto of = files_of_.find(taken.key);
  of->second.erase(file);
  if (of->second.empty()) files_of_.erase(of);
  return taken;
}

void FileTotals::count(const Actor& actor, const Operation& operation, const std::string& path,
                       Context& context) {
  if (held_ >= kMost) tell_all(actor.time, context);
  OfProcess& user = find_or_add(actor, operation, path, context);
  user.process = actor.process;
  user.thread_id = actor.thread_id;
  user.size = operation.size;
  (operation.write ? user.written : user.read).count(operation.bytes, actor.time);
}

void FileTotals::closed(std::uint64_t file, Time now, Context& context) {
  const auto found = files_.find(file);
  if (found == files_.end()) return;
  Users closing;
  while (!found->second.empty())
    closing.push_back(take(file, found->second, std::prev(found->second.end())));
  files_.erase(found);
  tell_in_order(std::move(closing), now, context);
}

void FileTotals::process_exited(const Process& process, Time now, Context& context) {
  const auto of = files_of_.find(key_of(process));
  if (of == files_of_.end()) return;
  const std::unordered_set<std::uint64_t> files = of->second;
  Users gone;
  for (const std::uint64_t file : files) {
    const auto found = files_.find(file);
    const auto user = std::ranges::find(found->second, key_of(process), &OfProcess::key);
    gone.push_back(take(file, found->second, user));
    if (found->second.empty()) files_.erase(found);
  }
  tell_in_order(std::move(gone), now, context);
}

void FileTotals::tell_all(Time now, Context& context) {
  Users all;
  for (auto& [file, users] : files_) std::ranges::move(users, std::back_inserter(all));
  files_.clear();
  files_of_.clear();
  held_ = 0;
  tell_in_order(std::move(all), now, context);
}

void FileTotals::tell_in_order(Users users, Time now, Context& context) {
  const auto last = [](const OfProcess& user) {
    return std::max(user.read.last, user.written.last);
  };
  std::ranges::sort(users, {}, last);
  for (const OfProcess& user : users) tell(user, now, context);
}

void FileTotals::tell(const OfProcess& user, Time now, Context& context) {
  for (const Totals* totals : {&user.read, &user.written}) {
    if (totals->empty()) continue;
    Event event = make_event(totals == &user.read ? "file_read" : "file_written");
    event.process = user.process;
    event.thread_id = user.thread_id;
    event.time = now;
    add_known(event, "file.path", user.path);
    if (user.inode) add(event, "file.inode", std::to_string(*user.inode));
    if (user.size) add_number(event, "file.size", *user.size);
    add_flag(event, "glasshook.handle.unresolved", !user.unresolved_handle.empty());
    add_known(event, "glasshook.handle.value", user.unresolved_handle);
    add_totals(event, *totals);
    context.emit(std::move(event));
  }
}

}  // namespace glasshook::behaviour
