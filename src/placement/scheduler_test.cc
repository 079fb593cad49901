#include "placement/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/random.h"

namespace vectron::placement {
namespace {

CollectionConfig Config(uint32_t shard_count, uint32_t replication_factor) {
  CollectionConfig config;
  config.name = "c";
  config.shard_count = shard_count;
  config.replication_factor = replication_factor;
  return config;
}

std::vector<Candidate> Workers(size_t count) {
  std::vector<Candidate> workers;
  for (size_t i = 0; i < count; ++i) workers.push_back({NodeId(i + 1), {}, 0, true});
  return workers;
}

TEST(SchedulerTest, AsManyShardsAsWorkersUnlessTold) {
  auto workers = Workers(5);
  workers[3].alive = false;
  EXPECT_EQ(PlanCollection(Config(0, 1), workers, {})->size(), 4u);
  EXPECT_EQ(PlanCollection(Config(7, 1), workers, {})->size(), 7u);
}

TEST(SchedulerTest, ErrorsSayWhatIsMissing) {
  const auto none = PlanCollection(Config(1, 1), {}, {});
  EXPECT_EQ(ReasonOf(none.status()), Reason::kUnavailable);
  const auto few = PlanCollection(Config(1, 3), Workers(1), {});
  EXPECT_EQ(ReasonOf(few.status()), Reason::kInvalidArgument);
  EXPECT_EQ(std::string(few.status().message()),
            "replication_factor is 3, but the cluster has 1 worker");
  auto workers = Workers(3);
  workers[0].alive = false;
  const auto dead = PlanCollection(Config(1, 3), workers, {});
  EXPECT_EQ(ReasonOf(dead.status()), Reason::kUnavailable);
  const auto full = PlanCollection(Config(9, 1), Workers(2), {4});
  EXPECT_EQ(ReasonOf(full.status()), Reason::kTooManyShards);
  EXPECT_TRUE(PlanCollection(Config(8, 1), Workers(2), {4}).ok());
}

TEST(SchedulerTest, CandidatesAreTheWorkersThatAreUp) {
  Catalog catalog;
  for (uint64_t i = 1; i <= 3; ++i) catalog.workers[NodeId(i)].node = NodeId(i);
  catalog.workers[NodeId(3)].state = rpc::WorkerState::kDraining;
  rpc::ShardInfo shard;
  shard.replicas = {{ReplicaId(1), NodeId(2)}};
  catalog.collections["a"].shards = {shard, shard};
  const auto candidates = CandidatesOf(catalog);
  ASSERT_EQ(candidates.size(), 2u);
  EXPECT_EQ(candidates[0].replica_count, 0u);
  EXPECT_EQ(candidates[1].replica_count, 2u);
}

// Random clusters: different workers a shard, none of them dead, balanced, and spread
// over zones where there are enough of them.
TEST(SchedulerTest, PlacementsHoldTheirPromises) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const size_t worker_count = 1 + random.Below(12);
    const uint64_t zone_count = random.Below(5);  // 0: no labels
    auto workers = Workers(worker_count);
    std::set<std::string> zones;
    size_t alive = 0;
    for (Candidate& worker : workers) {
      worker.alive = random.Below(5) != 0;
      alive += worker.alive ? 1 : 0;
      if (zone_count == 0) continue;
      worker.labels = {{"disk", "ssd"}, {"zone", std::to_string(random.Below(zone_count))}};
      if (worker.alive) zones.insert(worker.labels[1].second);
    }
    const CollectionConfig config =
        Config(static_cast<uint32_t>(random.Below(20)), static_cast<uint32_t>(1 + random.Below(5)));
    const auto plan = PlanCollection(config, workers, {});
    ASSERT_EQ(plan.ok(), alive >= config.replication_factor) << "seed " << seed;
    if (!plan.ok()) continue;
    ASSERT_EQ(plan->size(), config.shard_count == 0 ? alive : config.shard_count);
    std::map<NodeId, size_t> load;
    for (const std::vector<NodeId>& nodes : *plan) {
      ASSERT_EQ(nodes.size(), config.replication_factor);
      ASSERT_EQ(std::set(nodes.begin(), nodes.end()).size(), nodes.size()) << "seed " << seed;
      std::set<std::string> used;
      for (const NodeId node : nodes) {
        const Candidate& worker = workers[node.value() - 1];
        ASSERT_TRUE(worker.alive);
        ++load[node];
        if (zone_count > 0) used.insert(worker.labels[1].second);
      }
      if (zone_count > 0) {
        ASSERT_EQ(used.size(), std::min<size_t>(zones.size(), nodes.size())) << "seed " << seed;
      }
    }
    if (zone_count > 0) continue;
    size_t most = 0;
    size_t least = SIZE_MAX;
    for (const Candidate& worker : workers) {
      if (!worker.alive) continue;
      most = std::max(most, load[worker.node]);
      least = std::min(least, load[worker.node]);
    }
    ASSERT_LE(most - least, 1u) << "seed " << seed;
  }
}

TEST(SchedulerTest, NewReplicasGoToTheEmptiestWorkers) {
  auto workers = Workers(3);
  workers[0].replica_count = 10;
  workers[1].replica_count = 2;
  const auto plan = PlanCollection(Config(4, 1), workers, {});
  ASSERT_TRUE(plan.ok());
  std::map<NodeId, size_t> load;
  for (const auto& nodes : *plan) ++load[nodes[0]];
  EXPECT_EQ(load[NodeId(1)], 0u);
  EXPECT_EQ(load[NodeId(2)], 1u);
  EXPECT_EQ(load[NodeId(3)], 3u);
}

}  // namespace
}  // namespace vectron::placement
