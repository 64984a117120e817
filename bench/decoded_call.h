// The monitor's part of a hooked call, for measuring what it costs: two records become an event.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "api/catalogue.h"
#include "hook/fake_kernel.h"
#include "hook/signature_compiler.h"
#include "monitor/api_events.h"

namespace glasshook::monitor {

/// open("/home/...", O_RDONLY | O_CLOEXEC) of a C library, which returns 3: its records as a probe
/// makes them.
class DecodedCall {
 public:
  DecodedCall() : catalogue_(api::ApiCatalogue::load(GLASSHOOK_SOURCE_ROOT "/apis/linux").value()) {
    hook_.signature = hook_.shown = catalogue_.find("libc", "open");
    hook_.vocabulary = &catalogue_.vocabulary();
    hook_.awaits_return = true;
    process_->entity_id = "a process";
    hook::test::FakeKernel kernel;
    const auto programs = hook::compile_signature(*hook_.signature, *hook_.vocabulary,
                                                  hook::Abi::sysv_user, kernel.target(), {}, {1})
                              .value();
    kernel.cpu.user_mode = true;
    kernel.arguments(
        {kernel.user_text(8, "/home/user/documents/letters/to-whom-it-may-concern.txt"), 02000000,
         0});
    entry_ = record_of(kernel, programs.entry, capture::RecordKind::entry);
    kernel.cpu.gpr[0] = 3;
    exit_ = record_of(kernel, *programs.on_return, capture::RecordKind::exit);
  }

  void decode() {
    feed(entry_);
    feed(exit_);
  }
  [[nodiscard]] std::uint64_t fields_seen() const { return fields_seen_; }

 private:
  static std::vector<std::byte> record_of(hook::test::FakeKernel& kernel,
                                          const capture::Program& program,
                                          capture::RecordKind kind) {
    kernel.run(program);
    if (!kernel.has_record) std::abort();
    std::vector<std::byte> bytes(kernel.record.bytes().begin(), kernel.record.bytes().end());
    bytes[offsetof(capture::RecordHeader, kind)] = static_cast<std::byte>(kind);
    return bytes;
  }
  void feed(const std::vector<std::byte>& bytes) {
    capture::RecordView record;
    if (!capture::RecordView::parse(bytes, record)) std::abort();
    tracer_.on_record(hook_, false, record, {.time = {}, .process = process_, .thread_id = 1});
  }

  api::ApiCatalogue catalogue_;
  ApiHook hook_;
  std::shared_ptr<behaviour::Process> process_ = std::make_shared<behaviour::Process>();
  std::vector<std::byte> entry_, exit_;
  ApiEvents events_;
  std::uint64_t fields_seen_ = 0;
  ApiTracer tracer_{
      [this](const TracedCall& call) { fields_seen_ += events_.make(call).fields.size(); }};
};

}  // namespace glasshook::monitor
