// Placement and worker over the real host, log, store and index, in one process:
// everything below the gateway. A crash is dropping all of it without a word.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <set>

#include "common/random.h"
#include "common/sync_call.h"
#include "consensus/host.h"
#include "placement/placement.h"
#include "storage/testing/temp_dir.h"
#include "worker/worker.h"

namespace vectron {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kDimension = 8;

Deadline In(Duration delay) { return SystemClock().Now() + delay; }

CollectionConfig Config(const std::string& name, uint32_t shard_count) {
  CollectionConfig config;
  config.name = name;
  VectorConfig vector;
  vector.dimension = kDimension;
  config.vectors = {vector};
  config.shard_count = shard_count;
  return config;
}

// A vector that no other id has.
std::vector<float> VectorOf(uint64_t id) {
  Random random(id + 1);
  std::vector<float> values;
  for (uint32_t i = 0; i < kDimension; ++i) values.push_back(static_cast<float>(random.Uniform()));
  return values;
}

Point PointOf(uint64_t id) {
  return {PointId(id), {{"", VectorOf(id)}}, "{\"id\":" + std::to_string(id) + "}"};
}

class RolesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    StartProcess();
    WaitReady();
  }
  void TearDown() override { Crash(); }

  void StartProcess() {
    metrics_ = std::make_unique<MetricsRegistry>();
    consensus::HostOptions host;
    host.self = NodeId(1);
    host.dir = temp_.Join("raft");
    host.seed = RandomSeed();
    auto opened = consensus::Host::Open(host, {&SystemClock(), nullptr, metrics_.get()});
    ASSERT_TRUE(opened.ok()) << opened.status();
    host_ = *std::move(opened);

    placement::PlacementOptions placement;
    placement.dir = temp_.Join("placement");
    placement.members = {{ReplicaId(1), NodeId(1), false}};
    placement.seed = RandomSeed();
    auto started =
        placement::Placement::Start(placement, {&SystemClock(), host_.get(), metrics_.get()});
    ASSERT_TRUE(started.ok()) << started.status();
    placement_ = *std::move(started);

    worker::WorkerOptions worker;
    worker.node = NodeId(1);
    worker.dir = temp_.Join("shards");
    worker.disk_reserve_bytes = 0;
    worker.block_cache_bytes = 8 << 20;
    worker.write_buffer_bytes = 16 << 20;
    worker.poll = milliseconds(5);
    auto working = worker::Worker::Start(
        worker, {&SystemClock(), host_.get(), placement_.get(), metrics_.get()});
    ASSERT_TRUE(working.ok()) << working.status();
    worker_ = *std::move(working);
  }
  void Crash() {
    worker_.reset();
    placement_.reset();
    host_.reset();
  }
  void StopProcess() {
    worker_->Stop(In(seconds(10)));
    placement_->Stop();
    host_->Stop();
    Crash();
  }
  void WaitReady() {
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    for (int i = 0; i < 10'000 && !worker_->Ready().ok(); ++i) {
      never.WaitFor(mutex, milliseconds(2));
    }
    ASSERT_TRUE(worker_->Ready().ok()) << worker_->Ready();
  }

  StatusOr<rpc::CollectionInfo> Create(const CollectionConfig& config) {
    return SyncCall<rpc::CollectionInfo>(
        [&](auto done) { placement_->CreateCollection(config, In(seconds(20)), std::move(done)); });
  }
  StatusOr<bool> Drop(const std::string& name) {
    return SyncCall<bool>(
        [&](auto done) { placement_->DropCollection(name, In(seconds(20)), std::move(done)); });
  }
  rpc::CollectionInfo Lookup(const std::string& name) {
    auto map = SyncCall<rpc::ClusterMapPtr>(
        [&](auto done) { placement_->GetMap(In(seconds(20)), std::move(done)); });
    EXPECT_TRUE(map.ok()) << map.status();
    return (*map)->collections.at(name);
  }

  static rpc::ShardRoute RouteOf(const rpc::CollectionInfo& info, const PointId& id) {
    for (const rpc::ShardInfo& shard : info.shards) {
      if (shard.range.Contains(id.RingHash())) return {shard.id, shard.epoch};
    }
    return {};
  }
  StatusOr<WriteResult> Store(const rpc::CollectionInfo& info, uint64_t id) {
    rpc::WriteRequest request{
        RouteOf(info, PointId(id)), {}, UpsertPoints{{PointOf(id)}}, In(seconds(20))};
    return SyncCall<WriteResult>(
        [&](auto done) { worker_->Write(std::move(request), std::move(done)); });
  }
  // The id that is nearest to the vector of `id`, over all shards.
  StatusOr<PointId> Nearest(const rpc::CollectionInfo& info, uint64_t id) {
    std::optional<ScoredRecord> best;
    for (const rpc::ShardInfo& shard : info.shards) {
      SearchQuery query;
      query.vector = VectorOf(id);
      query.k = 1;
      rpc::SearchRequest request{
          {shard.id, shard.epoch}, {}, std::vector<SearchQuery>{std::move(query)}, {}};
      request.read.deadline = In(seconds(20));
      auto response = SyncCall<rpc::SearchResponse>(
          [&](auto done) { worker_->Search(std::move(request), std::move(done)); });
      if (!response.ok()) return response.status();
      for (ScoredRecord& hit : response->results[0]) {
        if (!best.has_value() || hit.score < best->score) best = std::move(hit);
      }
    }
    if (!best.has_value()) return MakeError(Reason::kPointNotFound, "nothing was found");
    return best->record.id;
  }
  std::optional<Record> Fetch(const rpc::CollectionInfo& info, uint64_t id) {
    Select all;
    all.payload = all.vectors = true;
    rpc::GetRequest request{RouteOf(info, PointId(id)), {}, {PointId(id)}, all};
    auto response = SyncCall<rpc::GetResponse>(
        [&](auto done) { worker_->Get(std::move(request), std::move(done)); });
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok() || response->records.empty()) return std::nullopt;
    return response->records[0];
  }
  uint64_t CountAll(const rpc::CollectionInfo& info) {
    uint64_t count = 0;
    for (const rpc::ShardInfo& shard : info.shards) {
      auto response = SyncCall<rpc::CountResponse>([&](auto done) {
        worker_->Count({{shard.id, shard.epoch}, {}}, std::move(done));
      });
      EXPECT_TRUE(response.ok()) << response.status();
      if (response.ok()) count += response->stats.point_count;
    }
    return count;
  }
  size_t ShardDirectories() const {
    size_t count = 0;
    for (const auto& item : std::filesystem::directory_iterator(temp_.Join("shards"))) {
      count += item.is_directory() ? 1 : 0;
    }
    return count;
  }

  testing::TempDir temp_;
  std::unique_ptr<MetricsRegistry> metrics_;
  std::unique_ptr<consensus::Host> host_;
  std::unique_ptr<placement::Placement> placement_;
  std::unique_ptr<worker::Worker> worker_;
};

TEST_F(RolesTest, CreateWriteSearchRestartDrop) {
  const auto info = Create(Config("a", 3));
  ASSERT_TRUE(info.ok()) << info.status();
  for (uint64_t id = 0; id < 300; ++id) {
    ASSERT_TRUE(Store(*info, id).ok());
    ASSERT_EQ(*Nearest(*info, id), PointId(id));
  }
  for (const bool is_orderly : {false, true}) {
    is_orderly ? StopProcess() : Crash();
    StartProcess();
    WaitReady();
    ASSERT_EQ(Lookup("a"), *info);
    ASSERT_EQ(CountAll(*info), 300u);
    for (uint64_t id = 0; id < 300; id += 7) {
      ASSERT_EQ(*Nearest(*info, id), PointId(id));
      const auto record = Fetch(*info, id);
      ASSERT_TRUE(record.has_value());
      ASSERT_EQ(record->vectors, PointOf(id).vectors);
      ASSERT_EQ(record->payload, PointOf(id).payload);
    }
  }
  EXPECT_TRUE(*Drop("a"));
  EXPECT_EQ(ReasonOf(Nearest(*info, 1).status()), Reason::kShardNotFound);
  EXPECT_EQ(ReasonOf(Store(*info, 1).status()), Reason::kShardNotFound);
}

// Crashes while clients write: what was acknowledged is there, and nothing that was
// never sent.
TEST_F(RolesTest, AcknowledgedWritesSurviveCrashes) {
  const auto info = Create(Config("a", 2));
  ASSERT_TRUE(info.ok()) << info.status();
  std::atomic<uint64_t> next_id{0};
  std::set<uint64_t> acknowledged;
  Mutex mutex;
  for (int round = 0; round < 4; ++round) {
    std::atomic<bool> stop{false};
    std::vector<std::future<void>> clients;
    for (int t = 0; t < 3; ++t) {
      clients.push_back(std::async(std::launch::async, [&] {
        while (!stop) {
          const uint64_t id = next_id++;
          if (!Store(*info, id).ok()) continue;
          MutexLock lock(mutex);
          acknowledged.insert(id);
        }
      }));
    }
    const uint64_t until = next_id + 100 + 40 * static_cast<uint64_t>(round);
    while (next_id < until) {
    }
    // Without waiting for what is under way: the group is cut off below it.
    host_->Stop();
    stop = true;
    for (auto& client : clients) client.get();
    Crash();
    StartProcess();
    WaitReady();
    for (const uint64_t id : acknowledged) {
      const auto record = Fetch(*info, id);
      ASSERT_TRUE(record.has_value()) << "lost " << id;
      ASSERT_EQ(record->vectors, PointOf(id).vectors);
    }
    ASSERT_GE(CountAll(*info), acknowledged.size());
    ASSERT_LE(CountAll(*info), next_id.load());
  }
  EXPECT_GT(acknowledged.size(), 100u);
}

// Crashes between the steps of creations and drops: nothing of a dropped collection is
// left, what exists serves.
TEST_F(RolesTest, CreationsAndDropsSurviveCrashes) {
  Random random(7);
  std::map<std::string, uint64_t> expected;  // by name: a point stored in it
  for (uint64_t round = 0; round < 8; ++round) {
    const std::string name = "c" + std::to_string(random.Below(3));
    if (expected.erase(name) > 0) {
      auto dropping = std::async(std::launch::async, [&] { return Drop(name); });
      if (random.Below(2) == 0) {
        EXPECT_TRUE(*dropping.get());
      } else {
        while (SyncCall<rpc::ClusterMapPtr>(
                   [&](auto done) { placement_->GetMap(In(seconds(20)), std::move(done)); })
                   .value()
                   ->collections.contains(name)) {
        }
        Crash();  // before the worker has done its part
        dropping.get().status().IgnoreError();
        StartProcess();
      }
    } else {
      const auto info = Create(Config(name, 1 + static_cast<uint32_t>(random.Below(3))));
      ASSERT_TRUE(info.ok()) << info.status();
      ASSERT_TRUE(Store(*info, round).ok());
      expected[name] = round;
    }
    if (random.Below(2) == 0) {
      Crash();
      StartProcess();
    }
    WaitReady();
    for (const auto& [existing, id] : expected) {
      const rpc::CollectionInfo info = Lookup(existing);
      ASSERT_EQ(CountAll(info), 1u);
      ASSERT_EQ(*Nearest(info, id), PointId(id));
    }
  }
  size_t shards = 0;
  for (const auto& [name, id] : expected) shards += Lookup(name).shards.size();
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  for (int i = 0; i < 2000 && ShardDirectories() != shards; ++i) {
    never.WaitFor(mutex, milliseconds(5));
  }
  EXPECT_EQ(ShardDirectories(), shards);
}

// Each client's search begins after its write was acknowledged, and sees it.
TEST_F(RolesTest, SearchesSeeEveryAcknowledgedWrite) {
  const auto info = Create(Config("a", 2));
  ASSERT_TRUE(info.ok()) << info.status();
  std::vector<std::future<void>> clients;
  for (uint64_t t = 0; t < 4; ++t) {
    clients.push_back(std::async(std::launch::async, [&, t] {
      for (uint64_t i = 0; i < 100; ++i) {
        const uint64_t id = t * 1000 + i;
        ASSERT_TRUE(Store(*info, id).ok());
        const auto nearest = Nearest(*info, id);
        ASSERT_TRUE(nearest.ok()) << nearest.status();
        ASSERT_EQ(*nearest, PointId(id));
      }
    }));
  }
  for (auto& client : clients) client.get();
  EXPECT_EQ(CountAll(*info), 400u);
}

}  // namespace
}  // namespace vectron
