#include <gtest/gtest.h>

#include <cstring>

#include "capture/record_writer.h"
#include "hook/spec.h"
#include "monitor/api_events.h"

namespace glasshook::monitor {
namespace {

using behaviour::Event;
using capture::RecordKind;

struct Words {
  std::uint16_t field;
  std::vector<std::uint64_t> words;
};

std::vector<std::byte> record(RecordKind kind, std::uint64_t call,
                              std::initializer_list<Words> fields) {
  alignas(8) static std::byte buffer[capture::kMaxRecordBytes];
  capture::RecordWriter writer(buffer);
  for (const auto& [field, words] : fields) {
    EXPECT_TRUE(writer.open(field, capture::FieldKind::words));
    std::memcpy(writer.data(), words.data(), words.size() * sizeof(std::uint64_t));
    writer.close(words.size() * sizeof(std::uint64_t));
  }
  capture::RecordHeader header;
  header.kind = kind;
  header.call = call;
  const auto size = writer.finish(header);
  return {buffer, buffer + size};
}

class ApiTracerTest : public testing::Test {
 protected:
  ApiTracerTest() {
    signature_.module = "libc";
    signature_.name = "dup";
    api::Type descriptor;
    descriptor.kind = api::TypeKind::descriptor;
    descriptor.size = 4;
    descriptor.is_signed = true;
    api::Parameter fd;
    fd.name = "fd";
    fd.type = descriptor;
    signature_.parameters.push_back(fd);
    signature_.result = descriptor;
  }

  static ProcessPtr process(const std::string& id) {
    auto p = std::make_shared<behaviour::Process>();
    p->entity_id = id;
    return p;
  }
  void feed(const std::vector<std::byte>& bytes, const ProcessPtr& who, std::uint32_t thread = 1) {
    capture::RecordView view;
    ASSERT_TRUE(capture::RecordView::parse(bytes, view));
    tracer_.on_record(hook_, at_entry_, view, {.time = {}, .process = who, .thread_id = thread});
  }
  void enter(std::uint64_t call, const ProcessPtr& who, std::uint32_t thread = 1) {
    feed(record(RecordKind::entry, call, {{api::kArgumentsField, {5}}}), who, thread);
  }
  void leave(std::uint64_t call, std::uint64_t result, const ProcessPtr& who,
             std::uint32_t thread = 1) {
    feed(record(RecordKind::exit, call, {{api::kResultField, {result, api::kUnknownErrno}}}), who,
         thread);
  }

  api::Vocabulary vocabulary_;
  api::Signature signature_;
  std::vector<Event> events_;
  ApiHook hook_{.signature = &signature_,
                .vocabulary = &vocabulary_,
                .awaits_return = true,
                .shown = &signature_};
  bool at_entry_ = false;
  int entered_ = 0;
  std::vector<std::uint32_t> depths_;
  ApiEvents maker_;
  ApiTracer tracer_{[this](const TracedCall& traced) {
    if (traced.is_entry) {
      EXPECT_FALSE(traced.call.api.returned);
      ++entered_;
      return;
    }
    depths_.push_back(traced.call.depth);
    if (traced.hook.shown != nullptr) events_.push_back(maker_.make(traced));
  }};
  ProcessPtr a_ = process("a"), b_ = process("b");
};

TEST_F(ApiTracerTest, JoinsEntryAndReturn) {
  enter(1, a_);
  EXPECT_TRUE(events_.empty());
  leave(1, 7, a_);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(std::get<std::string>(*events_[0].find("api.name")), "dup");
  ASSERT_NE(events_[0].find("api.args.fd"), nullptr);
  ASSERT_NE(events_[0].find("api.result"), nullptr);
}

TEST_F(ApiTracerTest, WindowsCallsHaveTheirWin32IdsAndCaller) {
  feed(record(RecordKind::entry, 1,
              {{hook::kWin32Field, {32, 36, 0x140001627}}, {api::kArgumentsField, {5}}}),
       a_);
  leave(1, 7, a_);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(std::get<std::uint64_t>(*events_[0].find("glasshook.windows.process_id")), 32u);
  EXPECT_EQ(std::get<std::uint64_t>(*events_[0].find("glasshook.windows.thread_id")), 36u);
  EXPECT_EQ(std::get<std::string>(*events_[0].find("glasshook.windows.caller")), "0x140001627");
}

TEST_F(ApiTracerTest, NestedCallsKnowTheirDepth) {
  enter(1, a_);
  enter(2, a_);
  leave(2, 0, a_);
  leave(1, 0, a_);
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(std::get<std::uint64_t>(*events_[0].find("api.depth")), 1u);
  EXPECT_EQ(std::get<std::uint64_t>(*events_[1].find("api.depth")), 0u);
}

TEST_F(ApiTracerTest, CallsForFamiliesAloneAddNothingToTheDepthThatIsShown) {
  hook_.shown = nullptr;
  hook_.wanted = &signature_;
  at_entry_ = true;
  enter(1, a_);
  EXPECT_EQ(entered_, 1);
  hook_.shown = &signature_;
  at_entry_ = false;
  enter(2, a_);
  leave(2, 0, a_);
  leave(1, 0, a_);
  EXPECT_EQ(entered_, 1);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(std::get<std::uint64_t>(*events_[0].find("api.depth")), 0u);
  EXPECT_EQ(depths_, (std::vector<std::uint32_t>{1, 0}));
}

TEST_F(ApiTracerTest, AReturnInAnotherThreadOrProcessIsNotThisCalls) {
  enter(1, a_);
  leave(1, 0, b_);
  leave(1, 0, a_, 2);
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(tracer_.unjoined(), 2u);
}

TEST_F(ApiTracerTest, ACallThatNeverReturnsIsToldWhenItsProcessEnds) {
  enter(1, a_);
  enter(2, b_);
  tracer_.on_process_exit(a_);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].find("api.result"), nullptr);
  tracer_.finish();
  EXPECT_EQ(events_.size(), 2u);
}

TEST_F(ApiTracerTest, ACallThatIsGivenUpIsToldAtOnce) {
  enter(1, a_);
  enter(2, a_);
  auto given_up = record(RecordKind::exit, 1, {{api::kResultField, {0}}});
  given_up[offsetof(capture::RecordHeader, flags)] = std::byte{capture::kRecordGivenUp};
  feed(given_up, nullptr, 0);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].find("api.result"), nullptr);
  EXPECT_EQ(events_[0].process, a_);
  feed(given_up, nullptr, 0);
  leave(2, 0, a_);
  EXPECT_EQ(events_.size(), 2u);
  EXPECT_EQ(tracer_.unjoined(), 0u);
}

TEST_F(ApiTracerTest, AnExecutedProgramEndsTheCallsOfTheOneBefore) {
  enter(1, a_);
  enter(2, b_);
  tracer_.on_process_executed(a_);
  EXPECT_EQ(events_.size(), 1u);
  signature_.module = "kernel";  // the very call that executes
  tracer_.on_process_executed(b_);
  EXPECT_EQ(events_.size(), 1u);
}

TEST_F(ApiTracerTest, AHookThatIsRemovedEndsItsCalls) {
  enter(1, a_);
  const api::Signature other = signature_;
  tracer_.on_hook_removed(other);
  EXPECT_TRUE(events_.empty());
  tracer_.on_hook_removed(signature_);
  EXPECT_EQ(events_.size(), 1u);
}

TEST_F(ApiTracerTest, MemoryIsBoundedAndWhatIsGivenUpIsSaid) {
  for (std::uint64_t i = 0; i < ApiTracer::kMaxPending + 5; ++i) enter(i, a_);
  EXPECT_EQ(events_.size(), 5u);
  EXPECT_EQ(tracer_.unjoined(), 5u);
}

}  // namespace
}  // namespace glasshook::monitor
