#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "common/thread.h"
#include "gateway/starting_gateway.h"
#include "gateway/testing/gateway_fixture.h"

namespace vectron::gateway {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using GatewayTest = GatewayFixture;

TEST_F(GatewayTest, EveryPointGoesToTheShardOfItsHash) {
  const rpc::CollectionInfo info = Create(Config(4));
  const auto report = Write(Line(0, 1000));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->status.ok()) << report->status;
  EXPECT_EQ(report->changed_count, 1000u);
  EXPECT_THAT(report->done, IsEmpty());
  EXPECT_THAT(report->token.seen, SizeIs(4));
  size_t total = 0;
  for (const rpc::ShardInfo& shard : info.shards) {
    const auto ids = cluster_.IdsOn(shard.id);
    EXPECT_GT(ids.size(), 150u);
    total += ids.size();
    for (const PointId& id : ids) EXPECT_TRUE(shard.range.Contains(id.RingHash()));
  }
  EXPECT_EQ(total, 1000u);
  EXPECT_EQ(Count(), 1000u);
}

TEST_F(GatewayTest, NothingIsSentOfABatchWithABadPoint) {
  Create(Config(4));
  UpsertPoints op = Line(0, 100);
  op.points.back().vectors[0].values.push_back(3);
  const auto report = Write(op);
  EXPECT_EQ(ReasonOf(report.status()), Reason::kInvalidArgument);
  EXPECT_EQ(report.status().message(), "point 99 (id 99): vector: dimension 3, expected 2");
  EXPECT_THAT(cluster_.Writes(), IsEmpty());
}

TEST_F(GatewayTest, NothingIsSentOfASmallRequestThatWouldWriteMuch) {
  Create(Config(4));
  const std::string payload = R"({"a":")" + std::string(1'000'000, 'x') + R"("})";
  const auto report = Write(SetPayload{Ids(0, 100), payload});
  EXPECT_EQ(ReasonOf(report.status()), Reason::kLimitExceeded);
  EXPECT_EQ(report.status().message(),
            "a payload of 1000008 bytes for 100 points would write 100000800 bytes, the limit is "
            "67108864; change fewer points at once");
  EXPECT_THAT(cluster_.Writes(), IsEmpty());
}

TEST_F(GatewayTest, LastOfEqualIdsWins) {
  Create(Config(2));
  UpsertPoints op = Line(0, 10);
  op.points.push_back(MakePoint(3, {42, 42}));
  ASSERT_TRUE(Write(op)->status.ok());
  const auto found = Get(Ids(3, 1), {.vectors = true});
  ASSERT_THAT(found->records, SizeIs(1));
  EXPECT_EQ(found->records[0].vectors[0].values, (std::vector<float>{42, 42}));
}

TEST_F(GatewayTest, RetriesGoUnderTheSameSessionAndSequence) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {NotLeader(GroupOf(shard), std::nullopt)});
  cluster_.Inject(shard, {MakeError(Reason::kUnavailable, "electing")});
  cluster_.Inject(shard, {MakeError(Reason::kOutcomeUnknown, "connection lost"), true});
  const auto report = Write(Line(0, 5));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->status.ok()) << report->status;
  // The attempt whose answer was lost had done it; the last one was not done again.
  EXPECT_EQ(report->token.seen[0].second, LogIndex(1));
  const auto attempts = cluster_.Writes();
  ASSERT_THAT(attempts, SizeIs(4));
  for (const rpc::WriteRequest& attempt : attempts) {
    EXPECT_NE(attempt.session.session, 0u);
    EXPECT_EQ(attempt.session.session, attempts[0].session.session);
    EXPECT_EQ(attempt.session.sequence, attempts[0].session.sequence);
    EXPECT_EQ(std::get<UpsertPoints>(attempt.op).points, Line(0, 5).points);
  }
}

TEST_F(GatewayTest, SequencesAreUniqueAndAckedBelowFollows) {
  Create(Config(1));
  constexpr int kWriters = 4;
  constexpr int kEach = 50;
  std::vector<std::unique_ptr<Thread>> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.push_back(std::make_unique<Thread>("writer", ThreadPriority::kNormal, [this, w] {
      for (int i = 0; i < kEach; ++i) {
        EXPECT_TRUE(Write(Line(static_cast<uint64_t>(w * kEach + i), 1))->status.ok());
      }
    }));
  }
  for (auto& writer : writers) writer->Join();
  std::set<std::pair<uint64_t, uint64_t>> seen;
  for (const rpc::WriteRequest& write : cluster_.Writes()) {
    EXPECT_TRUE(seen.emplace(write.session.session, write.session.sequence).second);
    EXPECT_LE(write.session.acked_below, write.session.sequence);
  }
  EXPECT_THAT(seen, SizeIs(kWriters * kEach));
  ASSERT_TRUE(Write(Line(0, 1))->status.ok());
  // Nothing else is under way: all before are acknowledged.
  const WriteSession last = cluster_.Writes().back().session;
  EXPECT_EQ(last.acked_below, last.sequence);
}

TEST_F(GatewayTest, AClientsSessionIsPassedOn) {
  Create(Config(2));
  const WriteSession session{.session = 99, .sequence = 7, .acked_below = 5};
  ASSERT_TRUE(Write(Line(0, 10), {.write_session = session})->status.ok());
  const uint64_t changed = Write(Line(0, 10), {.write_session = session})->changed_count;
  EXPECT_EQ(changed, 10u);
  for (const rpc::WriteRequest& write : cluster_.Writes()) {
    EXPECT_EQ(write.session.session, 99u);
    EXPECT_EQ(write.session.sequence, 7u);
    EXPECT_EQ(write.session.acked_below, 5u);
  }
  // The second was a repetition: no point has a newer version.
  const auto records = Get(Ids(0, 10))->records;
  for (const Record& record : records) EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(ReasonOf(Write(Line(0, 1), {.write_session = {.session = 1}}).status()),
            Reason::kInvalidArgument);
  EXPECT_EQ(
      ReasonOf(Write(Line(0, 1), {.write_session = {.session = 1, .sequence = 2, .acked_below = 3}})
                   .status()),
      Reason::kInvalidArgument);
}

TEST_F(GatewayTest, SaysWhichPointsAreDoneNotDoneAndUnknown) {
  const rpc::CollectionInfo info = Create(Config(3));
  cluster_.Inject(info.shards[1].id, {MakeError(Reason::kDiskFull, "no room")});
  cluster_.Inject(info.shards[2].id, {MakeError(Reason::kOutcomeUnknown, "lost")}, 1000);
  const auto report = Write(Line(0, 90), Within(milliseconds(150)));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(ReasonOf(report->status), Reason::kOutcomeUnknown);
  EXPECT_EQ(report->done.size() + report->not_done.size() + report->unknown.size(), 90u);
  EXPECT_EQ(report->changed_count, report->done.size());
  const auto all_in = [&](const std::vector<PointId>& ids, const rpc::ShardInfo& shard) {
    return !ids.empty() && std::all_of(ids.begin(), ids.end(), [&](const PointId& id) {
      return shard.range.Contains(id.RingHash());
    });
  };
  EXPECT_TRUE(all_in(report->done, info.shards[0]));
  EXPECT_TRUE(all_in(report->not_done, info.shards[1]));
  EXPECT_TRUE(all_in(report->unknown, info.shards[2]));
  EXPECT_THAT(MessageOf(report->status), HasSubstr("of 90 points are done"));
}

TEST_F(GatewayTest, AWriteThatMayHaveBeenDoneStaysUnknown) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {MakeError(Reason::kOutcomeUnknown, "lost"), true});
  cluster_.Inject(shard, {MakeError(Reason::kOverloaded, "busy")});
  const auto report = Write(Line(0, 3));
  EXPECT_EQ(ReasonOf(report->status), Reason::kOutcomeUnknown);
  EXPECT_EQ(report->unknown, Ids(0, 3));
  EXPECT_THAT(report->not_done, IsEmpty());
}

TEST_F(GatewayTest, AnOutcomeThatNobodyKnowsAnyMoreIsAnsweredAtOnce) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {MakeError(Reason::kOutcomeUnknown, "lost"), true});
  cluster_.Inject(shard, {MakeError(Reason::kOutcomeForgotten, "its outcome is no longer kept")},
                  1000);
  const auto report = Write(Line(0, 3));
  EXPECT_EQ(ReasonOf(report->status), Reason::kOutcomeForgotten) << report->status;
  EXPECT_THAT(MessageOf(report->status), HasSubstr("no longer kept"));
  EXPECT_EQ(report->unknown, Ids(0, 3));
  EXPECT_THAT(cluster_.Writes(), SizeIs(2));
}

TEST_F(GatewayTest, AWriteThatMayHaveBeenDoneBeforeADropStaysUnknown) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {MakeError(Reason::kOutcomeUnknown, "lost"), true}, 100'000);
  StatusOr<WriteReport> report = Internal("not answered");
  Thread writer("writer", ThreadPriority::kNormal, [&] { report = Write(Line(0, 3)); });
  while (cluster_.Writes().empty()) std::this_thread::yield();
  ASSERT_TRUE(*Await<bool>(
      [&](auto done) { gateway_->DropCollection(kName, kNoDeadline, std::move(done)); }));
  writer.Join();
  EXPECT_EQ(ReasonOf(report->status), Reason::kOutcomeUnknown);
  EXPECT_EQ(report->unknown, Ids(0, 3));
  EXPECT_THAT(MessageOf(report->status), HasSubstr("was dropped"));
}

TEST_F(GatewayTest, RefusalsThatAreFinalAreNotRepeated) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {MakeError(Reason::kOverloaded, "busy", {{"retry_after_ms", "20"}})});
  const auto report = Write(Line(0, 3));
  EXPECT_EQ(ReasonOf(report->status), Reason::kOverloaded);
  EXPECT_EQ(DetailsOf(report->status), (ErrorDetails{{"retry_after_ms", "20"}}));
  EXPECT_EQ(report->not_done, Ids(0, 3));
  EXPECT_THAT(cluster_.Writes(), SizeIs(1));
  EXPECT_EQ(ReasonOf(Write(OverwritePayload{Ids(0, 1), "{}"})->status), Reason::kPointNotFound);
}

TEST_F(GatewayTest, GivesUpAtTheDeadline) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.Inject(shard, {MakeError(Reason::kUnavailable, "no quorum")}, 1000);
  const TimePoint start = SystemClock().Now();
  const auto report = Write(Line(0, 3), Within(milliseconds(100)));
  EXPECT_EQ(ReasonOf(report->status), Reason::kUnavailable);
  EXPECT_THAT(MessageOf(report->status), HasSubstr("no quorum"));
  EXPECT_EQ(report->not_done, Ids(0, 3));
  EXPECT_LT(SystemClock().Now() - start, milliseconds(1000));
  const auto search = Search({{.vector = {1, 1}}}, {}, Within(milliseconds(50)));
  EXPECT_EQ(ReasonOf(search.status()), Reason::kUnavailable);
  EXPECT_EQ(ReasonOf(Search({{.vector = {1, 1}}}, {}, Within(milliseconds(-1))).status()),
            Reason::kDeadlineExceeded);
}

TEST_F(GatewayTest, ADamagedShardIsPartOfWhatACollectionIs) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 30))->status.ok());
  const auto get = [&] {
    return Await<CollectionReport>(
        [&](auto done) { gateway_->GetCollection(kName, kNoDeadline, std::move(done)); });
  };
  EXPECT_EQ(get()->stats.point_count, 30u);
  const ShardId damaged = info.shards[1].id;
  cluster_.Inject(damaged, {MakeError(Reason::kCorruption, "a file is damaged")});
  const auto report = get();
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(report->failed_shards, SizeIs(1));
  EXPECT_EQ(report->failed_shards[0].first, damaged);
  EXPECT_EQ(ReasonOf(report->failed_shards[0].second), Reason::kCorruption);
  EXPECT_LT(report->stats.point_count, 30u);
  // A count of the others is no count.
  cluster_.Inject(damaged, {MakeError(Reason::kCorruption, "a file is damaged")});
  const auto count = [&](auto done) { gateway_->Count(kName, {}, std::move(done)); };
  EXPECT_EQ(ReasonOf(Await<uint64_t>(count).status()), Reason::kCorruption);
  // What passes is no state of the collection.
  cluster_.Inject(damaged, {MakeError(Reason::kOverloaded, "busy")});
  EXPECT_EQ(ReasonOf(get().status()), Reason::kOverloaded);
}

TEST_F(GatewayTest, WhoeverAsksDuringAStartIsToldHowFarItIs) {
  StartingGateway front;
  const auto count = [&] {
    return Await<uint64_t>([&](auto done) { front.Count(kName, {}, std::move(done)); });
  };
  const Status early = count().status();
  EXPECT_EQ(ReasonOf(early), Reason::kStarting);
  EXPECT_EQ(DetailsOf(early), (ErrorDetails{{"retry_after_ms", "1000"}}));
  front.SetProgress("shard 17 is being replayed");
  const auto written =
      Await<WriteReport>([&](auto done) { front.Write(kName, Line(0, 3), {}, std::move(done)); });
  EXPECT_EQ(MessageOf(written.status()), "the server is starting: shard 17 is being replayed");

  Create(Config(2));
  front.Open(gateway_.get());
  const auto done =
      Await<WriteReport>([&](auto done) { front.Write(kName, Line(0, 3), {}, std::move(done)); });
  EXPECT_TRUE(done->status.ok());
  EXPECT_EQ(*count(), 3u);
}

TEST_F(GatewayTest, UnknownCollectionIsAskedForBeforeItIsDenied) {
  EXPECT_EQ(ReasonOf(Write(Line(0, 1)).status()), Reason::kCollectionNotFound);
  EXPECT_EQ(cluster_.get_map_count(), 1);
  // Created elsewhere, and the news is late.
  cluster_.HoldWatchers();
  ASSERT_TRUE(Await<rpc::CollectionInfo>([&](auto done) {
                cluster_.CreateCollection(Config(2), kNoDeadline, std::move(done));
              }).ok());
  EXPECT_TRUE(Write(Line(0, 10))->status.ok());
  EXPECT_EQ(Count(), 10u);
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayTest, FollowsAShardThatWasSplit) {
  const rpc::CollectionInfo info = Create(Config(2));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  cluster_.HoldWatchers();
  cluster_.Split(kName, info.shards[0].id);
  cluster_.Split(kName, info.shards[1].id);
  EXPECT_TRUE(Write(Line(100, 100))->status.ok());
  cluster_.Split(kName, info.shards[0].id);
  const auto found = Search({{.vector = {0, 1}, .k = 200}}, {.payload = true});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->results[0], SizeIs(200));
  cluster_.Split(kName, info.shards[1].id);
  const auto records = Get(Ids(0, 200), {.vectors = true});
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_THAT(records->records, SizeIs(200));
  for (uint64_t id = 0; id < 200; ++id) {
    EXPECT_EQ(records->records[id].id, PointId(id));
  }
  EXPECT_EQ(Count(), 200u);
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayTest, AWriteWhoseShardWasSplitMeanwhileIsDoneOnce) {
  const ShardId shard = Create(Config(1)).shards[0].id;
  cluster_.HoldWatchers();
  // It was applied, the answer is lost, and the retry finds the shard split.
  cluster_.Inject(shard, {.status = MakeError(Reason::kOutcomeUnknown, "lost"),
                          .after_applying = true,
                          .then = [&] { cluster_.Split(kName, shard); }});
  const auto report = Write(Line(0, 50));
  ASSERT_TRUE(report->status.ok()) << report->status;
  EXPECT_THAT(report->token.seen, SizeIs(2));
  const auto records = Get(Ids(0, 50));
  for (const Record& record : records->records) EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(Count(), 50u);
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayTest, ADroppedCollectionIsGoneAndItsSuccessorIsFound) {
  Create(Config(2));
  ASSERT_TRUE(Write(Line(0, 10))->status.ok());
  cluster_.HoldWatchers();
  const auto drop = [&](auto done) {
    cluster_.DropCollection(kName, kNoDeadline, std::move(done));
  };
  ASSERT_TRUE(*Await<bool>(drop));
  EXPECT_EQ(ReasonOf(Write(Line(0, 1))->status), Reason::kCollectionNotFound);

  // Again under its name with other settings, which our map does not know.
  CollectionConfig other = Config(2);
  const auto create = [&](auto done) {
    cluster_.CreateCollection(other, kNoDeadline, std::move(done));
  };
  ASSERT_TRUE(Await<rpc::CollectionInfo>(create).ok());
  ASSERT_TRUE(Write(Line(0, 1))->status.ok());
  ASSERT_TRUE(*Await<bool>(drop));
  other.vectors[0].dimension = 3;
  ASSERT_TRUE(Await<rpc::CollectionInfo>(create).ok());
  EXPECT_TRUE(Write(UpsertPoints{{MakePoint(1, {1, 2, 3})}})->status.ok());
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayTest, ItsOwnChangesOfCollectionsAreSeenAtOnce) {
  cluster_.HoldWatchers();
  const auto find = [&](auto done) {
    gateway_->FindCollection(kName, kNoDeadline, std::move(done));
  };
  EXPECT_EQ(ReasonOf(Await<rpc::CollectionInfo>(find).status()), Reason::kCollectionNotFound);
  Create(Config(2));
  EXPECT_TRUE(Await<rpc::CollectionInfo>(find).ok());
  const auto report = Await<CollectionReport>(
      [&](auto done) { gateway_->GetCollection(kName, kNoDeadline, std::move(done)); });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->info.shards, SizeIs(2));
  EXPECT_EQ(report->stats.point_count, 0u);
  const auto again = Await<rpc::CollectionInfo>(
      [&](auto done) { gateway_->CreateCollection(Config(2), kNoDeadline, std::move(done)); });
  EXPECT_EQ(ReasonOf(again.status()), Reason::kCollectionExists);
  const auto drop = [&](auto done) {
    gateway_->DropCollection(kName, kNoDeadline, std::move(done));
  };
  EXPECT_TRUE(*Await<bool>(drop));
  EXPECT_FALSE(*Await<bool>(drop));
  EXPECT_EQ(ReasonOf(Await<rpc::CollectionInfo>(find).status()), Reason::kCollectionNotFound);
  const auto list = Await<std::vector<rpc::CollectionInfo>>(
      [&](auto done) { gateway_->ListCollections(kNoDeadline, std::move(done)); });
  EXPECT_THAT(*list, IsEmpty());
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayTest, WritesFollowTheLeaderAndReadsAreSpread) {
  CollectionConfig config = Config(1);
  config.replication_factor = 3;
  const rpc::CollectionInfo info = Create(config);
  cluster_.SetLeader(info.shards[0].id, info.shards[0].replicas[2].node);
  ASSERT_TRUE(Write(Line(0, 1))->status.ok());
  EXPECT_THAT(cluster_.Writes(), SizeIs(2));  // one refusal that named the leader
  ASSERT_TRUE(Write(Line(1, 1))->status.ok());
  EXPECT_THAT(cluster_.Writes(), SizeIs(3));  // remembered
  std::set<NodeId> readers;
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(Search({{.vector = {1, 1}}}).ok());
  for (const auto& [node, read] : cluster_.Reads()) readers.insert(node);
  EXPECT_THAT(readers, SizeIs(3));
}

TEST_F(GatewayTest, ReportsMetrics) {
  Create(Config(1));
  ASSERT_TRUE(Write(Line(0, 1))->status.ok());
  ASSERT_FALSE(Search({}).ok());
  const std::string text = RenderMetrics(cluster_.metrics);
  EXPECT_THAT(text,
              HasSubstr(R"(vectron_gateway_requests_total{operation="write",reason="OK"} 1)"));
  EXPECT_THAT(
      text,
      HasSubstr(
          R"(vectron_gateway_requests_total{operation="search",reason="INVALID_ARGUMENT"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(vectron_gateway_request_seconds_count{operation="write"} 1)"));
}

}  // namespace
}  // namespace vectron::gateway
