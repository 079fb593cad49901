#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "shard/command.h"
#include "shard/testing/shard_fixture.h"

// What a batch of entries holds in memory, and what becomes of those that are refused or
// that the disk has no room for.

namespace vectron::shard {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kNoBound = std::numeric_limits<uint64_t>::max();

std::string Text(char key, size_t bytes) {
  return fmt::format(R"({{"{}":"{}"}})", key, std::string(bytes, 'x'));
}

std::vector<PointId> Ids(uint64_t count) {
  std::vector<PointId> ids;
  for (uint64_t id = 1; id <= count; ++id) ids.emplace_back(id);
  return ids;
}

UpsertPoints Points(uint64_t first, uint64_t count, const std::string& payload) {
  UpsertPoints op;
  for (uint64_t id = first; id < first + count; ++id) {
    op.points.push_back({PointId(id), {{"", std::vector<float>(8, 1)}}, payload});
  }
  return op;
}

// In bytes; see proc(5).
uint64_t ProcessMemory(const std::string& field) {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word) {
    uint64_t kibibytes = 0;
    if (word == field + ":" && file >> kibibytes) return kibibytes << 10;
  }
  return 0;
}

class WriteStageTest : public ShardFixture {
 protected:
  WriteStageTest() { Start(); }

  // Of one entry, which says what a change may write.
  Status Apply(const WriteOp& op, uint64_t change_bytes_max) {
    log_.push_back({{}, EncodeCommand(op, 1 << 20, change_bytes_max)});
    const auto applied = ApplyLog(last().value(), last().value());
    if (!applied.ok()) return applied.status();
    if (applied->front().ok()) model_.Apply(last(), op).status().IgnoreError();
    return applied->front().status();
  }

  // The most that the process has resident while the entry is applied, beyond what it has
  // before. The model does not follow.
  uint64_t PeakBytes(const WriteOp& op, uint64_t change_bytes_max) {
    log_.push_back({{}, EncodeCommand(op, 1 << 20, change_bytes_max)});
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
    const uint64_t before = ProcessMemory("VmRSS");
    EXPECT_LT(ProcessMemory("VmHWM"), before + (16 << 20)) << "the peak was not reset";
    const auto applied = ApplyLog(last().value(), last().value());
    EXPECT_TRUE(applied.ok()) << applied.status();
    EXPECT_TRUE(applied->front().ok()) << applied->front().status();
    return ProcessMemory("VmHWM") - before;
  }

  // Points 1 to `count` with payloads of nearly 1 MiB, in files.
  void StoreLarge(uint64_t count) {
    for (uint64_t first = 1; first <= count; first += 16) {
      log_.push_back({{}, EncodeCommand(Points(first, 16, Text('a', 1'000'000)))});
      ASSERT_TRUE(ApplyLog(last().value(), last().value()).ok());
      MakeDurable();
      log_.back().command.clear();
    }
  }
};

TEST_F(WriteStageTest, WhatAChangeLeavesOnSeveralPointsIsBoundedByItsEntry) {
  // More than are read at once.
  const std::vector<PointId> ids = Ids(150);
  ASSERT_TRUE(Write(Points(1, 150, Text('a', 1000))).ok());
  const std::vector<WriteOp> ops = {SetPayload{ids, R"({"b":1})"}, DeletePayloadKeys{ids, {"b"}},
                                    OverwritePayload{ids, Text('c', 1000)}};
  for (const WriteOp& op : ops) {
    const Status refused = Apply(op, 100'000);
    EXPECT_EQ(ReasonOf(refused), Reason::kLimitExceeded);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("the limit is 100000"));
  }
  ExpectEqualToModel();
  for (const WriteOp& op : ops) EXPECT_TRUE(Apply(op, 200'000).ok());
  // There is no less than one to ask for.
  EXPECT_TRUE(Apply(SetPayload{{ids[0]}, R"({"b":1})"}, 100).ok());
  // It is what is left that counts, not what was there; and entries of before have no bound.
  EXPECT_TRUE(Apply(OverwritePayload{ids, "{}"}, 300).ok());
  EXPECT_TRUE(Apply(OverwritePayload{ids, Text('d', 1000)}, kNoBound).ok());
  EXPECT_TRUE(Apply(ClearPayload{ids}, 1).ok());
  ExpectEqualToModel();
}

TEST_F(WriteStageTest, AWriteThatIsRefusedHalfWayIsTakenBackToWhatEarlierEntriesLeft) {
  const std::vector<PointId> ids = Ids(100);
  std::vector<PointId> more = ids;
  more.emplace_back(1000);
  ASSERT_TRUE(Write(Points(51, 50, Text('s', 10))).ok());
  const auto outcomes = WriteTogether({
      Points(1, 60, Text('a', 10)),
      SetPayload{more, R"({"b":1})"},
      SetPayload{ids, R"({"b":2})"},
      OverwritePayload{more, "{}"},
      DeletePoints{{PointId(70), PointId(30)}},
      DeletePayloadKeys{ids, {"a"}},
      UpsertPoints{{{PointId(30), {}, Text('v', 10)}}},
      ClearPayload{more},
      SetPayload{{PointId(30), PointId(71)}, R"({"c":3})"},
  });
  ASSERT_EQ(outcomes.size(), 9u);
  for (const size_t i : {1, 3, 5, 7}) {
    EXPECT_EQ(ReasonOf(outcomes[i].status()), Reason::kPointNotFound) << i;
  }
  EXPECT_EQ(*outcomes[2], 100u);
  EXPECT_EQ(*outcomes[8], 2u);
  ExpectEqualToModel();
  MakeDurable();
  Kill();
  Start();
  ExpectEqualToModel();
}

TEST_F(WriteStageTest, ADiskThatRunsFullBetweenTwoBatchesLosesNoOutcome) {
  ASSERT_TRUE(Write(Points(1, 50, "")).ok());
  MakeDurable();
  const uint64_t first = last().value() + 1;
  for (uint64_t i = 0; i < 6; ++i) {
    // As much as a batch should hold, so that each has one of its own.
    const OverwritePayload op{Ids(40 + i), Text('a', 1'000'000 + i)};
    log_.push_back({{}, EncodeCommand(op)});
    EXPECT_EQ(*model_.Apply(last(), op), 40 + i);
  }
  disk_.SetFull(true);
  EXPECT_EQ(ReasonOf(ApplyLog(first, last().value()).status()), Reason::kDiskFull);
  EXPECT_GE(shard_->AppliedIndex(), LogIndex(first));
  EXPECT_LT(shard_->AppliedIndex(), last());
  // Nor is it lost when there is still no room.
  EXPECT_EQ(ReasonOf(ApplyLog(first, last().value()).status()), Reason::kDiskFull);
  disk_.SetFull(false);
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  while (!shard_->StoreHealth().ok()) {
    shard_->Tick();
    never.WaitFor(mutex, std::chrono::milliseconds(20));
  }
  const auto applied = ApplyLog(first, last().value());
  ASSERT_TRUE(applied.ok()) << applied.status();
  ASSERT_EQ(applied->size(), 6u);
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(*DecodeOutcome(*(*applied)[i]), 40 + i);
  ExpectEqualToModel();
}

#ifndef VECTRON_SANITIZED  // a sanitizer has memory of its own

TEST_F(WriteStageTest, ADeleteDoesNotHoldThePayloadsOfItsPoints) {
  StoreLarge(256);
  EXPECT_LT(PeakBytes(DeletePoints{Ids(256)}, 0), 256u << 20);
  EXPECT_EQ(shard_->Stats().point_count, 0u);
}

// The entry of an earlier build: the batch holds all of it, and nothing else does.
TEST_F(WriteStageTest, AChangeOfManyPayloadsHoldsThemOnce) {
  ASSERT_TRUE(Write(Points(1, 128, "")).ok());
  MakeDurable();
  // A batch that grows is there twice for a moment, and so is one that is written.
  EXPECT_LT(PeakBytes(OverwritePayload{Ids(128), Text('a', 1'000'000)}, kNoBound), 310u << 20);
}

#endif

}  // namespace
}  // namespace vectron::shard
