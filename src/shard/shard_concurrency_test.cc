#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "common/thread.h"
#include "shard/testing/shard_fixture.h"

namespace vectron::shard {
namespace {

class ShardConcurrencyTest : public ShardFixture {
 protected:
  // Runs `body` again and again on a thread of its own until StopAll.
  void Spawn(const std::string& name, std::function<void()> body) {
    threads_.push_back(
        std::make_unique<Thread>(name, ThreadPriority::kNormal, [this, body = std::move(body)] {
          while (!stop_) body();
        }));
  }
  void StopAll() {
    stop_ = true;
    for (const auto& thread : threads_) thread->Join();
    threads_.clear();
  }
  ~ShardConcurrencyTest() override { StopAll(); }

  static std::vector<float> Vector(float x) { return {x, 1, 2, 3, 4, 5, 6, 7}; }

  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Thread>> threads_;
};

TEST_F(ShardConcurrencyTest, SearchesNeverMissAPointThatIsReplacedMeanwhile) {
  Start();
  std::vector<Point> others;
  for (uint64_t i = 10; i < 200; ++i) {
    others.push_back({PointId("other-" + std::to_string(i)),
                      {{"", Vector(static_cast<float>(i))}},
                      "{\"i\":1}"});
  }
  const PointId hot("the hot point, with a long name");
  ASSERT_TRUE(Upsert(others).ok());
  ASSERT_TRUE(Upsert({{hot, {{"", Vector(0)}}, "{\"v\":0}"}}).ok());
  std::atomic<uint64_t> missed_count{0};
  std::atomic<uint64_t> repeated_count{0};
  std::atomic<uint64_t> search_count{0};
  for (const bool with_payload : {false, true}) {
    Spawn("search", [&, with_payload] {
      SearchQuery query;
      query.vector = Vector(0);
      query.k = 5;
      const auto found = shard_->Search(query, {.payload = with_payload});
      if (!found.ok()) return;
      uint64_t count = 0;
      for (const ScoredRecord& hit : *found) count += hit.record.id == hot ? 1 : 0;
      missed_count += count == 0 ? 1 : 0;
      repeated_count += count > 1 ? 1 : 0;
      ++search_count;
    });
  }
  Spawn("link", [&] { shard_->DoIndexWork(16); });
  for (int i = 0; i < 1500 || search_count < 200; ++i) {
    const auto x = static_cast<float>(i % 5);
    ASSERT_TRUE(Upsert({{hot, {{"", Vector(x)}}, "{\"v\":1}"}}).ok());
    if (i % 3 == 0) {
      // Ids that come and go, so that their places are given to others.
      const PointId id("other-" + std::to_string(10 + i % 50));
      ASSERT_TRUE(Write(DeletePoints{{id}}).ok());
      ASSERT_TRUE(Upsert({{PointId("new-" + std::to_string(i)), {{"", Vector(900)}}, ""}}).ok());
    }
  }
  StopAll();
  EXPECT_EQ(missed_count, 0u);
  EXPECT_EQ(repeated_count, 0u);
  ExpectEqualToModel();
}

TEST_F(ShardConcurrencyTest, SearchesFindAsManyAsThereAreWhilePointsComeAndGo) {
  Start();
  std::vector<Point> points;
  for (uint64_t i = 0; i < 60; ++i) {
    points.push_back({PointId(i), {{"", Vector(static_cast<float>(i))}}, "{\"i\":1}"});
  }
  ASSERT_TRUE(Upsert(points).ok());
  std::atomic<uint64_t> search_count{0};
  std::atomic<uint64_t> short_count{0};
  for (int thread = 0; thread < 2; ++thread) {
    Spawn("search", [&] {
      SearchQuery query;
      query.vector = Vector(0);
      query.k = 10;
      const auto found = shard_->Search(query, {.payload = true}, {});
      if (!found.ok()) return;
      short_count += found->size() == query.k ? 0 : 1;
      ++search_count;
    });
  }
  // One of the nearest after the other is gone for a moment.
  for (size_t i = 0; i < 1500 || search_count < 500; ++i) {
    const Point& point = points[i % 10];
    ASSERT_TRUE(Write(DeletePoints{{point.id}}).ok());
    ASSERT_TRUE(Upsert({point}).ok());
  }
  StopAll();
  EXPECT_EQ(short_count, 0u);
  ExpectEqualToModel();
}

TEST_F(ShardConcurrencyTest, ScoreVectorAndPayloadOfAHitAreOfOneVersion) {
  Start();
  const auto points_at = [](int round) {
    std::vector<Point> points;
    for (int i = 0; i < 20; ++i) {
      const auto x = static_cast<float>((round * 7 + i * 3) % 50);
      points.push_back({PointId(static_cast<uint64_t>(i)), {{"", Vector(x)}}, ""});
      points.back().payload = "{\"x\":" + std::to_string(static_cast<int>(x)) + "}";
    }
    return points;
  };
  ASSERT_TRUE(Upsert(points_at(0)).ok());
  std::atomic<uint64_t> search_count{0};
  std::atomic<uint64_t> wrong_score_count{0};
  std::atomic<uint64_t> disordered_count{0};
  for (const bool with_vectors : {false, true}) {
    Spawn("search", [&, with_vectors] {
      SearchQuery query;
      query.vector = Vector(0);
      query.k = 15;
      const auto found = shard_->Search(query, {.payload = true, .vectors = with_vectors}, {});
      if (!found.ok()) return;
      for (const ScoredRecord& hit : *found) {
        const std::string x = std::to_string(static_cast<int>(hit.score));
        wrong_score_count += hit.record.payload == "{\"x\":" + x + "}" ? 0 : 1;
        if (with_vectors) wrong_score_count += hit.record.vectors[0].values[0] == hit.score ? 0 : 1;
      }
      disordered_count +=
          std::is_sorted(found->begin(), found->end(),
                         [](const auto& a, const auto& b) {
                           return std::tie(a.score, a.record.id) < std::tie(b.score, b.record.id);
                         })
              ? 0
              : 1;
      ++search_count;
    });
  }
  for (int i = 0; i < 1000 || search_count < 500; ++i) ASSERT_TRUE(Upsert(points_at(i)).ok());
  StopAll();
  EXPECT_EQ(wrong_score_count, 0u);
  EXPECT_EQ(disordered_count, 0u);
}

TEST_F(ShardConcurrencyTest, NothingIsShownThatTheIndicesDoNotName) {
  Start();
  // Each write moves point 0, so it says by where it is which one it was.
  const auto moved = [&] {
    const auto x = static_cast<float>(last().value() + 1);
    return std::vector<Point>{{PointId(uint64_t{0}), {{"", Vector(x)}}, ""}};
  };
  const auto index_of = [](float x) { return LogIndex(static_cast<uint64_t>(x)); };
  ASSERT_TRUE(Upsert(moved()).ok());
  std::atomic<uint64_t> read_count{0};
  std::atomic<uint64_t> later_count{0};
  std::atomic<uint64_t> earlier_count{0};
  Spawn("search", [&] {
    SearchQuery query;
    query.vector = Vector(0);
    const auto found = shard_->Search(query, {});
    const LogIndex seen = shard_->StoredIndex();
    if (!found.ok() || found->empty()) return;
    later_count += index_of(found->front().score) > seen ? 1 : 0;
    ++read_count;
  });
  Spawn("get", [&] {
    const LogIndex stored = shard_->StoredIndex();
    const auto found = shard_->Get(std::vector<PointId>{PointId(uint64_t{0})}, {.vectors = true});
    const LogIndex seen = shard_->SeenIndex();
    if (!found.ok() || found->empty()) return;
    const LogIndex index = index_of(found->front().vectors[0].values[0]);
    later_count += index > seen ? 1 : 0;
    earlier_count += index < stored ? 1 : 0;
    ++read_count;
  });
  for (int i = 0; i < 2000 || read_count < 500; ++i) ASSERT_TRUE(Upsert(moved()).ok());
  StopAll();
  EXPECT_EQ(later_count, 0u);
  EXPECT_EQ(earlier_count, 0u);
  EXPECT_EQ(shard_->SeenIndex(), last());
}

TEST_F(ShardConcurrencyTest, EverythingMayRunAtOnce) {
  Start();
  std::atomic<uint64_t> error_count{0};
  const auto expect_ok = [&](const Status& status) {
    if (status.ok()) return;
    ++error_count;
    ADD_FAILURE() << status;
  };
  Spawn("search", [&] {
    SearchQuery query;
    query.vector = Vector(3);
    query.k = 10;
    expect_ok(shard_->Search(query, kAll).status());
  });
  Spawn("scroll", [&] {
    expect_ok(shard_->Scroll({.from = std::nullopt, .limit = 20}, kAll).status());
    expect_ok(shard_->Get(std::vector<PointId>{PointId(1), PointId("s2")}, kAll).status());
    shard_->Stats();
    shard_->TailFill();
    shard_->CurrentStateHash();
  });
  Spawn("link", [&] { shard_->DoIndexWork(8); });
  Spawn("flush", [&] {
    shard_->RequestFlush();
    shard_->Tick();
    shard_->DurableIndex();
  });
  std::atomic<int> snapshot_number{0};
  Spawn("snapshot", [&] {
    const std::string dir = dir_.Join("snapshot-" + std::to_string(snapshot_number++));
    expect_ok(shard_->SaveSnapshot(dir).status());
    std::filesystem::remove_all(dir);
  });
  Random random(1);
  for (int i = 0; i < 400; ++i) {
    std::vector<Point> points;
    for (int j = 0; j < 5; ++j) {
      const uint64_t number = random.Below(300);
      points.push_back(MakePoint(
          number % 2 == 0 ? PointId(number) : PointId("s" + std::to_string(number)), &random));
    }
    ASSERT_TRUE(Upsert(points).ok());
    if (i % 4 == 0) {
      ASSERT_TRUE(Write(DeletePoints{{PointId(random.Below(300)), points[0].id}}).ok());
    }
    if (i % 100 == 50) {
      const std::string dir = dir_.Join("own-" + std::to_string(i));
      ASSERT_TRUE(shard_->SaveSnapshot(dir).ok());
      ASSERT_TRUE(shard_->RestoreSnapshot(dir).ok());
    }
  }
  StopAll();
  EXPECT_EQ(error_count, 0u);
  ExpectEqualToModel();
  Kill();
  Start();
  ExpectEqualToModel();
}

}  // namespace
}  // namespace vectron::shard
