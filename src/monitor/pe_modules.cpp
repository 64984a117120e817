#include "monitor/pe_modules.h"

#include <algorithm>

#include "guest/linux/path.h"
#include "guest/linux/process.h"
#include "monitor/cached_file.h"

namespace glasshook::monitor {

using linux_guest::MemoryArea;

void PeModules::look_at(Gva task, Gva mm) {
  if (linux_guest::user_gs_base(*kernel_, task).is_null()) return;
  const auto& layout = kernel_->layout();
  const auto leader = kernel_->pointer(task, layout.task.group_leader);
  const Seen now{
      .mappings = kernel_->read<std::int32_t>(mm, layout.mm.map_count).value_or(0),
      .start_time =
          leader ? kernel_->read<std::uint64_t>(*leader, layout.task.start_boottime).value_or(0)
                 : 0};
  if (looked_at_.size() >= kMaxProcesses) looked_at_.clear();
  const auto [seen, is_new] = looked_at_.try_emplace(mm.value, now);
  if (!is_new && now.mappings != 0 && seen->second == now) return;
  seen->second = now;

  const std::vector<Mapped> files = files_of(task, mm);
  for (const Mapped& mapped : files)
    if (const auto file = files_.find(mapped.key); file != files_.end() && file->second.incomplete)
      file->second.plan.look_again();
  // What one module leads to may be in another that was looked at before. The selection has a cap
  // and never holds a thing twice, so this ends.
  for (std::size_t before = ~std::size_t{0}; before != selection_.size();) {
    before = selection_.size();
    for (const Mapped& file : files) update(file);
  }
}

std::vector<PeModules::Mapped> PeModules::files_of(Gva task, Gva mm) {
  std::vector<Mapped> files;
  Gva last;
  for (const MemoryArea& area : linux_guest::file_areas(*kernel_, mm).items) {
    if (area.file == last) continue;
    last = area.file;
    const auto mapping = kernel_->pointer(area.file, kernel_->layout().file.mapping);
    if (!mapping || mapping->is_null() || !is_known(area, *mapping, task)) continue;
    const FileKey key = key_of(area);
    if (std::ranges::find(files, key, &Mapped::key) == files.end())
      files.push_back({key, *mapping});
  }
  return files;
}

bool PeModules::is_known(const MemoryArea& area, Gva mapping, Gva task) {
  const FileKey key = key_of(area);
  if (files_.contains(key)) return true;
  if (others_.contains(key)) return false;
  const CachedFile source(cache_, mapping);
  if (!source.read_value<std::uint16_t>(0)) return false;  // not in memory yet: ask again
  if (others_.size() >= kMaxFiles) others_.clear();
  if (!windows::is_pe(source)) {
    others_.insert(key);
    return false;
  }
  if (files_.size() >= kMaxFiles) files_.clear();
  const linux_guest::FilePath path =
      linux_guest::file_path(*kernel_, area.file, linux_guest::root_of(*kernel_, task));
  files_.emplace(key, File{.plan = hook::PePlan(windows::module_stem(path.text)), .answered = {}});
  return true;
}

void PeModules::update(const Mapped& mapped) {
  const auto found = files_.find(mapped.key);
  if (found == files_.end()) return;
  File& file = found->second;
  if (file.reads_left == 0 || !file.plan.is_behind(selection_)) return;
  const auto module = windows::PeModule::parse(std::make_shared<CachedFile>(cache_, mapped.mapping),
                                               windows::Layout::file);
  if (!module) {
    --file.reads_left;
    ++unresolved_;
    return;
  }
  file.incomplete = !module->incomplete().empty();
  if (file.incomplete && --file.reads_left == 0) ++unresolved_;
  for (const std::uint64_t page : file.plan.update(*module, selection_, maker_)) {
    if (file.answered.contains(page)) stale_ = true;
    note_content(module->image(), {.key = mapped.key, .page = page});
  }
  const std::lock_guard lock(notes_mutex_);
  for (const std::string& note : file.plan.notes())
    if (notes_.size() < kMaxNotes) notes_.insert(note);
}

std::vector<std::string> PeModules::notes() const {
  const std::lock_guard lock(notes_mutex_);
  return {notes_.begin(), notes_.end()};
}

void PeModules::note_content(const windows::Image& image, const PagePlace& place) {
  const std::uint64_t begin = place.page * kPageSize;
  const windows::Section* section = image.section_at(begin);
  if (contents_.size() >= kMaxContents || section == nullptr) return;
  // The loader fills the rest of the last page with zeros.
  std::vector<std::byte> content(kPageSize);
  const std::uint64_t in_file = section->rva + section->file_size;
  const std::uint64_t size = std::min(kPageSize, in_file > begin ? in_file - begin : 0);
  if (size > 0 && image.read(begin, std::span(content).first(size)))
    contents_.emplace(std::move(content), place);
}

std::optional<PeModules::PagePlace> PeModules::place_in_module(Gva mm, Gva address) const {
  // From the page downward to the headers: the areas of a module leave no gap.
  Gva at = address;
  for (int i = 0; i < kMaxAreas; ++i) {
    const auto area = linux_guest::area_at(*kernel_, mm, at);
    if (!area) return std::nullopt;
    if (!area->file.is_null() && area->file_offset == 0 && files_.contains(key_of(*area)))
      return PagePlace{key_of(*area), (address.value - area->start.value) / kPageSize};
    if (area->start < Gva{kPageSize}) return std::nullopt;
    at = area->start - 1;
  }
  return std::nullopt;
}

std::optional<PeModules::PagePlace> PeModules::place_by_content(Gpa page) const {
  std::vector<std::byte> content(kPageSize);
  if (!kernel_->memory().read(page, content)) return std::nullopt;
  const auto found = contents_.find(content);
  return found == contents_.end() ? std::nullopt : std::optional(found->second);
}

const hypervisor::PageSites* PeModules::answer(Gva task, Gva mm, Gva address, Gpa page) {
  if (linux_guest::user_gs_base(*kernel_, task).is_null()) return nullptr;
  auto place = place_in_module(mm, address);
  if (!place) place = place_by_content(page);
  const auto file = place ? files_.find(place->key) : files_.end();
  if (file == files_.end()) return nullptr;
  file->second.answered.insert(place->page);
  return file->second.plan.page(place->page);
}

}  // namespace glasshook::monitor
