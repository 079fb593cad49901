#include "shard/shard.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "shard/command.h"
#include "shard/testing/shard_fixture.h"

namespace vectron::shard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(const Status& status) { return std::string(status.message()); }

NamedVector Default(float x, float y = 0) { return {"", {x, y, 0, 0, 0, 0, 0, 0}}; }
NamedVector Small(float x, float y, float z) { return {"small", {x, y, z}}; }

class ShardTest : public ShardFixture {
 protected:
  ShardTest() { Start(); }

  static std::vector<uint64_t> Ids(const std::vector<ScoredRecord>& results) {
    std::vector<uint64_t> ids;
    for (const ScoredRecord& result : results) ids.push_back(result.record.id.number());
    return ids;
  }

  StatusOr<std::vector<ScoredRecord>> Search(SearchQuery query, const Select& select = {}) {
    return shard_->Search(query, select);
  }
  SearchQuery Near(float x, uint32_t k = 3) {
    SearchQuery query;
    query.vector = Default(x).values;
    query.k = k;
    return query;
  }
  Record GetOne(PointId id) {
    const auto got = shard_->Get(std::vector<PointId>{id}, kAll);
    EXPECT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->size(), 1u);
    return got->empty() ? Record{} : got->front();
  }
};

TEST_F(ShardTest, APointComesBackBitForBitAndCanBeFound) {
  Point point{PointId(7), {Default(-0.0f, 1e-42f), Small(1, 2, 3)}, "{ \"a\" : 1.50 }"};
  point.vectors[0].values[2] = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(*Upsert({point}), 1u);
  EXPECT_TRUE(shard_->Serveable());
  const Record record = GetOne(PointId(7));
  EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(record.payload, point.payload);
  ASSERT_EQ(record.vectors.size(), 2u);
  EXPECT_TRUE(std::signbit(record.vectors[0].values[0]));
  EXPECT_EQ(record.vectors, point.vectors);
  EXPECT_EQ(Ids(*Search(Near(0))), std::vector<uint64_t>{7});
  ExpectEqualToModel();
}

TEST_F(ShardTest, SearchesSeePointsBeforeAndAfterTheyAreLinked) {
  std::vector<Point> points;
  for (int i = 0; i < 50; ++i) {
    points.push_back({PointId(static_cast<uint64_t>(i)), {Default(static_cast<float>(i))}, ""});
  }
  ASSERT_TRUE(Upsert(points).ok());
  EXPECT_EQ(shard_->Stats().pending_count, 50u);
  EXPECT_THAT(Ids(*Search(Near(20.1f))), ElementsAre(20, 21, 19));
  EXPECT_GT(shard_->TailFill(), 0);
  LinkAll();
  EXPECT_EQ(shard_->Stats().linked_count, 50u);
  EXPECT_EQ(shard_->TailFill(), 0);
  EXPECT_THAT(Ids(*Search(Near(20.1f))), ElementsAre(20, 21, 19));
}

TEST_F(ShardTest, ScoresAreAsTheMetricSaysAndTiesAreOrderedById) {
  ASSERT_TRUE(Upsert({{PointId(5), {Default(3), Small(1, 0, 0)}, ""},
                      {PointId(4), {Default(-3), Small(0, 2, 0)}, ""},
                      {PointId(9), {Default(1), Small(3, 3, 0)}, ""}})
                  .ok());
  const auto l2 = *Search(Near(0));
  EXPECT_THAT(Ids(l2), ElementsAre(9, 4, 5));
  EXPECT_FLOAT_EQ(l2[0].score, 1);
  EXPECT_FLOAT_EQ(l2[1].score, 3);

  SearchQuery cosine;
  cosine.vector_name = "small";
  cosine.vector = {2, 0, 0};
  const auto similar = *Search(cosine);
  EXPECT_THAT(Ids(similar), ElementsAre(5, 9, 4));
  EXPECT_NEAR(similar[0].score, 1, 1e-5);
  EXPECT_NEAR(similar[1].score, std::sqrt(0.5), 1e-5);
  EXPECT_NEAR(similar[2].score, 0, 1e-5);

  cosine.score_threshold = 0.5f;
  EXPECT_THAT(Ids(*Search(cosine)), ElementsAre(5, 9));
  SearchQuery near = Near(0);
  near.score_threshold = 2;
  EXPECT_THAT(Ids(*Search(near)), ElementsAre(9));
}

TEST_F(ShardTest, OfEqualsTheFirstIdsAreTheResultWhateverTheLimit) {
  // More than a page, inserted from the last id to the first, linked and not.
  constexpr uint64_t kCount = 600;
  for (uint64_t id = kCount; id > 0; id -= 100) {
    std::vector<Point> points;
    for (uint64_t i = 0; i < 100; ++i) points.push_back({PointId(id - i), {Default(5)}, ""});
    ASSERT_TRUE(Upsert(points).ok());
    if (id == kCount / 2) LinkAll();
  }
  ASSERT_TRUE(Upsert({{PointId(1000), {Default(4.5f)}, ""}}).ok());
  for (const bool exact : {false, true}) {
    for (const uint32_t k : {1u, 2u, 12u, 13u, 100u, 599u}) {
      SearchQuery query = Near(4.5f, k + 1);
      query.exact = exact;
      const auto results = Search(query);
      ASSERT_TRUE(results.ok()) << results.status();
      std::vector<uint64_t> expected = {1000};
      for (uint64_t id = 1; id <= k; ++id) expected.push_back(id);
      EXPECT_EQ(Ids(*results), expected) << "k " << k << ", exact " << exact;
    }
  }
}

TEST_F(ShardTest, EqualsWithStringIdsAreOrderedToo) {
  std::vector<Point> points;
  std::vector<PointId> ids;
  for (int i = 0; i < 40; ++i) ids.emplace_back(fmt::format("p{:02}", (i * 17) % 40));
  ids.emplace_back(~uint64_t{0});
  ids.emplace_back(uint64_t{3});
  for (const PointId& id : ids) points.push_back({id, {Default(5)}, ""});
  ASSERT_TRUE(Upsert(points).ok());
  std::sort(ids.begin(), ids.end());
  for (uint32_t k = 1; k <= ids.size(); ++k) {
    const auto results = Search(Near(5, k));
    ASSERT_TRUE(results.ok()) << results.status();
    ASSERT_EQ(results->size(), k);
    for (uint32_t i = 0; i < k; ++i) EXPECT_EQ((*results)[i].record.id, ids[i]);
  }
}

TEST_F(ShardTest, SelectDecidesWhatASearchFetches) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1), Small(1, 1, 1)}, "{\"k\":1}"}}).ok());
  const auto bare = *Search(Near(1));
  EXPECT_EQ(bare[0].record.payload, "");
  EXPECT_TRUE(bare[0].record.vectors.empty());
  const auto payload = *Search(Near(1), {.payload = true});
  EXPECT_EQ(payload[0].record.payload, "{\"k\":1}");
  EXPECT_EQ(payload[0].record.version, 1u);
  EXPECT_TRUE(payload[0].record.vectors.empty());
  const auto one = *Search(Near(1), {.vectors = true, .vector_names = {"small"}});
  EXPECT_THAT(one[0].record.vectors, ElementsAre(Small(1, 1, 1)));
  EXPECT_EQ(one[0].record.payload, "");
}

TEST_F(ShardTest, AReplacementTakesTheOldPointsPlaceAndDropsVectorsItLacks) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1), Small(1, 0, 0)}, "{\"a\":1}"}}).ok());
  EXPECT_EQ(*Upsert({{PointId(1), {Default(100)}, ""}}), 1u);
  const Record record = GetOne(PointId(1));
  EXPECT_EQ(record.version, 2u);
  EXPECT_EQ(record.payload, "");
  EXPECT_THAT(record.vectors, ElementsAre(Default(100)));
  SearchQuery small;
  small.vector_name = "small";
  small.vector = {1, 0, 0};
  EXPECT_TRUE(Search(small)->empty());
  EXPECT_FLOAT_EQ((*Search(Near(0)))[0].score, 100);
  EXPECT_EQ(shard_->Stats().point_count, 1u);
  ExpectEqualToModel();
}

TEST_F(ShardTest, OfDuplicateIdsInABatchTheLastOneWins) {
  EXPECT_EQ(*Upsert({{PointId(1), {Default(1), Small(1, 1, 1)}, "{\"v\":1}"},
                     {PointId(2), {Default(2)}, ""},
                     {PointId(1), {Default(5)}, "{\"v\":2}"}}),
            2u);
  EXPECT_EQ(GetOne(PointId(1)).payload, "{\"v\":2}");
  ExpectEqualToModel();
}

TEST_F(ShardTest, DeletesIgnoreMissingIdsAndCountTheOthers) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1)}, ""}, {PointId(2), {Default(2)}, ""}}).ok());
  EXPECT_EQ(*Write(DeletePoints{{PointId(2), PointId(3), PointId(2)}}), 1u);
  EXPECT_EQ(*Write(DeletePoints{{PointId(3)}}), 0u);
  EXPECT_THAT(Ids(*Search(Near(2))), ElementsAre(1));
  EXPECT_TRUE(shard_->Get(std::vector<PointId>{PointId(2)}, kAll)->empty());
  ASSERT_TRUE(Upsert({{PointId(2), {Default(7)}, ""}}).ok());
  ExpectEqualToModel();
}

TEST_F(ShardTest, PayloadsAreMergedOverwrittenTrimmedAndCleared) {
  ASSERT_TRUE(
      Upsert({{PointId(1), {Default(1)}, "{\"a\":1,\"b\":2}"}, {PointId(2), {Default(2)}, ""}})
          .ok());
  const std::vector<PointId> both = {PointId(1), PointId(2), PointId(1)};
  EXPECT_EQ(*Write(SetPayload{both, "{\"b\":3.0,\"c\":null}"}), 2u);
  ExpectEqualToModel();
  EXPECT_EQ(GetOne(PointId(2)).payload, "{\"b\":3.0,\"c\":null}");
  EXPECT_EQ(GetOne(PointId(2)).version, 2u);
  EXPECT_EQ(*Write(DeletePayloadKeys{both, {"b", "none"}}), 2u);
  ExpectEqualToModel();
  EXPECT_EQ(*Write(OverwritePayload{{PointId(1)}, "{\"z\":[1,2]}"}), 1u);
  EXPECT_EQ(GetOne(PointId(1)).payload, "{\"z\":[1,2]}");
  EXPECT_EQ(*Write(ClearPayload{both}), 2u);
  EXPECT_EQ(GetOne(PointId(1)).payload, "");
  EXPECT_EQ(*Write(DeletePayloadKeys{both, {"b"}}), 2u);
  EXPECT_THAT(GetOne(PointId(1)).vectors, ElementsAre(Default(1)));
  ExpectEqualToModel();
}

TEST_F(ShardTest, APayloadWriteWithAMissingIdNamesItAndChangesNothing) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1)}, "{\"a\":1}"}}).ok());
  const std::vector<PointId> ids = {PointId(1), PointId("gone"), PointId(8)};
  const std::vector<WriteOp> ops = {SetPayload{ids, "{\"a\":2}"}, OverwritePayload{ids, "{}"},
                                    DeletePayloadKeys{ids, {"a"}}, ClearPayload{ids}};
  for (const WriteOp& op : ops) {
    const auto outcome = Write(op);
    EXPECT_EQ(ReasonOf(outcome.status()), Reason::kPointNotFound);
    EXPECT_THAT(Message(outcome.status()), HasSubstr("\"gone\""));
  }
  EXPECT_EQ(GetOne(PointId(1)).payload, "{\"a\":1}");
  EXPECT_EQ(GetOne(PointId(1)).version, 1u);
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(5));
  ExpectEqualToModel();
}

TEST_F(ShardTest, APayloadThatWouldGrowPastTheLimitIsRefused) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1)}, ""}}).ok());
  const std::string half(600 << 10, 'x');
  ASSERT_TRUE(Write(SetPayload{{PointId(1)}, "{\"a\":\"" + half + "\"}"}).ok());
  log_.push_back({{}, EncodeCommand(SetPayload{{PointId(1)}, "{\"b\":\"" + half + "\"}"})});
  const auto applied = ApplyLog(3, 3);
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(ReasonOf(applied->front().status()), Reason::kLimitExceeded);
  ExpectEqualToModel();
}

TEST_F(ShardTest, TheLimitOfAPayloadIsItsEntrys) {
  const auto text = [](char key, size_t bytes) {
    return fmt::format(R"({{"{}":"{}"}})", key, std::string(bytes, 'x'));
  };
  const std::vector<PointId> ids = {PointId(1)};
  ASSERT_TRUE(Upsert({{ids[0], {Default(1)}, text('a', 2 << 20)}}).ok());
  const auto apply = [&](const WriteOp& op, uint64_t bytes_max) {
    log_.push_back({{}, EncodeCommand(op, bytes_max)});
    const auto applied = ApplyLog(last().value(), last().value());
    EXPECT_TRUE(applied.ok()) << applied.status();
    return ReasonOf(applied->front().status());
  };
  EXPECT_EQ(apply(OverwritePayload{ids, text('b', 3 << 20)}, 4 << 20), Reason::kNone);
  EXPECT_EQ(apply(SetPayload{ids, text('c', 10)}, 4 << 20), Reason::kNone);
  EXPECT_EQ(apply(SetPayload{ids, text('d', 2 << 20)}, 4 << 20), Reason::kLimitExceeded);
  // A smaller limit from then on: nothing grows beyond it, and everything may shrink.
  EXPECT_EQ(apply(SetPayload{ids, text('d', 10)}, 1000), Reason::kLimitExceeded);
  EXPECT_EQ(apply(SetPayload{ids, text('b', 1 << 20)}, 1000), Reason::kNone);
  EXPECT_EQ(apply(DeletePayloadKeys{ids, {"c"}}, 1000), Reason::kNone);
  EXPECT_EQ(apply(OverwritePayload{ids, text('b', 900)}, 1000), Reason::kNone);
  EXPECT_EQ(apply(SetPayload{ids, text('c', 90)}, 1000), Reason::kLimitExceeded);
  EXPECT_EQ(GetOne(ids[0]).payload, text('b', 900));
}

TEST_F(ShardTest, EntriesAppliedTogetherSeeEachOther) {
  const auto outcomes = WriteTogether({
      SetPayload{{PointId(1)}, "{\"early\":1}"},
      UpsertPoints{{{PointId(1), {Default(1)}, "{\"a\":1}"}, {PointId(2), {Default(2)}, ""}}},
      SetPayload{{PointId(1)}, "{\"b\":2}"},
      DeletePoints{{PointId(2)}},
      ClearPayload{{PointId(2)}},
      UpsertPoints{{{PointId(3), {Small(1, 1, 1)}, ""}}},
      UpsertPoints{{{PointId(3), {Default(3)}, ""}}},
      DeletePoints{{PointId(3), PointId(1)}},
      UpsertPoints{{{PointId(3), {Default(4)}, ""}}},
  });
  ASSERT_EQ(outcomes.size(), 9u);
  EXPECT_EQ(ReasonOf(outcomes[0].status()), Reason::kPointNotFound);
  EXPECT_EQ(ReasonOf(outcomes[4].status()), Reason::kPointNotFound);
  EXPECT_EQ(*outcomes[7], 2u);
  EXPECT_EQ(GetOne(PointId(3)).version, 9u);
  ExpectEqualToModel();
}

TEST_F(ShardTest, ARetryIsAppliedOnceAlsoAfterARestart) {
  const WriteOp op = UpsertPoints{{{PointId(1), {Default(1)}, ""}}};
  const WriteSession session{.session = 77, .sequence = 1};
  ASSERT_EQ(*Write(op, session), 1u);
  EXPECT_EQ(*Write(DeletePoints{{PointId(1)}}, {.session = 77, .sequence = 2}), 1u);
  log_.push_back({session, EncodeCommand(op)});
  auto again = ApplyLog(3, 3);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*DecodeOutcome(*again->front()), 1u);
  EXPECT_EQ(shard_->Stats().point_count, 0u);

  MakeDurable();
  Kill();
  Start();
  log_.push_back({{.session = 77, .sequence = 2}, EncodeCommand(DeletePoints{{PointId(1)}})});
  again = ApplyLog(4, 4);
  EXPECT_EQ(*DecodeOutcome(*again->front()), 1u);
  ExpectEqualToModel();
}

TEST_F(ShardTest, NumbersAndStringsAreScrolledInTheirOrder) {
  const std::string long_id(kPointIdBytesMax, 'z');
  std::vector<Point> points;
  for (const PointId& id : {PointId("b"), PointId(300), PointId(long_id), PointId(~uint64_t{0}),
                            PointId("a"), PointId(2), PointId("2"), PointId(uint64_t{1} << 63)}) {
    points.push_back({id, {Default(1)}, ""});
  }
  ASSERT_TRUE(Upsert(points).ok());
  ExpectEqualToModel();
  const auto page = *shard_->Scroll({.from = PointId(3), .limit = 4}, {});
  ASSERT_EQ(page.records.size(), 4u);
  EXPECT_EQ(page.records[0].id, PointId(300));
  EXPECT_EQ(page.records[3].id, PointId("2"));
  EXPECT_EQ(page.next, PointId("a"));
  const auto rest = *shard_->Scroll({.from = page.next, .limit = 3}, {});
  EXPECT_EQ(rest.records.size(), 3u);
  EXPECT_EQ(rest.records[2].id, PointId(long_id));
  EXPECT_EQ(rest.next, std::nullopt);
}

TEST_F(ShardTest, LargePayloadsSurviveAsTheyAre) {
  const std::string payload = "{\"text\":\"" + std::string(900'000, 'q') + "\"}";
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1)}, payload}}).ok());
  MakeDurable();
  Kill();
  Start();
  EXPECT_EQ(GetOne(PointId(1)).payload, payload);
}

TEST_F(ShardTest, PointsWithoutVectorsAreKeptAndCounted) {
  EXPECT_EQ(*Upsert({{PointId(1), {}, "{\"a\":1}"}, {PointId("s"), {}, ""}}), 2u);
  ExpectEqualToModel();
  EXPECT_EQ(*Write(SetPayload{{PointId(1)}, "{\"b\":1}"}), 1u);
  EXPECT_EQ(*Upsert({{PointId(1), {Default(1)}, ""}}), 1u);
  EXPECT_EQ(*Upsert({{PointId("s"), {}, "{}"}}), 1u);
  ExpectEqualToModel();
  EXPECT_EQ(*Write(DeletePoints{{PointId("s"), PointId(1)}}), 2u);
  ExpectEqualToModel();
}

TEST_F(ShardTest, WrongVectorsInALogEntryAreAnApplicationError) {
  const auto wrong = [&](std::vector<NamedVector> vectors) {
    log_.push_back({{},
                    EncodeCommand(UpsertPoints{
                        {{PointId(1), {Default(1)}, ""}, {PointId(2), std::move(vectors), ""}}})});
    const auto applied = ApplyLog(log_.size(), log_.size());
    EXPECT_TRUE(applied.ok()) << applied.status();
    const Status status = applied->front().status();
    EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument) << status;
    EXPECT_THAT(Message(status), HasSubstr("point 1 (id 2)"));
    return Message(status);
  };
  EXPECT_THAT(wrong({{"", {1, 2}}}), HasSubstr("has 2 dimensions, not 8"));
  EXPECT_THAT(wrong({{"other", {1, 2}}}), HasSubstr("there is no vector \"other\""));
  EXPECT_THAT(wrong({Small(0, 0, 0)}), HasSubstr("all zero"));
  EXPECT_THAT(wrong({Small(1, NAN, 0)}), HasSubstr("not finite"));
  EXPECT_THAT(wrong({Small(1, 0, 0), Small(1, 0, 0)}), HasSubstr("given twice"));
  EXPECT_EQ(shard_->Stats().point_count, 0u);
  ExpectEqualToModel();
}

TEST_F(ShardTest, WrongSearchesAreRefusedWithAReason) {
  SearchQuery query = Near(1);
  query.vector.pop_back();
  EXPECT_EQ(ReasonOf(Search(query).status()), Reason::kInvalidArgument);
  query.vector_name = "none";
  EXPECT_THAT(Message(Search(query).status()), HasSubstr("there are: \"\", \"small\""));
}

TEST_F(ShardTest, ALogEntryThatDoesNotParseStopsTheShardWithoutChangingIt) {
  ASSERT_TRUE(Upsert({{PointId(1), {Default(1)}, ""}}).ok());
  log_.push_back({{}, EncodeCommand(UpsertPoints{{{PointId(2), {Default(1)}, ""}}})});
  log_.push_back({{}, "\xff\xff not a command"});
  const auto applied = ApplyLog(2, 3);
  EXPECT_EQ(ReasonOf(applied.status()), Reason::kCorruption) << applied.status();
  EXPECT_THAT(Message(applied.status()), HasSubstr("log index 3"));
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(1));
  log_.resize(1);
  ExpectEqualToModel();
}

TEST_F(ShardTest, EmptyEntriesMoveTheIndexOn) {
  log_.resize(3);
  const auto applied = ApplyLog(1, 3);
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(applied->size(), 3u);
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(3));
  MakeDurable();
  log_.resize(5);
  ASSERT_TRUE(ApplyLog(4, 5).ok());
  MakeDurable();  // by renewing the checkpoint's name: nothing changed
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(5));
  Kill();
  Start();
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(5));
}

TEST_F(ShardTest, TwoShardsWithTheSamePointsHaveTheSameHashInAnyOrder) {
  StateHash a;
  StateHash b;
  a.Add(HashPoint("k1", "r1"));
  a.Add(HashPoint("k2", "r2"));
  b.Add(HashPoint("k2", "r2"));
  b.Add(HashPoint("k3", "r3"));
  EXPECT_NE(a, b);
  b.Add(HashPoint("k1", "r1"));
  b.Remove(HashPoint("k3", "r3"));
  EXPECT_EQ(a, b);
  b.Remove(HashPoint("k1", "r1"));
  b.Add(HashPoint("k1", "r2"));
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace vectron::shard
