#include <gtest/gtest.h>

#include "gateway/merge.h"
#include "gateway/retry.h"
#include "gateway/write_sessions.h"

// The gateway's pure parts.

namespace vectron::gateway {
namespace {

std::vector<Record> Records(std::initializer_list<uint64_t> ids) {
  std::vector<Record> records;
  for (uint64_t id : ids) records.push_back({.id = PointId(id)});
  return records;
}

std::vector<uint64_t> NumbersOf(const ScrollPage& page) {
  std::vector<uint64_t> numbers;
  for (const Record& record : page.records) numbers.push_back(record.id.number());
  return numbers;
}

TEST(MergePagesTest, StopsWhereAShardMayHaveMore) {
  // The first shard's page was cut short at 4: what it has from there on is unknown.
  ScrollPage cut{Records({1, 3}), PointId(uint64_t{4})};
  ScrollPage full{Records({2, 5, 6}), std::nullopt};
  const ScrollPage page = MergePages({&cut, &full}, 10);
  EXPECT_EQ(NumbersOf(page), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(page.next, PointId(uint64_t{4}));
}

TEST(MergePagesTest, NextIsTheFirstThatDidNotFit) {
  ScrollPage a{Records({1, 4}), PointId(uint64_t{9})};
  ScrollPage b{Records({2, 3}), PointId(uint64_t{8})};
  const ScrollPage page = MergePages({&a, &b}, 2);
  EXPECT_EQ(NumbersOf(page), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(page.next, PointId(uint64_t{3}));
  ScrollPage last{Records({1}), std::nullopt};
  ScrollPage empty;
  EXPECT_EQ(MergePages({&last, &empty}, 1).next, std::nullopt);
}

TEST(MergePagesTest, ACutPageLeadsOnToWhatDidNotFit) {
  ScrollPage page{Records({1, 2, 3}), PointId(uint64_t{9})};
  for (Record& record : page.records) record.payload = "12345";
  CutPage(15, &page);
  EXPECT_EQ(NumbersOf(page), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(page.next, PointId(uint64_t{9}));
  CutPage(14, &page);
  EXPECT_EQ(NumbersOf(page), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(page.next, PointId(uint64_t{3}));
  CutPage(1, &page);
  EXPECT_EQ(NumbersOf(page), (std::vector<uint64_t>{1}));
  EXPECT_EQ(page.next, PointId(uint64_t{2}));
}

TEST(AddSeenTest, TheLaterOfEachShardStays) {
  const auto token = [](std::vector<std::pair<uint64_t, uint64_t>> pairs) {
    SessionToken made;
    for (const auto& [shard, index] : pairs)
      made.seen.emplace_back(ShardId(shard), LogIndex(index));
    return made;
  };
  SessionToken seen = token({{17, 5}, {16, 2}});
  AddSeen(token({{16, 7}, {17, 4}, {20, 1}}), &seen);
  EXPECT_EQ(seen.seen, token({{16, 7}, {17, 5}, {20, 1}}).seen);
}

TEST(WriteSessionsTest, OneStuckWriteDoesNotFillASession) {
  WriteSessions sessions(1);
  const auto stuck = sessions.Begin();
  EXPECT_EQ(stuck.identity.sequence, 1u);
  uint64_t last_session = stuck.identity.session;
  int changes = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto ticket = sessions.Begin();
    EXPECT_LT(ticket.identity.sequence - ticket.identity.acked_below, WriteSessions::kWindow);
    changes += ticket.identity.session != last_session;
    last_session = ticket.identity.session;
    sessions.End(ticket);
  }
  // One change: nothing is stuck in the second session.
  EXPECT_EQ(changes, 1);
  sessions.End(stuck);
}

TEST(WriteSessionsTest, AckedBelowWaitsForTheOldestOutcome) {
  WriteSessions sessions(1);
  const auto first = sessions.Begin();
  const auto second = sessions.Begin();
  sessions.End(second);
  EXPECT_EQ(sessions.Begin().identity.acked_below, 1u);
  sessions.End(first);
  const auto fourth = sessions.Begin();
  EXPECT_EQ(fourth.identity.acked_below, 3u);
  EXPECT_EQ(fourth.identity.sequence, 4u);
}

TEST(RetryTest, OnlyWhatIsSafeAndOfUseIsRepeated) {
  const auto judge = [](Reason reason, bool is_write, size_t replicas = 3) {
    return Judge(MakeError(reason, ""), is_write, replicas);
  };
  for (bool is_write : {false, true}) {
    EXPECT_EQ(judge(Reason::kNotLeader, is_write), Verdict::kRetry);
    EXPECT_EQ(judge(Reason::kUnavailable, is_write), Verdict::kRetry);
    EXPECT_EQ(judge(Reason::kStaleEpoch, is_write), Verdict::kReroute);
    EXPECT_EQ(judge(Reason::kShardNotFound, is_write), Verdict::kReroute);
    EXPECT_EQ(judge(Reason::kShuttingDown, is_write), Verdict::kRetry);
    EXPECT_EQ(judge(Reason::kShuttingDown, is_write, 1), Verdict::kFinal);
    for (Reason reason : {Reason::kInvalidArgument, Reason::kOverloaded, Reason::kDiskFull,
                          Reason::kDeadlineExceeded, Reason::kCorruption, Reason::kInternal,
                          Reason::kPointNotFound, Reason::kLimitExceeded}) {
      EXPECT_EQ(judge(reason, is_write), Verdict::kFinal) << ReasonName(reason);
    }
  }
  EXPECT_EQ(judge(Reason::kOutcomeUnknown, true), Verdict::kRetry);
  EXPECT_EQ(Judge(MakeError(Reason::kOutcomeForgotten, "forgotten"), true, 3), Verdict::kFinal);
}

}  // namespace
}  // namespace vectron::gateway
