#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "common/logging.h"
#include "consensus/coding.h"
#include "consensus/log/log_note.h"
#include "consensus/log/log_store.h"
#include "consensus/testing/log_disk.h"

// The end of the log, where nothing follows that would show what is missing: damage there
// is told from what a crash leaves.

namespace vectron::consensus {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using testing::LogDisk;

constexpr GroupId kGroup{3};
constexpr size_t kEntryBytes = 3000;

class LogEndTest : public ::testing::Test {
 protected:
  LogEndTest() {
    options_.dir = "/log";
    options_.segment_bytes = 10'000;
    EXPECT_TRUE(SetUpLogging("off").ok());
  }
  ~LogEndTest() override { EXPECT_TRUE(SetUpLogging("warn").ok()); }

  Status TryOpen(LogDisk* disk) {
    store_.reset();
    auto store = LogStore::Open(options_, disk);
    if (!store.ok()) return store.status();
    store_ = std::move(*store);
    return OkStatus();
  }
  Status TryOpen() { return TryOpen(&disk_); }

  Status TryAppend(uint64_t index, bool sync = true) {
    std::string block;
    PutFixed64(1, &block);
    block.push_back(0);
    PutFixed32(0, &block);
    PutFixed32(kEntryBytes, &block);
    block.append(kEntryBytes, static_cast<char>('a' + index % 26));
    LogBatch batch;
    batch.Append(kGroup, LogIndex(index), std::move(block));
    // As large as one of many groups: a new segment's first record has several sectors.
    batch.SetMembership(kGroup, LogIndex(index), std::string(2000, 'm'));
    if (sync) batch.RequireSync();
    return store_->Write(batch);
  }

  // Segments of three entries each; the last of them has three, too.
  void FillTwoSegments() {
    ASSERT_TRUE(TryOpen().ok());
    for (uint64_t i = 1; Segments().size() < 2 || disk_.SizeOf(Segments().back()) < 9000; ++i) {
      ASSERT_TRUE(TryAppend(i).ok());
      appended_ = i;
    }
    ASSERT_EQ(Segments().size(), 2u);
  }

  // The same, as a build left it that noted nothing.
  LogDisk::Image EarlierBuild() {
    FillTwoSegments();
    EXPECT_TRUE(disk_.Remove(LogNotePath(options_.dir)).ok());
    for (uint64_t i = 0; i < 2; ++i) {
      disk_.Overwrite(Segments()[i], 0, EncodeSegmentHeader(i + 1, SegmentKind::kNotNoted));
    }
    return disk_.Copy();
  }

  uint64_t LastIndex() const {
    const auto state = store_->GetState(kGroup);
    return state.has_value() ? state->last_index.value() : 0;
  }

  std::vector<std::string> Segments() const {
    std::vector<std::string> paths = disk_.Files();
    std::erase_if(paths, [](const std::string& path) { return !path.ends_with(".log"); });
    return paths;
  }

  // Refused twice, and nothing is altered by that.
  void ExpectRefused(const std::string& named) {
    const LogDisk::Image image = disk_.Copy();
    for (int i = 0; i < 2; ++i) {
      const Status status = TryOpen();
      EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(named));
      EXPECT_EQ(disk_.Copy(), image);
    }
  }

  LogDisk disk_;
  LogStore::Options options_;
  std::unique_ptr<LogStore> store_;
  uint64_t appended_ = 0;
};

TEST_F(LogEndTest, ADamagedLastSegmentIsRefusedAndKept) {
  FillTwoSegments();
  const LogDisk::Image image = disk_.Copy();
  const std::string last = Segments().back();
  const uint64_t size = disk_.SizeOf(last);
  const std::vector<std::function<void()>> damages = {
      [&] { disk_.Overwrite(last, 0, std::string(4096, '\0')); },
      [&] { disk_.Overwrite(last, 0, std::string(kSegmentHeaderBytes, '\0')); },
      [&] { disk_.Overwrite(last, 0, std::string(512, '\0')); },
      [&] { disk_.Overwrite(last, 0, std::string(size, '\0')); },
      [&] { disk_.Cut(last, 0); },
      [&] { disk_.Cut(last, 1); },
      [&] { disk_.Cut(last, kSegmentHeaderBytes); },
      [&] { disk_.Cut(last, 60); },
      [&] { disk_.Cut(last, 100); },
      [&] { disk_.Overwrite(last, 512, std::string(512, '\0')); },
  };
  for (const auto& damage : damages) {
    disk_.Restore(image);
    damage();
    ExpectRefused(last);
  }
  disk_.Restore(image);
  ASSERT_TRUE(disk_.Remove(last).ok());
  ExpectRefused(last);
  ASSERT_TRUE(disk_.Remove(Segments().front()).ok());
  ExpectRefused(last);
  disk_.Restore(image);
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), appended_);
}

TEST_F(LogEndTest, ARecordThatWasSyncedBeforeTheNextIsNotDropped) {
  options_.segment_bytes = 1 << 20;
  ASSERT_TRUE(TryOpen().ok());
  uint64_t start = 0;
  for (uint64_t i = 1; i <= 2; ++i) {
    start = disk_.SizeOf(Segments().back());
    ASSERT_TRUE(TryAppend(i, i == 1).ok());
  }
  // Not synced yet, and so maybe not all there, while the next is.
  ASSERT_TRUE(TryAppend(3).ok());
  const LogDisk::Image image = disk_.Copy();
  const std::string last = Segments().back();
  const uint64_t sector = (start / 512 + 2) * 512;
  disk_.Overwrite(last, sector, std::string(512, '\0'));
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), 1u);
  // One more, and it was synced before that.
  disk_.Restore(image);
  store_.reset();
  ASSERT_TRUE(TryOpen().ok());
  ASSERT_TRUE(disk_.Remove(LogNotePath(options_.dir)).ok());
  disk_.Overwrite(last, 0, EncodeSegmentHeader(1, SegmentKind::kNotNoted));
  disk_.Overwrite(last, sector, std::string(512, '\0'));
  ExpectRefused(last);
}

TEST_F(LogEndTest, AfterAStopNoTruncationGoesUnnoticed) {
  FillTwoSegments();
  store_->Close();
  const LogDisk::Image image = disk_.Copy();
  const std::string last = Segments().back();
  for (uint64_t size = 0; size < disk_.SizeOf(last); size += 97) {
    disk_.Restore(image);
    disk_.Cut(last, size);
    ExpectRefused(last);
    disk_.Restore(image);
    disk_.Overwrite(last, size, std::string(disk_.SizeOf(last) - size, '\0'));
    ExpectRefused(last);
  }
  disk_.Restore(image);
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), appended_);
}

TEST_F(LogEndTest, WhatAStartHasReadIsNoticedWhenItIsGone) {
  FillTwoSegments();
  ASSERT_TRUE(TryOpen().ok());
  const std::string last = Segments().back();
  disk_.Cut(last, disk_.SizeOf(last) / 2);
  ExpectRefused(last);
}

TEST_F(LogEndTest, ATailBehindTheNoteIsDroppedAndACopyIsKept) {
  FillTwoSegments();
  const std::string last = Segments().back();
  const uint64_t size = disk_.SizeOf(last) - 100;
  disk_.Cut(last, size);
  const std::string before = disk_.Copy().at(last);
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), appended_ - 1);
  const std::string dropped = disk_.Copy().at(last + ".dropped");
  EXPECT_FALSE(dropped.empty());
  EXPECT_EQ(before.substr(before.size() - dropped.size()), dropped);
  // The copy goes with its segment.
  for (uint64_t i = appended_; i < appended_ + 12; ++i) ASSERT_TRUE(TryAppend(i).ok());
  LogBatch batch;
  batch.Truncate(kGroup, LogIndex(appended_ + 11), Term(1));
  batch.RequireSync();
  ASSERT_TRUE(store_->Write(batch).ok());
  EXPECT_THAT(disk_.Files(), ::testing::Not(Contains(last + ".dropped")));
}

TEST_F(LogEndTest, AStartWithoutRoomForACopyGoesOn) {
  FillTwoSegments();
  disk_.Cut(Segments().back(), disk_.SizeOf(Segments().back()) - 100);
  disk_.SetRoom(0);
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), appended_ - 1);
}

TEST_F(LogEndTest, AMissingOrDamagedNoteIsRefused) {
  FillTwoSegments();
  const LogDisk::Image image = disk_.Copy();
  const std::string note = LogNotePath(options_.dir);
  ASSERT_TRUE(disk_.Remove(note).ok());
  ExpectRefused(note);
  for (uint64_t at = 0; at < image.at(note).size(); ++at) {
    disk_.Restore(image);
    disk_.Flip(note, at);
    const Status status = TryOpen();
    EXPECT_THAT(ReasonOf(status), AnyOf(Reason::kCorruption, Reason::kIncompatibleFormat)) << at;
    EXPECT_THAT(std::string(status.message()), HasSubstr(note));
    disk_.Restore(image);
    disk_.Cut(note, at);
    ExpectRefused(note);
  }
}

TEST_F(LogEndTest, ALogOfAnEarlierBuildHasNoNoteAndGetsOne) {
  const LogDisk::Image image = EarlierBuild();
  // What is certain without a note is refused nevertheless.
  disk_.Overwrite(Segments().back(), 0, std::string(4096, '\0'));
  ExpectRefused(Segments().back());
  disk_.Restore(image);
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(LastIndex(), appended_);
  const std::string last = Segments().back();
  disk_.Cut(last, disk_.SizeOf(last) / 2);
  ExpectRefused(last);
}

std::vector<LogDisk::PowerLoss> PowerLosses() {
  std::vector<LogDisk::PowerLoss> losses;
  for (const int percent : {0, 1, 13, 50, 77, 99, 100}) {
    for (const bool keep_names : {false, true}) {
      losses.push_back({percent, false, false, keep_names});
      losses.push_back({percent, true, false, keep_names});
      losses.push_back({percent, true, true, keep_names});
    }
  }
  return losses;
}

// The last segment of an earlier build's log is full: the first start begins a new one.
TEST_F(LogEndTest, PowerMayGoAtEveryStepOfTheFirstStartAfterAnEarlierBuild) {
  const LogDisk::Image image = EarlierBuild();
  ASSERT_GE(disk_.SizeOf(Segments().back()), options_.segment_bytes);
  bool all_done = false;
  for (uint64_t steps = 0; !all_done; ++steps) {
    SCOPED_TRACE(steps);
    LogDisk disk;
    disk.Restore(image);
    disk.FailAfter(steps);
    all_done = TryOpen(&disk).ok();
    for (const LogDisk::PowerLoss& loss : PowerLosses()) {
      SCOPED_TRACE(::testing::Message() << loss.keep_percent << "% " << loss.keep_sizes
                                        << loss.keep_last << loss.keep_names);
      const auto survived = disk.AfterPowerLoss(loss);
      const Status opened = TryOpen(survived.get());
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_EQ(LastIndex(), appended_);
      EXPECT_TRUE(TryAppend(appended_ + 1).ok());
    }
  }
}

// Every call that changes something on the disk is the last one before the power goes, and
// of what was not synced by then this or that is there.
TEST_F(LogEndTest, PowerMayGoAtEveryStepOfMakingASegment) {
  const std::vector<LogDisk::PowerLoss> losses = PowerLosses();
  bool all_done = false;
  for (uint64_t steps = 0; !all_done; ++steps) {
    SCOPED_TRACE(steps);
    LogDisk disk;
    disk.FailAfter(steps);
    uint64_t acknowledged = 0;
    uint64_t sent = 0;
    if (TryOpen(&disk).ok()) {
      // One in three counts only once the next one is synced.
      while (sent < 9) {
        ++sent;
        const bool sync = sent % 3 != 1;
        if (!TryAppend(sent, sync).ok()) break;
        if (sync) acknowledged = sent;
      }
      all_done = acknowledged == 9;
    }
    for (const LogDisk::PowerLoss& loss : losses) {
      SCOPED_TRACE(::testing::Message() << loss.keep_percent << "% " << loss.keep_sizes
                                        << loss.keep_last << loss.keep_names);
      const auto survived = disk.AfterPowerLoss(loss);
      const Status opened = TryOpen(survived.get());
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_GE(LastIndex(), acknowledged);
      EXPECT_LE(LastIndex(), sent);
      const uint64_t last = LastIndex();
      for (uint64_t i = last + 1; i < last + 5; ++i) ASSERT_TRUE(TryAppend(i).ok());
      const auto again = survived->AfterPowerLoss(0);
      ASSERT_TRUE(TryOpen(again.get()).ok());
      EXPECT_EQ(LastIndex(), last + 4);
    }
  }
}

}  // namespace
}  // namespace vectron::consensus
