#include "capture/record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "capture/program.h"

namespace glasshook::capture {
namespace {

/// Builds records, wrong ones too.
class RecordBytes {
 public:
  RecordBytes() { bytes_.resize(sizeof(RecordHeader)); }

  RecordBytes& field(FieldHeader header, std::size_t stored) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof header + (stored + 7) / 8 * 8);
    std::memcpy(bytes_.data() + at, &header, sizeof header);
    return *this;
  }

  std::vector<std::byte> done(RecordHeader header = {}) {
    if (header.size == 0) header.size = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
  }

 private:
  std::vector<std::byte> bytes_;
};

bool parses(const std::vector<std::byte>& bytes) {
  RecordView view;
  return RecordView::parse(bytes, view);
}

TEST(RecordView, ReadsFields) {
  const auto bytes = RecordBytes()
                         .field({.id = 1, .kind = FieldKind::words, .length = 16}, 16)
                         .field({.id = 2, .kind = FieldKind::string, .flags = 2, .length = 5}, 5)
                         .field({.id = 2, .kind = FieldKind::list, .length = 0, .detail = 9}, 0)
                         .done();
  RecordView view;
  ASSERT_TRUE(RecordView::parse(bytes, view));
  ASSERT_EQ(view.fields().size(), 3u);
  EXPECT_EQ(view.find(2)->data.size(), 5u) << "the first of that id";
  EXPECT_TRUE(view.find(2)->truncated());
  EXPECT_FALSE(view.find(2)->faulted());
  EXPECT_EQ(view.fields()[2].detail, 9u);
  EXPECT_EQ(view.find(3), nullptr);
  EXPECT_EQ(view.find(1)->word(2), 0u);
  EXPECT_EQ(view.bytes().size(), bytes.size());
}

TEST(RecordView, RefusesBadHeaders) {
  EXPECT_FALSE(parses({}));
  EXPECT_FALSE(parses(std::vector<std::byte>(39)));
  EXPECT_TRUE(parses(RecordBytes().done()));
  EXPECT_FALSE(parses(RecordBytes().done({.size = 48})));
  EXPECT_FALSE(parses(RecordBytes().done({.size = 32})));
  EXPECT_FALSE(parses(RecordBytes().done({.version = 2})));
  EXPECT_FALSE(parses(RecordBytes().done({.kind = RecordKind{0}})));
  EXPECT_FALSE(parses(RecordBytes().done({.kind = RecordKind{4}})));
  EXPECT_FALSE(parses(std::vector<std::byte>(kMaxRecordBytes + 8)));
}

TEST(RecordView, RefusesBadFields) {
  const auto one = [](FieldHeader header, std::size_t stored) {
    return parses(RecordBytes().field(header, stored).done());
  };
  EXPECT_TRUE(one({.kind = FieldKind::bytes, .length = 8}, 8));
  EXPECT_FALSE(one({.kind = FieldKind::bytes, .length = 9}, 8)) << "longer than the record";
  EXPECT_FALSE(one({.kind = FieldKind::bytes, .length = 0xffff}, 8));
  EXPECT_FALSE(one({.kind = FieldKind::bytes, .length = kMaxFieldBytes + 1}, 9000));
  EXPECT_FALSE(one({.kind = FieldKind{0}, .length = 8}, 8));
  EXPECT_FALSE(one({.kind = FieldKind{6}, .length = 8}, 8));
  EXPECT_FALSE(one({.kind = FieldKind::words, .length = 7}, 7));
  EXPECT_FALSE(one({.kind = FieldKind::utf16, .length = 7}, 7));
}

TEST(RecordView, RefusesMoreFieldsThanItHolds) {
  RecordBytes record;
  for (std::size_t i = 0; i < RecordView::kMaxFields; ++i) record.field({}, 0);
  EXPECT_TRUE(parses(record.done()));
  EXPECT_FALSE(parses(record.field({}, 0).done()));
}

TEST(RecordView, ForgetsEarlierFieldsWhenItRefuses) {
  RecordView view;
  ASSERT_TRUE(RecordView::parse(RecordBytes().field({}, 0).done(), view));
  EXPECT_FALSE(RecordView::parse({}, view));
  EXPECT_TRUE(view.fields().empty());
}

TEST(RecordView, SurvivesRandomBytes) {
  std::mt19937 random(5);
  const auto good = RecordBytes()
                        .field({.id = 1, .kind = FieldKind::words, .length = 48}, 48)
                        .field({.id = 2, .kind = FieldKind::string, .length = 20}, 20)
                        .done();
  for (int round = 0; round < 50'000; ++round) {
    auto bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    RecordView view;
    if (!RecordView::parse(bytes, view)) continue;
    for (const FieldView& field : view.fields()) {
      ASSERT_GE(field.data.data(), bytes.data());
      ASSERT_LE(field.data.data() + field.data.size(), bytes.data() + bytes.size());
    }
  }
}

}  // namespace
}  // namespace glasshook::capture
