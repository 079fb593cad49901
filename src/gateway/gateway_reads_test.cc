#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "gateway/testing/gateway_fixture.h"

namespace vectron::gateway {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using GatewayReadsTest = GatewayFixture;

TEST_F(GatewayReadsTest, ShardsTogetherAnswerAsOneWould) {
  for (Metric metric : {Metric::kL2, Metric::kCosine, Metric::kDot}) {
    Create(Config(5, metric));
    ASSERT_TRUE(Write(Line(1, 200))->status.ok());
    const auto report = Search({{.vector = {50.2f, 1}, .k = 7}, {.vector = {0, 1}, .k = 3}},
                               {.payload = true, .vectors = true});
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_THAT(report->results, SizeIs(2));
    ASSERT_THAT(report->results[0], SizeIs(7));
    ASSERT_THAT(report->results[1], SizeIs(3));
    if (metric == Metric::kL2) {
      std::vector<uint64_t> ids;
      for (const auto& hit : report->results[0]) ids.push_back(hit.record.id.number());
      EXPECT_EQ(ids, (std::vector<uint64_t>{50, 51, 49, 52, 48, 53, 47}));
    } else if (metric == Metric::kDot) {
      EXPECT_EQ(report->results[0][0].record.id, PointId(uint64_t{200}));
    } else {
      EXPECT_EQ(report->results[1][0].record.id, PointId(uint64_t{1}));
    }
    for (const auto& result : report->results) {
      for (const ScoredRecord& hit : result) {
        const Point expected = Line(hit.record.id.number(), 1).points[0];
        EXPECT_EQ(hit.record.payload, expected.payload);
        EXPECT_EQ(hit.record.vectors, expected.vectors);
      }
    }
    EXPECT_THAT(report->token.seen, SizeIs(5));
    ASSERT_TRUE(*Await<bool>(
        [&](auto done) { gateway_->DropCollection(kName, kNoDeadline, std::move(done)); }));
  }
}

TEST_F(GatewayReadsTest, EqualScoresComeInTheOrderOfIds) {
  Create(Config(4));
  UpsertPoints op;
  for (uint64_t id = 0; id < 50; ++id) op.points.push_back(MakePoint(id, {1, 1}));
  ASSERT_TRUE(Write(op)->status.ok());
  const auto report = Search({{.vector = {0, 0}, .k = 20}});
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(report->results[0][i].record.id, PointId(static_cast<uint64_t>(i)));
  }
}

TEST_F(GatewayReadsTest, OneShardIsAskedOnceForEverything) {
  Create(Config(1));
  ASSERT_TRUE(Write(Line(0, 20))->status.ok());
  const auto report = Search({{.vector = {3, 1}, .k = 2}}, {.payload = true});
  EXPECT_EQ(report->results[0][0].record.payload, R"({"n":3})");
  EXPECT_EQ(cluster_.search_count(), 1);
  EXPECT_THAT(cluster_.Reads(), SizeIs(1));
}

TEST_F(GatewayReadsTest, PartialSearchesNameTheMissingShards) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 60))->status.ok());
  const ShardId dead = info.shards[1].id;
  cluster_.Inject(dead, {MakeError(Reason::kUnavailable, "gone")}, 1000);
  RequestOptions options = Within(milliseconds(2000));
  options.allow_partial = true;
  const auto report = Search({{.vector = {1, 1}, .k = 60}}, {.payload = true}, options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->missing_shards, std::vector<ShardId>{dead});
  EXPECT_EQ(report->results[0].size(), 60 - cluster_.IdsOn(dead).size());

  EXPECT_EQ(ReasonOf(Search({{.vector = {1, 1}}}, {}, Within(milliseconds(50))).status()),
            Reason::kUnavailable);
  // What is wrong with the request itself is no shard's failure.
  EXPECT_EQ(ReasonOf(Search({{.vector = {1}}}, {}, options).status()), Reason::kInvalidArgument);
  for (const rpc::ShardInfo& shard : info.shards) {
    cluster_.Inject(shard.id, {MakeError(Reason::kUnavailable, "gone")}, 1000);
  }
  EXPECT_EQ(ReasonOf(Search({{.vector = {1, 1}}}, {}, options).status()), Reason::kUnavailable);
}

TEST_F(GatewayReadsTest, APageOverManyShardsHoldsNoMoreThanItMay) {
  GatewayOptions options = cluster_.OptionsFor(SystemClock());
  options.limits.response_bytes_max = 10 * 2 * sizeof(float);
  gateway_ = MakeGateway(std::move(options));
  Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  std::vector<PointId> seen;
  std::optional<PointId> next;
  do {
    const auto page = Await<RecordsReport>([&](auto done) {
      gateway_->Scroll(kName, {.from = next, .limit = 60}, {.vectors = true}, {}, std::move(done));
    });
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_FALSE(page->records.empty());
    EXPECT_LE(page->records.size(), 10u);
    for (const Record& record : page->records) seen.push_back(record.id);
    next = page->next;
  } while (next.has_value());
  EXPECT_EQ(seen, Ids(0, 100));

  const auto get = [&](uint64_t count) {
    return ReasonOf(Await<RecordsReport>([&](auto done) {
                      gateway_->Get(kName, Ids(0, count), {.vectors = true}, {}, std::move(done));
                    }).status());
  };
  EXPECT_EQ(get(10), Reason::kNone);
  EXPECT_EQ(get(11), Reason::kResponseTooLarge);
  const auto search = [&](uint32_t k, size_t times) {
    SearchQuery query{.vector = {1, 1}, .k = k};
    return ReasonOf(Await<SearchReport>([&](auto done) {
                      gateway_->Search(kName, std::vector<SearchQuery>(times, query),
                                       {.vectors = true}, {}, std::move(done));
                    }).status());
  };
  EXPECT_EQ(search(10, 1), Reason::kNone);
  EXPECT_EQ(search(11, 1), Reason::kResponseTooLarge);
  EXPECT_EQ(search(10, 2), Reason::kResponseTooLarge);
}

TEST_F(GatewayReadsTest, AReadOfACollectionThatWasReplacedIsOneOfItsSuccessor) {
  Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  cluster_.HoldWatchers();
  for (int round = 1; round <= 4; ++round) {
    ASSERT_TRUE(*Await<bool>(
        [&](auto done) { cluster_.DropCollection(kName, kNoDeadline, std::move(done)); }));
    ASSERT_TRUE(Await<rpc::CollectionInfo>([&](auto done) {
                  cluster_.CreateCollection(Config(2), kNoDeadline, std::move(done));
                }).ok());
    // Each with the map of the one before.
    switch (round) {
      case 1: {
        const auto found = Search({{.vector = {0, 1}}});
        ASSERT_TRUE(found.ok()) << found.status();
        EXPECT_THAT(found->results, ElementsAre(IsEmpty()));
        break;
      }
      case 2: {
        const auto records = Get(Ids(0, 10));
        ASSERT_TRUE(records.ok()) << records.status();
        EXPECT_THAT(records->records, IsEmpty());
        break;
      }
      case 3: {
        const auto page = Scroll({.limit = 10});
        ASSERT_TRUE(page.ok()) << page.status();
        EXPECT_THAT(page->records, IsEmpty());
        break;
      }
      default:
        EXPECT_EQ(Count(), 0u);
    }
  }
  cluster_.ReleaseWatchers();
}

TEST_F(GatewayReadsTest, AHitThatChangesBeforeItIsFetchedIsSearchedForAgain) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  // Point 0 is the nearest; what becomes of it after the last shard was searched:
  const std::vector<WriteOp> changes = {UpsertPoints{{MakePoint(0, {1000, 1})}},
                                        DeletePoints{Ids(0, 1)}};
  for (const WriteOp& change : changes) {
    ASSERT_TRUE(Write(Line(0, 1))->status.ok());
    cluster_.AfterRead(info.shards.back().id, [&] { ASSERT_TRUE(Write(change)->status.ok()); });
    const auto found = Search({{.vector = {0, 1}, .k = 3}}, {.payload = true, .vectors = true});
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_THAT(found->results[0], SizeIs(3));
    for (size_t i = 0; i < 3; ++i) {
      const ScoredRecord& hit = found->results[0][i];
      EXPECT_EQ(hit.record.id, PointId(i + 1));
      EXPECT_EQ(hit.score, hit.record.vectors[0].values[0]);
    }
  }
}

TEST_F(GatewayReadsTest, HitsThatNeverStopChangingComeWithTheirOwnScores) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  float place = 0;
  std::function<void()> move = [&] {
    cluster_.AfterRead(info.shards.back().id, move);
    place = 0.25f - place;
    ASSERT_TRUE(Write(UpsertPoints{{MakePoint(0, {place, 1})}})->status.ok());
  };
  cluster_.AfterRead(info.shards.back().id, move);
  const auto found = Search({{.vector = {0, 1}, .k = 3}}, {.vectors = true});
  cluster_.AfterRead(info.shards.back().id, nullptr);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_THAT(found->results[0], SizeIs(3));
  for (const ScoredRecord& hit : found->results[0]) {
    EXPECT_EQ(hit.score, hit.record.vectors[0].values[0]);
  }
}

TEST_F(GatewayReadsTest, WhatWasFoundIsNotFetchedFromASuccessor) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  const auto replace = [&] {
    ASSERT_TRUE(*Await<bool>(
        [&](auto done) { gateway_->DropCollection(kName, kNoDeadline, std::move(done)); }));
    Create(Config(3));
    ASSERT_TRUE(Write(UpsertPoints{{MakePoint(0, {7, 1})}})->status.ok());
  };
  cluster_.AfterRead(info.shards.back().id, replace);
  const auto found = Search({{.vector = {0, 1}, .k = 3}}, {.vectors = true});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_THAT(found->results[0], SizeIs(1));
  EXPECT_EQ(found->results[0][0].score, 7);

  const ShardId last = cluster_.Info(kName).shards.back().id;
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  cluster_.AfterRead(last, replace);
  const auto page = Await<RecordsReport>([&](auto done) {
    gateway_->Scroll(kName, {.limit = 10}, {.vectors = true}, {}, std::move(done));
  });
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_THAT(page->records, SizeIs(1));
  EXPECT_EQ(page->records[0].vectors[0].values[0], 7);
}

TEST_F(GatewayReadsTest, AShardThatIsGoneWhenHitsAreFetchedIsMissingFromAPartialAnswer) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  const ShardId gone = info.shards.front().id;
  cluster_.AfterRead(info.shards.back().id, [&] {
    cluster_.Inject(gone, {MakeError(Reason::kUnavailable, "gone")}, 100'000);
  });
  RequestOptions options;
  options.allow_partial = true;
  options.deadline = SystemClock().Now() + milliseconds(500);
  const auto found = Search({{.vector = {0, 1}, .k = 90}}, {.vectors = true}, options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->missing_shards, ElementsAre(gone));
  EXPECT_GT(found->results[0].size(), 30u);
}

TEST_F(GatewayReadsTest, WhatWillBeRefusedAgainIsNotLookedForAgain) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  for (const Reason reason : {Reason::kLimitExceeded, Reason::kInvalidArgument, Reason::kInternal,
                              Reason::kOverloaded, Reason::kCorruption}) {
    const auto refuse_fetch = [&] {
      cluster_.AfterRead(info.shards.back().id, [&] {
        cluster_.Inject(info.shards.back().id, {MakeError(reason, "refused")});
      });
    };
    const int searches = cluster_.search_count();
    refuse_fetch();
    EXPECT_EQ(ReasonOf(Search({{.vector = {0, 1}, .k = 90}}, {.payload = true}).status()), reason);
    EXPECT_EQ(cluster_.search_count(), searches + 3) << ReasonName(reason);
    const int scrolls = cluster_.scroll_count();
    refuse_fetch();
    EXPECT_EQ(ReasonOf(Scroll({.limit = 90}, {.payload = true}).status()), reason);
    EXPECT_EQ(cluster_.scroll_count(), scrolls + 3) << ReasonName(reason);
  }
}

TEST_F(GatewayReadsTest, APartialSearchGoesWithoutAShardThatIsOverloadedWhenHitsAreFetched) {
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  const ShardId busy = info.shards.front().id;
  cluster_.AfterRead(info.shards.back().id,
                     [&] { cluster_.Inject(busy, {MakeError(Reason::kOverloaded, "busy")}, 2); });
  RequestOptions options;
  options.allow_partial = true;
  const auto found = Search({{.vector = {0, 1}, .k = 90}}, {.vectors = true}, options);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->missing_shards, ElementsAre(busy));
}

TEST_F(GatewayReadsTest, AScrollBeginsAgainAFewTimesOnly) {
  GatewayOptions options = cluster_.OptionsFor(SystemClock());
  options.limits.response_bytes_max = 10 * 2 * sizeof(float);
  gateway_ = MakeGateway(std::move(options));
  const rpc::CollectionInfo info = Create(Config(3));
  ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  const ShardId last = info.shards.back().id;
  std::function<void()> refuse_fetch = [&] {
    cluster_.AfterRead(last, [&] {
      cluster_.Inject(last, {MakeError(Reason::kShuttingDown, "stopping")});
      // After that one was refused, the next scroll.
      refuse_fetch();
    });
  };
  refuse_fetch();
  const auto page = Scroll({.limit = 60}, {.vectors = true});
  cluster_.AfterRead(last, nullptr);
  // The last time every shard gives vectors with its ids, and the page is held to its limit.
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(cluster_.scroll_count(), 9);
  ASSERT_THAT(page->records, SizeIs(10));
  EXPECT_EQ(page->next, PointId(uint64_t{10}));
  for (const Record& record : page->records) {
    EXPECT_EQ(record.vectors, Line(record.id.number(), 1).points[0].vectors);
  }
}

// Of three replicas the fetch asks another one than the search did.
class GatewayReplicasTest : public GatewayFixture {
 protected:
  void SetUp() override {
    GatewayFixture::SetUp();
    CollectionConfig config = Config(2);
    config.replication_factor = 3;
    info_ = Create(config);
    ASSERT_TRUE(Write(Line(0, 100))->status.ok());
  }

  // The shard of point 0.
  ShardId ShardOfZero() {
    const std::vector<PointId> ids = cluster_.IdsOn(info_.shards[0].id);
    const bool is_first = std::find(ids.begin(), ids.end(), PointId(uint64_t{0})) != ids.end();
    return info_.shards[is_first ? 0 : 1].id;
  }

  // What the next read of that shard shows of `op`, it shows beyond its read point; the other
  // replicas do not have it yet.
  void ApplyDuringNextRead(WriteOp op) {
    const ShardId shard = ShardOfZero();
    cluster_.BeforeRead(shard, [this, shard, op = std::move(op)](NodeId node) {
      cluster_.HoldReplicasBut(shard, node);
      ASSERT_TRUE(Write(op)->status.ok());
    });
  }

  rpc::CollectionInfo info_;
};

TEST_F(GatewayReplicasTest, HitsAreFetchedFromAStateAsNewAsTheOneSearched) {
  ASSERT_TRUE(Write(UpsertPoints{{MakePoint(0, {0.25f, 1})}})->status.ok());
  ApplyDuringNextRead(UpsertPoints{{MakePoint(0, {0.5f, 1})}});
  const auto found = Search({{.vector = {0, 1}, .k = 1}}, {.vectors = true});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_THAT(found->results[0], SizeIs(1));
  EXPECT_EQ(found->results[0][0].score, 0.5f);
  EXPECT_EQ(found->results[0][0].record.vectors[0].values[0], 0.5f);
}

TEST_F(GatewayReplicasTest, TokensNameAllThatWasShown) {
  const ShardId shard = ShardOfZero();
  // Point 0 is deleted while it is read, and is not to come back.
  const auto expect_gone = [&](const SessionToken& token) {
    RequestOptions options{.consistency = Consistency::kSession, .session = token};
    for (int replica = 0; replica < 3; ++replica) {
      const auto records = Get(Ids(0, 1), {}, options);
      ASSERT_TRUE(records.ok()) << records.status();
      EXPECT_THAT(records->records, IsEmpty());
    }
    ASSERT_TRUE(Write(Line(0, 1))->status.ok());
  };
  ApplyDuringNextRead(DeletePoints{Ids(0, 1)});
  const auto found = Search({{.vector = {0, 1}, .k = 1}});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->results[0][0].record.id, PointId(uint64_t{1}));
  expect_gone(found->token);

  ApplyDuringNextRead(DeletePoints{Ids(0, 1)});
  const auto records = Get(Ids(0, 1));
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_THAT(records->records, IsEmpty());
  expect_gone(records->token);

  ApplyDuringNextRead(DeletePoints{Ids(0, 1)});
  const auto page = Scroll({.limit = 1});
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->records[0].id, PointId(uint64_t{1}));
  expect_gone(page->token);

  // After the ids of the page were read, before its records are.
  cluster_.AfterRead(shard, [&] {
    cluster_.BeforeRead(shard, [&](NodeId node) {
      cluster_.HoldReplicasBut(shard, node);
      ASSERT_TRUE(Write(DeletePoints{Ids(0, 1)})->status.ok());
    });
  });
  const auto fetched = Scroll({.limit = 2}, {.payload = true});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(fetched->records[0].id, PointId(uint64_t{1}));
  expect_gone(fetched->token);
}

TEST_F(GatewayReadsTest, ScrollPagesCoverAllShardsInOrder) {
  Create(Config(4));
  ASSERT_TRUE(Write(Line(0, 97))->status.ok());
  std::vector<PointId> seen;
  ScrollQuery query{.limit = 10};
  int pages = 0;
  do {
    const auto page = Scroll(query, {.payload = true});
    ASSERT_TRUE(page.ok()) << page.status();
    for (const Record& record : page->records) {
      seen.push_back(record.id);
      EXPECT_EQ(record.payload, R"({"n":)" + std::to_string(record.id.number()) + "}");
    }
    query.from = page->next;
    ++pages;
  } while (query.from.has_value());
  EXPECT_EQ(seen, Ids(0, 97));
  EXPECT_EQ(pages, 10);
}

TEST_F(GatewayReadsTest, GetKeepsTheOrderOfTheRequestAndEachIdOnce) {
  Create(Config(4));
  ASSERT_TRUE(Write(Line(0, 20))->status.ok());
  std::vector<PointId> ids = {PointId(uint64_t{9}), PointId(uint64_t{500}), PointId(uint64_t{2}),
                              PointId(uint64_t{9}), PointId(uint64_t{17})};
  const auto report = Get(ids);
  std::vector<uint64_t> found;
  for (const Record& record : report->records) found.push_back(record.id.number());
  EXPECT_EQ(found, (std::vector<uint64_t>{9, 2, 17}));
  EXPECT_EQ(ReasonOf(Get({}).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Get(Ids(0, 10'001)).status()), Reason::kLimitExceeded);
}

TEST_F(GatewayReadsTest, SessionTokensReachTheirShards) {
  const rpc::CollectionInfo info = Create(Config(2));
  RequestOptions options{.consistency = Consistency::kSession};
  options.session.seen = {{info.shards[0].id, LogIndex(5)}};
  ASSERT_TRUE(Search({{.vector = {1, 1}}}, {}, options).ok());
  const auto reads = cluster_.Reads();
  ASSERT_THAT(reads, SizeIs(2));
  EXPECT_EQ(reads[0].second.consistency, Consistency::kSession);
  EXPECT_EQ(reads[0].second.min_index, LogIndex(5));
  // The token does not know this shard: it may be half of one it knows.
  EXPECT_EQ(reads[1].second.consistency, Consistency::kLinearizable);
}

TEST_F(GatewayReadsTest, BadSearchesAreRefused) {
  Create(Config(2));
  const auto reason = [&](std::vector<SearchQuery> queries) {
    return ReasonOf(Search(std::move(queries)).status());
  };
  EXPECT_EQ(reason({}), Reason::kInvalidArgument);
  EXPECT_EQ(reason(std::vector<SearchQuery>(1025, {.vector = {1, 1}})), Reason::kLimitExceeded);
  EXPECT_EQ(reason(std::vector<SearchQuery>(100, {.vector = {1, 1}, .k = 16'000})),
            Reason::kLimitExceeded);
  EXPECT_EQ(Search({{.vector = {1, 1}}, {.vector = {1, 1}, .k = 0}}).status().message(),
            "query 1: k is 0, it must be at least 1");
  const Select select{.vectors = true, .vector_names = {"x"}};
  EXPECT_EQ(ReasonOf(Search({{.vector = {1, 1}}}, select).status()), Reason::kInvalidArgument);
  EXPECT_EQ(cluster_.search_count(), 0);
}

}  // namespace
}  // namespace vectron::gateway
