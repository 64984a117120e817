#include "monitor/module_finder.h"

#include <algorithm>
#include <utility>

#include "guest/linux/process.h"

namespace glasshook::monitor {

Result<ModuleFinder> ModuleFinder::create(hypervisor::Hypervisor& hypervisor,
                                          const linux_guest::LinuxKernel& kernel,
                                          PlanFile plan_file, PlacePage place_page) {
  const auto cache = linux_guest::PageCache::of(kernel);
  if (!cache) return std::unexpected(cache.error());
  return ModuleFinder(hypervisor, kernel, std::move(plan_file), std::move(place_page), *cache);
}

Result<> ModuleFinder::look_around() {
  for (auto& [mapping, file] : files_) file.plan = plan_file_(mapping, file.file);
  const auto processes = linux_guest::processes(*kernel_);
  if (!processes) return std::unexpected(processes.error());
  for (const linux_guest::ProcessInfo& process : processes->items) {
    if (process.mm.is_null()) continue;
    for (const linux_guest::MemoryArea& area :
         linux_guest::file_areas(*kernel_, process.mm).items) {
      if (!area.executable) continue;
      if (const auto mapping = kernel_->pointer(area.file, kernel_->layout().file.mapping))
        on_mapping(area.file, *mapping);
    }
  }
  looked_ = {};
  return look();
}

linux_guest::InodeId ModuleFinder::inode_of(Gva mapping) const {
  const auto inode = cache_.inode(mapping);
  return inode ? linux_guest::inode_id(*kernel_, *inode) : linux_guest::InodeId{};
}

void ModuleFinder::on_mapping(Gva file, Gva mapping) {
  // The record may be older than what lies there now.
  if (kernel_->pointer(file, kernel_->layout().file.mapping) != mapping) return;
  const linux_guest::InodeId inode = inode_of(mapping);
  const auto known = files_.find(mapping);
  if (known != files_.end() && known->second.inode == inode) return;
  if (known == files_.end() && files_.size() >= kMaxFiles)
    std::erase_if(files_, [](const auto& item) { return !item.second.matters(); });
  if (known == files_.end() && files_.size() >= kMaxFiles) {
    ++unresolved_;
    return;
  }
  File& added = files_[mapping];
  added.file = file;
  added.inode = inode;
  added.plan = plan_file_(mapping, file);
  on_page_in();
}

Result<> ModuleFinder::let_go(Gva mapping, File& file) {
  const bool still = inode_of(mapping) == file.inode;
  const bool any = !file.placed.empty();
  for (auto placed = file.placed.begin(); placed != file.placed.end();) {
    const auto& [page, hooked] = *placed;
    if (still && file.plan.pages.contains(page) &&
        cache_.find_clean(mapping, page) == hooked.where) {
      ++placed;
      continue;
    }
    if (auto done = hypervisor_->place(hooked.where, {}); !done) return done;
    changed_ = true;
    placed = file.placed.erase(placed);
  }
  if (!still) file.plan = {};
  if (any && file.placed.empty()) return hypervisor_->set_remove(kHookedFilesSet, mapping.value);
  return {};
}

Result<> ModuleFinder::place(Gva mapping, File& file) {
  for (const auto& [page, sites] : file.plan.pages) {
    const auto hooked = file.placed.find(page);
    if (hooked != file.placed.end() && hooked->second.sites == sites) continue;
    const auto where = cache_.find_clean(mapping, page);
    if (!where) continue;
    // Before its code is changed.
    if (file.placed.empty())
      if (auto added = hypervisor_->set_add(kHookedFilesSet, mapping.value); !added) return added;
    const auto done = place_page_(*where, sites);
    if (!done && done.error().code == ErrorCode::guest_fault) continue;  // it is gone again
    if (!done) return done;
    file.placed[page] = {.where = *where, .sites = sites};
    changed_ = true;
  }
  return {};
}

Result<> ModuleFinder::look() {
  if (until_next_look().count() > 0) return {};
  looked_ = Clock::now();
  // All of these first: a page that one file has left may be another's by now.
  for (auto& [mapping, file] : files_)
    if (file.matters())
      if (auto done = let_go(mapping, file); !done) return done;
  for (auto& [mapping, file] : files_) {
    if (!file.plan.complete) file.plan = plan_file_(mapping, file.file);
    if (auto done = place(mapping, file); !done) return done;
  }
  if (!std::exchange(changed_, false)) return {};
  return hypervisor_->commit();
}

std::chrono::milliseconds ModuleFinder::until_next_look() const {
  const auto now = Clock::now();
  const auto due = looked_ + (now < busy_until_ ? kOften : kSeldom);
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(due - now),
                  std::chrono::milliseconds{0});
}

}  // namespace glasshook::monitor
