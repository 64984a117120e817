#include "monitor/module_oracle.h"

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
      options_(std::move(options)) {
  if (auto cache = linux_guest::PageCache::of(kernel)) cache_.emplace(*cache);
  if (cache_ && wants_modules())
    windows_ = std::make_unique<PeModules>(
        kernel, *cache_, hook::PeSelection(options_.selection, apis.windows()),
        [this](const hook::ModuleFunction& f) { return make_hook(f, hook::Abi::win64_user); });
}

void ModuleOracle::look_around() {
  const auto processes = windows_ ? linux_guest::processes(*kernel_)
                                  : linux_guest::Listing<linux_guest::ProcessInfo>{};
  if (!processes) return;
  for (const linux_guest::ProcessInfo& process : processes->items)
    if (!process.mm.is_null()) windows_->look_at(process.task, process.mm);
}

bool ModuleOracle::wants_modules() const {
  return !options_.selection.apis.empty() || !options_.selection.exports.empty();
}

PageSites ModuleOracle::answer(const PageQuestion& question) {
  const Gva task = task_of(question);
  const auto mm = kernel_->pointer(task, kernel_->layout().task.mm);
  if (!mm || mm->is_null()) {
    ++unresolved_;
    return {};
  }
  const PageSites* windows_sites = nullptr;
  if (windows_) {
    windows_->look_at(task, *mm);
    windows_sites = windows_->answer(task, *mm, question.address);
  }
  const CodePage page = linux_guest::code_page(*kernel_, *mm, question.address);
  switch (page.kind) {
    case CodePageKind::anonymous: {
      PageSites sites = windows_sites == nullptr ? PageSites{} : *windows_sites;
      sites.report_placements = options_.report_unbacked;
      return sites;
    }
    case CodePageKind::file:
    case CodePageKind::private_copy: {
      const Module& module = module_of(page, task);
      const PageSites* known =
          windows_sites != nullptr ? windows_sites : module.plan.page(page.file_offset / kPageSize);
      PageSites sites = known == nullptr ? PageSites{} : *known;
      sites.report_placements = module.memory_only && options_.report_unbacked;
      return sites;
    }
    case CodePageKind::vdso:
      return {};
    case CodePageKind::unknown:
      break;
  }
  ++unresolved_;
  return {};
}

const ModuleOracle::Module& ModuleOracle::module_of(const CodePage& page, Gva task) {
  const FileKey key = key_of(page);
  const auto known = modules_.find(key);
  if (known != modules_.end()) return known->second;
  if (modules_.size() >= kMaxModules) modules_.clear();
  const linux_guest::FilePath path =
      linux_guest::file_path(*kernel_, page.file, linux_guest::root_of(*kernel_, task));
  Module module;
  module.memory_only = is_memory_only(path);
  if (wants_modules()) module.plan = make_plan(page, path.text);
  return modules_.emplace(key, std::move(module)).first->second;
}

hook::ModulePlan ModuleOracle::make_plan(const CodePage& page, const std::string& path) {
  const auto mapping = kernel_->pointer(page.file, kernel_->layout().file.mapping);
  if (!cache_ || !mapping) {
    ++unresolved_;
    return {};
  }
  const auto source = std::make_shared<CachedFile>(*cache_, *mapping);
  if (windows::is_pe(*source)) return {};
  const auto module = elf::ElfModule::parse(source, elf::Layout::file);
  if (!module) {
    ++unresolved_;
    return {};
  }
  if (!module->incomplete().empty()) ++unresolved_;
  return hook::ModulePlan::make(
      *module, path, options_.selection, apis_.linux(),
      [this](const hook::ModuleFunction& f) { return make_hook(f, hook::Abi::sysv_user); });
}

std::optional<hypervisor::HookId> ModuleOracle::make_hook(const hook::ModuleFunction& function,
                                                          hook::Abi abi) {
  const api::Signature* signature = function.signature;
  if (signature == nullptr) {
    made_up_.push_back(unknown_signature(function.module, function.name));
    signature = &made_up_.back();
  }
  const bool windows = abi == hook::Abi::win64_user && apis_.windows() != nullptr;
  const api::Vocabulary& vocabulary = (windows ? *apis_.windows() : apis_.linux()).vocabulary();
  const auto programs =
      hook::compile_signature(*signature, vocabulary, abi, *target_,
                              {.returns = function.options.returns,
                               .rate_limiter = options_.limiter_of(function.options),
                               .errno_slot_delta = function.errno_slot_delta,
                               .errno_offset = function.errno_offset},
                              hooks_->next_id());
  if (!programs || !hooks_->add_user_api(*signature, vocabulary, *programs)) {
    ++unresolved_;
    return std::nullopt;
  }
  return programs->id;
}

}  // namespace glasshook::monitor
