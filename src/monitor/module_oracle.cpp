#include "monitor/module_oracle.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/linux/memory_map.h"
#include "guest/linux/path.h"
#include "guest/linux/process.h"
#include "hook/signature_compiler.h"
#include "monitor/cached_file.h"

namespace glasshook::monitor {

using hypervisor::PageQuestion;
using hypervisor::PageSites;
using linux_guest::CodePage;
using linux_guest::CodePageKind;

namespace {

/// The running task, as the context program wrote it into the question.
Gva task_of(const PageQuestion& question) {
  capture::RecordView record;
  if (!capture::RecordView::parse(question.context, record)) return {};
  const capture::FieldView* context = record.find(hook::kContextField);
  return context == nullptr ? Gva{} : Gva{context->word(hook::kContextTask)};
}

/// Shared anonymous memory and memfds look like files, but no directory ever held them
/// (mm/shmem.c: shmem_zero_setup, shmem_kernel_file_setup).
bool is_memory_only(const linux_guest::FilePath& path) {
  return (path.deleted && path.text == "/dev/zero") || path.text.starts_with("/memfd:") ||
         path.text.starts_with("memfd:");
}

/// What is shown of an export without a signature: its first four argument registers.
api::Signature unknown_signature(const std::string& module, const std::string& name) {
  api::Signature signature;
  signature.module = module;
  signature.name = name;
  signature.category = "other";
  for (const char* parameter : {"arg0", "arg1", "arg2", "arg3"})
    signature.parameters.push_back({.name = parameter, .type = {}});
  return signature;
}

}  // namespace

ModuleOracle::ModuleOracle(hypervisor::Hypervisor& hypervisor,
                           const linux_guest::LinuxKernel& kernel, const api::GuestApis& apis,
                           const hook::Target& target, HookSet& hooks, Options options)
    : hypervisor_(&hypervisor),
      kernel_(&kernel),
      apis_(apis),
      target_(&target),
      hooks_(&hooks),
      options_(std::move(options)),
      make_hook_([this](const hook::ModuleFunction& function) {
        return make_hook(function, hook::Abi::sysv_user);
      }) {
  if (auto cache = linux_guest::PageCache::of(kernel)) cache_.emplace(*cache);
  plan_windows();
}

void ModuleOracle::plan_windows() {
  windows_.reset();
  if (!cache_ || !wants_modules()) return;
  windows_ = std::make_unique<PeModules>(
      *kernel_, *cache_, hook::PeSelection(options_.selection, apis_.windows()),
      [this](const hook::ModuleFunction& function) { return make_windows_hook(function); });
}

std::optional<hypervisor::HookId> ModuleOracle::make_windows_hook(
    const hook::ModuleFunction& function) {
  if (function.also) {
    hooks_->set_audience(*function.also, described(function), function.audience, true);
    return function.also;
  }
  const auto [first, last] = windows_hooks_.equal_range(function.address);
  for (auto known = first; known != last; ++known)
    if (known->second.function == function) return known->second.id;
  const auto id = make_hook(function, hook::Abi::win64_user);
  if (id) windows_hooks_.emplace(function.address, WindowsHook{function, *id});
  return id;
}

void ModuleOracle::drop_windows_hooks(std::vector<hypervisor::HookId>& dropped) {
  for (auto hook = windows_hooks_.begin(); hook != windows_hooks_.end();) {
    auto& [function, id] = hook->second;
    const auto still = std::ranges::find_if(options_.selection.apis, [&](const auto& api) {
      return function.signature != nullptr && api.signature == function.signature &&
             api.options == function.options;
    });
    if (still == options_.selection.apis.end()) {
      dropped.push_back(id);
      hook = windows_hooks_.erase(hook);
      continue;
    }
    function.audience = still->audience;
    hooks_->set_audience(id, *function.signature, still->audience, false);
    ++hook;
  }
}

void ModuleOracle::look_around() {
  const std::lock_guard lock(mutex_);
  const auto processes = windows_ ? linux_guest::processes(*kernel_)
                                  : linux_guest::Listing<linux_guest::ProcessInfo>{};
  if (!processes) return;
  for (const linux_guest::ProcessInfo& process : processes->items)
    if (!process.mm.is_null()) windows_->look_at(process.task, process.mm);
}

bool ModuleOracle::wants_modules() const {
  return !options_.selection.apis.empty() || !options_.selection.exports.empty();
}

std::vector<hypervisor::HookId> ModuleOracle::select(hook::Selection selection) {
  const std::lock_guard lock(mutex_);
  options_.selection = std::move(selection);
  std::vector<hypervisor::HookId> dropped;
  sites_of_content_.clear();
  for (auto& [key, module] : modules_)
    module.known.replan(options_.selection, apis_.linux(), dropped);
  // An export of one Windows module may lead to any other: they are planned anew together.
  drop_windows_hooks(dropped);
  plan_windows();
  return dropped;
}

PageSites ModuleOracle::answer(const PageQuestion& question) {
  const std::lock_guard lock(mutex_);
  const Gva task = task_of(question);
  const auto mm = kernel_->pointer(task, kernel_->layout().task.mm);
  CodePage page;
  PageSites sites;
  const PageSites* windows_sites = nullptr;
  if (mm && !mm->is_null()) {
    if (windows_) {
      windows_->look_at(task, *mm);
      windows_sites = windows_->answer(task, *mm, question.address, question.page);
    }
    page = linux_guest::code_page(*kernel_, *mm, question.address);
  }
  switch (page.kind) {
    case CodePageKind::anonymous:
      if (windows_sites != nullptr) sites = *windows_sites;
      sites.report_placements = options_.report_unbacked;
      break;
    case CodePageKind::file:
    case CodePageKind::private_copy:
      sites = file_page(page, task, question, windows_sites);
      break;
    case CodePageKind::vdso:
      break;
    case CodePageKind::unknown:
      sites.ask_again = true;
      break;
  }
  const bool is_copy = windows_sites == nullptr && page.kind != CodePageKind::file;
  follow_copies(question.content_hash, is_copy, sites);
  if (page.kind != CodePageKind::unknown)
    unknown_pages_.erase(question.content_hash);
  else if (unknown_pages_.size() < kMaxUnknown)
    unknown_pages_.insert(question.content_hash);
  count();
  return sites;
}

void ModuleOracle::follow_copies(std::uint64_t content_hash, bool is_copy, PageSites& sites) {
  if (is_copy) {
    const auto known = sites_of_content_.find(content_hash);
    if (known == sites_of_content_.end()) return;
    sites.entries = known->second.entries;
    sites.returns = known->second.returns;
  } else if (!sites.entries.empty() || !sites.returns.empty()) {
    if (sites_of_content_.size() >= kMaxCopies) sites_of_content_.clear();
    sites_of_content_.insert_or_assign(content_hash, sites);
  }
}

PageSites ModuleOracle::file_page(const CodePage& page, Gva task, const PageQuestion& question,
                                  const PageSites* windows_sites) {
  const auto mapping = kernel_->pointer(page.file, kernel_->layout().file.mapping);
  const auto file = cache_ && mapping ? std::make_shared<CachedFile>(*cache_, *mapping) : nullptr;
  Module& module = module_of(page, task, file);
  PageSites sites;
  if (windows_sites != nullptr)
    sites = *windows_sites;
  else if (wants_modules() && file)
    sites = module.known.sites(page.file_offset / kPageSize, file, wanted());
  sites.report_placements =
      options_.report_unbacked &&
      (module.memory_only || (page.kind == CodePageKind::private_copy && file &&
                              find_change(page, question, module, *file, sites)));
  note_completeness(module, !wants_modules() || (file && module.known.is_complete()));
  return sites;
}

void ModuleOracle::note_completeness(Module& module, bool complete) {
  incomplete_modules_ +=
      static_cast<std::uint64_t>(!complete) - static_cast<std::uint64_t>(module.incomplete);
  module.incomplete = !complete;
}

ModuleOracle::FilePlan ModuleOracle::plan_file(Gva mapping, Gva file) {
  const std::lock_guard lock(mutex_);
  const auto inode = cache_ ? cache_->inode(mapping) : std::nullopt;
  if (!inode || !wants_modules()) return {};
  const linux_guest::InodeId id = linux_guest::inode_id(*kernel_, *inode);
  const auto content = std::make_shared<CachedFile>(*cache_, mapping);
  CodePage page;
  page.kind = CodePageKind::file;
  page.file = file;
  page.inode = id.number;
  page.device_major = id.device_major;
  page.device_minor = id.device_minor;
  Module& module = module_of(page, {}, content);
  FilePlan plan;
  if (const auto* pages = module.known.all_sites(content, wanted())) plan.pages = *pages;
  plan.complete = module.known.is_complete();
  note_completeness(module, plan.complete);
  count();
  return plan;
}

bool ModuleOracle::find_change(const CodePage& page, const PageQuestion& question,
                               const Module& module, const GrowingFile& file,
                               const PageSites& sites) {
  // Windows modules are copied and relocated by their loader.
  std::array<std::byte, 4> magic{};
  if (!file.read(0, magic) || std::memcmp(magic.data(),
                                          "\x7f"
                                          "ELF",
                                          magic.size()) != 0)
    return false;
  std::array<std::byte, kPageSize> original, now;
  if (!file.read(page.file_offset, original) || !kernel_->memory().read(question.page, now)) {
    ++uncompared_;
    return false;
  }
  std::vector<NamedEntry> entries;
  for (const hypervisor::EntrySite& entry : sites.entries)
    if (const auto hook = hooks_->find(entry.hook.value))
      entries.push_back({.offset = entry.offset, .name = hook->name});
  auto change = compare_code(original, now, question.address.page(), entries);
  if (!change) return false;
  change->path = module.known.path();
  changes_.put(question.page, question.content_hash, std::move(*change));
  return true;
}

ModuleOracle::Module& ModuleOracle::module_of(const CodePage& page, Gva task,
                                              const std::shared_ptr<GrowingFile>& file) {
  std::vector<std::byte> head;
  if (file && wants_modules()) {
    head.resize(std::min(kPageSize, file->size()));
    if (!file->read(0, head)) head.clear();
  }
  const FileKey key{page.device_major, page.device_minor, page.inode};
  if (const auto known = modules_.find(key); known != modules_.end()) {
    if (head.empty() || known->second.head == head) return known->second;
    incomplete_modules_ -= static_cast<std::uint64_t>(known->second.incomplete);
    modules_.erase(known);
  }
  if (modules_.size() >= kMaxModules) {
    modules_.clear();
    incomplete_modules_ = 0;
  }
  const linux_guest::FilePath path =
      linux_guest::file_path(*kernel_, page.file, linux_guest::root_of(*kernel_, task));
  return modules_
      .emplace(key, Module{.known = KnownModule(path.text),
                           .head = std::move(head),
                           .memory_only = is_memory_only(path)})
      .first->second;
}

void ModuleOracle::count() {
  unresolved_ = unknown_pages_.size() + incomplete_modules_ + failed_hooks_ + uncompared_;
}

const api::Signature& ModuleOracle::described(const hook::ModuleFunction& function) {
  if (function.signature != nullptr) return *function.signature;
  return made_up_.emplace_back(unknown_signature(function.module, function.name));
}

std::optional<hypervisor::HookId> ModuleOracle::make_hook(const hook::ModuleFunction& function,
                                                          hook::Abi abi) {
  if (function.is_unix_half) abi = hook::Abi::win64_user;
  const api::Signature* signature = &described(function);
  const bool windows = abi == hook::Abi::win64_user && apis_.windows() != nullptr;
  const api::Vocabulary& vocabulary = (windows ? *apis_.windows() : apis_.linux()).vocabulary();
  const auto programs =
      hook::compile_signature(*signature, vocabulary, abi, *target_,
                              {.returns = function.options.returns,
                               .rate_limiter = options_.limiter_of(function.options),
                               .errno_slot_delta = function.errno_slot_delta,
                               .errno_offset = function.errno_offset},
                              hooks_->next_id());
  if (!programs || !hooks_->add_user_api(*signature, vocabulary, function.audience, *programs)) {
    ++failed_hooks_;
    return std::nullopt;
  }
  return programs->id;
}

}  // namespace glasshook::monitor
