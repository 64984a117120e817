#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "capture/record_writer.h"
#include "hypervisor/fake/fake_hypervisor.h"
#include "hypervisor/replay/recorder.h"
#include "hypervisor/replay/replayer.h"

namespace glasshook::hypervisor::replay {
namespace {

using std::chrono::milliseconds;

std::vector<std::byte> record(std::uint64_t timestamp, std::uint64_t word) {
  alignas(8) static std::byte buffer[capture::kMaxRecordBytes];
  capture::RecordWriter writer(buffer);
  EXPECT_TRUE(writer.open(16, capture::FieldKind::words));
  std::memcpy(writer.data(), &word, sizeof word);
  writer.close(sizeof word);
  capture::RecordHeader header;
  header.timestamp = timestamp;
  const auto size = writer.finish(header);
  return {buffer, buffer + size};
}

/// What a monitor would see and read: one line a record or question.
struct Watcher {
  Hypervisor& hypervisor;
  std::vector<std::uint64_t> seen;

  std::uint64_t peek(Gpa at) const {
    std::uint64_t value = 0;
    return hypervisor.memory().read(at, std::as_writable_bytes(std::span{&value, 1})) ? value
                                                                                      : ~0ull;
  }
  void on_record(const capture::RecordView& r) {
    seen.push_back(r.fields()[0].word(0));
    seen.push_back(static_cast<std::uint64_t>(
        hypervisor.wall_time(r.header().timestamp).time_since_epoch().count()));
    seen.push_back(peek(Gpa{0x1ffc}));  // crosses a page
    seen.push_back(peek(Gpa{0x1ffc}));
  }
  PageSites on_question(const PageQuestion& q) {
    seen.push_back(q.content_hash);
    seen.push_back(peek(q.page));
    return {};
  }
};

class ReplayTest : public testing::Test {
 protected:
  ~ReplayTest() override { std::filesystem::remove(path_); }

  void write_ram(Gpa at, std::uint64_t value) {
    std::memcpy(fake_->ram().bytes().data() + at.value, &value, sizeof value);
  }
  std::unique_ptr<Recorder> record_to_file() {
    auto owned = std::make_unique<FakeHypervisor>();
    fake_ = owned.get();
    auto recorder = Recorder::create(std::move(owned), path_);
    EXPECT_TRUE(recorder);
    return std::move(*recorder);
  }

  std::string path_ =
      (std::filesystem::temp_directory_path() / ("glasshook-replay-" + std::to_string(getpid())))
          .string();
  FakeHypervisor* fake_ = nullptr;
};

TEST_F(ReplayTest, GivesTheSameRecordsQuestionsMemoryAndCounters) {
  std::vector<std::uint64_t> live;
  {
    auto recorder = record_to_file();
    Watcher watcher{*recorder, {}};
    write_ram(Gpa{0x5000}, 55);
    watcher.seen.push_back(watcher.peek(Gpa{0x5000}));  // read while setting up
    const std::byte noted[] = {std::byte{7}};
    ASSERT_TRUE(recorder->note("where", noted));
    ASSERT_TRUE(
        recorder->watch_user_pages([&](const PageQuestion& q) { return watcher.on_question(q); }));
    for (std::uint64_t i = 0; i < 5; ++i) {
      write_ram(Gpa{0x1ffc}, 1000 + i);
      fake_->script_record(record(i * 10, i));
      ASSERT_TRUE(recorder->poll([&](const auto& r) { watcher.on_record(r); }, milliseconds(0)));
      PageQuestion question;
      question.page = Gpa{0x3000};
      question.content_hash = 77 + i;
      write_ram(Gpa{0x3000}, i);
      (void)fake_->run_page(question);
    }
    ASSERT_TRUE(recorder->probe_counters());
    fake_->script_end();
    EXPECT_FALSE(recorder->poll([](const auto&) {}, milliseconds(0)));
    live = watcher.seen;
  }
  auto replayer = Replayer::open(path_);
  ASSERT_TRUE(replayer) << replayer.error().message;
  Watcher watcher{**replayer, {}};
  watcher.seen.push_back(watcher.peek(Gpa{0x5000}));
  EXPECT_EQ((*replayer)->noted("where"), std::vector{std::byte{7}});
  EXPECT_EQ((*replayer)->noted("elsewhere"), std::nullopt);
  ASSERT_TRUE(
      (*replayer)->watch_user_pages([&](const PageQuestion& q) { return watcher.on_question(q); }));
  while ((*replayer)->poll([&](const auto& r) { watcher.on_record(r); }, milliseconds(0))) {
  }
  EXPECT_EQ(watcher.seen, live);
  EXPECT_EQ((*replayer)->probe_counters()->records, 5u);
}

TEST_F(ReplayTest, MemoryStandsStillWhileARecordIsHandled) {
  auto recorder = record_to_file();
  fake_->script_record(record(1, 1));
  fake_->script_record(record(2, 2));
  std::vector<std::uint64_t> values;
  Watcher watcher{*recorder, {}};
  std::uint64_t changing = 100;
  ASSERT_TRUE(recorder->poll(
      [&](const auto&) {
        values.push_back(watcher.peek(Gpa{0x100}));
        write_ram(Gpa{0x100}, ++changing);  // the guest goes on
        values.push_back(watcher.peek(Gpa{0x100}));
      },
      milliseconds(0)));
  ASSERT_EQ(values.size(), 4u);
  EXPECT_EQ(values[0], values[1]);
  EXPECT_EQ(values[2], values[3]);
  EXPECT_NE(values[1], values[2]);
}

TEST_F(ReplayTest, MemoryThatWasNotReadIsNotThere) {
  {
    auto recorder = record_to_file();
  }
  auto replayer = Replayer::open(path_);
  ASSERT_TRUE(replayer);
  std::byte value{};
  EXPECT_FALSE((*replayer)->memory().read(Gpa{0}, std::span{&value, 1}));
}

TEST_F(ReplayTest, ACutRecordingPlaysUpToTheCut) {
  {
    auto recorder = record_to_file();
    for (std::uint64_t i = 0; i < 10; ++i) fake_->script_record(record(i, i));
    ASSERT_TRUE(recorder->poll([](const auto&) {}, milliseconds(0)));
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  auto replayer = Replayer::open(path_);
  ASSERT_TRUE(replayer);
  std::size_t played = 0;
  while ((*replayer)->poll([&](const auto&) { ++played; }, milliseconds(0))) {
  }
  EXPECT_GT(played, 2u);
  EXPECT_LT(played, 10u);
}

TEST_F(ReplayTest, OtherFilesAreRefusedWithARemedy) {
  std::ofstream(path_) << "not a recording at all";
  const auto replayer = Replayer::open(path_);
  ASSERT_FALSE(replayer);
  EXPECT_FALSE(replayer.error().remedy.empty());
  EXPECT_FALSE(Replayer::open("/nonexistent"));
}

TEST_F(ReplayTest, AnErrorOfTheVmIsNotHidden) {
  auto recorder = record_to_file();
  fake_->fail_call("poll", {ErrorCode::io, "broken", ""});
  const auto polled = recorder->poll([](const auto&) {}, milliseconds(0));
  ASSERT_FALSE(polled);
  EXPECT_EQ(polled.error().message, "broken");
}

}  // namespace
}  // namespace glasshook::hypervisor::replay
