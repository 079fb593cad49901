#include "placement/catalog.h"

#include <gtest/gtest.h>

#include "common/random.h"
#include "placement/catalog_codec.h"

namespace vectron::placement {
namespace {

CollectionConfig Config(const std::string& name, uint32_t shard_count = 0) {
  CollectionConfig config;
  config.name = name;
  VectorConfig vector;
  vector.dimension = 8;
  config.vectors = {vector};
  config.shard_count = shard_count;
  return config;
}

Catalog ClusterOf(uint64_t worker_count) {
  Catalog catalog;
  EXPECT_TRUE(ApplyCommand({1, InitCluster{"c1", 1}}, &catalog).ok());
  for (uint64_t i = 0; i < worker_count; ++i) {
    EXPECT_TRUE(
        ApplyCommand({2, RegisterWorker{NodeId(i == 0 ? 1 : 0), "", "", {}}}, &catalog).ok());
  }
  return catalog;
}

Reason ReasonFor(const Command& command, Catalog* catalog) {
  const Catalog before = *catalog;
  const auto result = ApplyCommand(command, catalog);
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(*catalog, before) << "an error must change nothing";
  return ReasonOf(result.status());
}

TEST(CatalogTest, ASecondBirthChangesNothing) {
  Catalog catalog = ClusterOf(0);
  const Catalog before = catalog;
  ASSERT_TRUE(ApplyCommand({5, InitCluster{"c2", 7}}, &catalog).ok());
  EXPECT_EQ(catalog, before);
  EXPECT_EQ(catalog.cluster_id, "c1");
}

TEST(CatalogTest, NothingIsAcceptedBeforeTheBirth) {
  Catalog catalog;
  EXPECT_EQ(ReasonFor({1, RegisterWorker{}}, &catalog), Reason::kInternal);
  EXPECT_EQ(ReasonFor({1, CreateCollection{Config("a"), {{NodeId(1)}}}}, &catalog),
            Reason::kInternal);
  EXPECT_EQ(ReasonFor({1, InitCluster{}}, &catalog), Reason::kInvalidArgument);
}

TEST(CatalogTest, RegistrationAllocatesAndRemembers) {
  Catalog catalog = ClusterOf(3);
  EXPECT_EQ(catalog.workers.size(), 3u);
  EXPECT_EQ(catalog.next_node, NodeId(4));
  const uint64_t version = catalog.map_version;
  // Back as it was.
  EXPECT_TRUE(ApplyCommand({9, RegisterWorker{NodeId(2), "c1", "", {}}}, &catalog).ok());
  EXPECT_EQ(catalog.map_version, version);
  // Back with another address.
  EXPECT_TRUE(
      ApplyCommand({9, RegisterWorker{NodeId(2), "c1", "h:1", {{"z", "a"}}}}, &catalog).ok());
  EXPECT_EQ(catalog.map_version, version + 1);
  EXPECT_EQ(catalog.workers.at(NodeId(2)).internal_address, "h:1");
}

TEST(CatalogTest, StrangersAreRefused) {
  Catalog catalog = ClusterOf(1);
  EXPECT_EQ(ReasonFor({1, RegisterWorker{NodeId(2), "", "", {}}}, &catalog),
            Reason::kInvalidArgument);
  EXPECT_EQ(ReasonFor({1, RegisterWorker{NodeId(1), "other", "", {}}}, &catalog),
            Reason::kInvalidArgument);
  catalog.workers.at(NodeId(1)).state = rpc::WorkerState::kRemoved;
  EXPECT_EQ(ReasonFor({1, RegisterWorker{NodeId(1), "c1", "", {}}}, &catalog),
            Reason::kInvalidArgument);
}

TEST(CatalogTest, CreationCoversTheHashSpaceAndNeverReusesIds) {
  Catalog catalog = ClusterOf(2);
  CollectionConfig config = Config("a");
  const CreateCollection create{config, {{NodeId(1)}, {NodeId(2)}, {NodeId(1)}}};
  const auto first = ApplyCommand({1234, create}, &catalog);
  ASSERT_TRUE(first.ok());
  const rpc::CollectionInfo info = catalog.collections.at("a");
  EXPECT_EQ(info.config.shard_count, 3u);
  EXPECT_EQ(info.created_at_ms, 1234);
  ASSERT_EQ(info.shards.size(), 3u);
  EXPECT_EQ(info.shards[0].id, kFirstShardId);
  EXPECT_EQ(info.shards[0].range.first, 0u);
  EXPECT_EQ(info.shards[2].range.last, ~uint64_t{0});
  EXPECT_EQ(info.shards[1].replicas[0].node, NodeId(2));

  const auto dropped = ApplyCommand({1, DropCollection{"a"}}, &catalog);
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->id, first->id);
  EXPECT_EQ(ApplyCommand({1, DropCollection{"a"}}, &catalog)->id, 0u);
  ASSERT_TRUE(ApplyCommand({1, create}, &catalog).ok());
  const rpc::CollectionInfo again = catalog.collections.at("a");
  EXPECT_GT(again.id, info.id);
  EXPECT_GT(again.shards[0].id, info.shards[2].id);
  EXPECT_GT(again.shards[0].replicas[0].replica, info.shards[2].replicas[0].replica);
}

TEST(CatalogTest, CreationErrors) {
  Catalog catalog = ClusterOf(2);
  const auto create = [](CollectionConfig config, std::vector<std::vector<NodeId>> placements) {
    return Command{1, CreateCollection{std::move(config), std::move(placements)}};
  };
  ASSERT_TRUE(ApplyCommand(create(Config("a", 1), {{NodeId(1)}}), &catalog).ok());
  EXPECT_EQ(ReasonFor(create(Config("a", 1), {{NodeId(1)}}), &catalog), Reason::kCollectionExists);
  EXPECT_EQ(ReasonFor(create(Config("../x"), {{NodeId(1)}}), &catalog), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonFor(create(Config("b"), {}), &catalog), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonFor(create(Config("b"), {{NodeId(9)}}), &catalog), Reason::kStaleEpoch);
  EXPECT_EQ(ReasonFor(create(Config("b"), {{NodeId(1), NodeId(2)}}), &catalog),
            Reason::kInvalidArgument);
  CollectionConfig two = Config("b");
  two.replication_factor = 2;
  EXPECT_EQ(ReasonFor(create(two, {{NodeId(1), NodeId(1)}}), &catalog), Reason::kInvalidArgument);
  catalog.workers.at(NodeId(2)).state = rpc::WorkerState::kDraining;
  EXPECT_EQ(ReasonFor(create(two, {{NodeId(1), NodeId(2)}}), &catalog), Reason::kStaleEpoch);
}

TEST(CatalogTest, ExistsSaysWhetherTheSettingsAreTheSame) {
  const auto message = [](const CollectionConfig& config, const CollectionConfig& existing) {
    return std::string(CollectionExists(config, existing).message());
  };
  EXPECT_NE(message(Config("a", 3), Config("a", 3)).find("the same settings"), std::string::npos);
  EXPECT_NE(message(Config("a", 0), Config("a", 3)).find("the same settings"), std::string::npos);
  EXPECT_NE(message(Config("a", 2), Config("a", 3)).find("other settings"), std::string::npos);
  CollectionConfig cosine = Config("a", 3);
  cosine.vectors[0].metric = Metric::kCosine;
  EXPECT_NE(message(cosine, Config("a", 3)).find("other settings"), std::string::npos);
}

// A random command, many of them wrong.
Command RandomCommand(Random* random) {
  const std::string name = "c" + std::to_string(random->Below(6));
  const auto time = static_cast<int64_t>(random->Below(1'000'000));
  switch (random->Below(4)) {
    case 0:
      return {time, InitCluster{random->Below(2) == 0 ? "x" : "y", random->Below(3)}};
    case 1:
      return {time, RegisterWorker{NodeId(random->Below(5)), "", name, {{"zone", name}}}};
    case 2: {
      CreateCollection create{Config(name, static_cast<uint32_t>(random->Below(3))), {}};
      create.config.replication_factor = static_cast<uint32_t>(1 + random->Below(2));
      for (uint64_t i = random->Below(4); i > 0; --i) {
        auto& nodes = create.placements.emplace_back();
        for (uint64_t r = 0; r < create.config.replication_factor; ++r) {
          nodes.push_back(NodeId(1 + random->Below(4)));
        }
      }
      return {time, std::move(create)};
    }
    default:
      return {time, DropCollection{name}};
  }
}

// Two replicas that meet the same commands, one of them through the stored forms and
// with a restart in between, are the same at every step.
TEST(CatalogTest, EqualLogsGiveEqualCatalogues) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    Catalog direct;
    Catalog stored;
    for (int step = 0; step < 200; ++step) {
      const Command command = RandomCommand(&random);
      const auto decoded = DecodeCommand(EncodeCommand(command));
      ASSERT_TRUE(decoded.ok());
      ASSERT_EQ(*decoded, command);
      const uint64_t version = direct.map_version;
      const Catalog before = direct;
      const auto a = ApplyCommand(command, &direct);
      const auto b = ApplyCommand(*decoded, &stored);
      ASSERT_EQ(a.ok(), b.ok());
      if (a.ok()) {
        ASSERT_EQ(*a, *b);
        ASSERT_EQ(*DecodeResult(EncodeResult(*a)), *a);
      } else {
        ASSERT_EQ(a.status(), b.status());
        ASSERT_EQ(direct, before);
      }
      ASSERT_EQ(direct.map_version != version, direct != before) << "seed " << seed;
      if (step % 10 == 0) {
        const auto restored = DecodeCheckpoint(EncodeCheckpoint({LogIndex(7), stored, {}}));
        ASSERT_TRUE(restored.ok()) << restored.status();
        stored = restored->catalog;
      }
      ASSERT_EQ(direct, stored) << "seed " << seed << " step " << step;
    }
  }
}

TEST(CatalogTest, TheMapShowsAllOfIt) {
  Catalog catalog = ClusterOf(2);
  ASSERT_TRUE(
      ApplyCommand({1, CreateCollection{Config("a"), {{NodeId(1)}, {NodeId(2)}}}}, &catalog).ok());
  const rpc::ClusterMapPtr map = MakeClusterMap(catalog);
  EXPECT_EQ(map->version, catalog.map_version);
  EXPECT_EQ(map->cluster_id, "c1");
  EXPECT_EQ(map->collections.at("a"), catalog.collections.at("a"));
  ASSERT_EQ(map->workers.size(), 2u);
  EXPECT_EQ(map->workers[1].node, NodeId(2));
}

// Whatever bytes a disk gives back, decoding answers and never crashes.
TEST(CatalogCodecTest, DamagedBytesAreRefusedOrDecoded) {
  Catalog catalog = ClusterOf(2);
  ASSERT_TRUE(
      ApplyCommand({1, CreateCollection{Config("a"), {{NodeId(1)}, {NodeId(2)}}}}, &catalog).ok());
  const std::string good = EncodeCheckpoint({LogIndex(5), catalog, {{"k", "v"}}});
  Random random(3);
  size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good;
    bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    if (random.Below(4) == 0) bytes.resize(random.Below(bytes.size()));
    const auto state = DecodeCheckpoint(bytes);
    if (!state.ok()) ++refused;
  }
  EXPECT_GT(refused, 100u);
  EXPECT_EQ(ReasonOf(DecodeCommand("").status()), Reason::kCorruption);
  EXPECT_EQ(ReasonOf(DecodeCommand("\xff\xff").status()), Reason::kCorruption);
}

}  // namespace
}  // namespace vectron::placement
