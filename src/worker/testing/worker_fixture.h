#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/sync_call.h"
#include "common/thread.h"
#include "consensus/testing/fake_host.h"
#include "storage/testing/temp_dir.h"
#include "worker/testing/fake_placement.h"
#include "worker/worker.h"

namespace vectron::worker::testing {

inline constexpr NodeId kNode{1};
inline constexpr uint32_t kDimension = 4;

// A collection of one l2 vector whose shards `ids` are all on kNode.
inline rpc::CollectionInfo Collection(const std::string& name, std::vector<uint64_t> ids) {
  rpc::CollectionInfo info;
  info.id = CollectionId(ids.front());
  info.config.name = name;
  VectorConfig vector;
  vector.dimension = kDimension;
  info.config.vectors = {vector};
  info.config.shard_count = static_cast<uint32_t>(ids.size());
  const std::vector<HashRange> ranges = SplitHashSpace(info.config.shard_count);
  for (size_t i = 0; i < ids.size(); ++i) {
    info.shards.push_back(
        {ShardId(ids[i]), info.id, ranges[i], Epoch{1, 1}, {{ReplicaId(ids[i] + 100), kNode}}});
  }
  return info;
}

inline Point MakePoint(uint64_t id, float x = 0) {
  return {PointId(id), {{"", {x, static_cast<float>(id), 0, 1}}}, "{\"id\":1}"};
}

// One worker over a FakeHost and a FakePlacement, on a directory that survives it.
class WorkerFixture : public ::testing::Test {
 protected:
  WorkerFixture() {
    options_.node = kNode;
    options_.dir = temp_.Join("shards");
    options_.disk_reserve_bytes = 0;
    options_.index_thread_count = 1;
    options_.block_cache_bytes = 8 << 20;
    options_.write_buffer_bytes = 8 << 20;
    options_.poll = std::chrono::milliseconds(2);
  }
  ~WorkerFixture() override { Crash(); }

  StatusOr<std::unique_ptr<Worker>> TryStart() {
    if (host_ == nullptr) host_ = std::make_unique<consensus::FakeHost>(kNode, disk_);
    return Worker::Start(options_, {&SystemClock(), host_.get(), &placement_, &metrics_});
  }
  void StartWorker() {
    auto worker = TryStart();
    ASSERT_TRUE(worker.ok()) << worker.status();
    worker_ = *std::move(worker);
  }
  // What kill -9 leaves.
  void Crash() {
    worker_.reset();
    host_.reset();
  }
  void WaitReady() {
    ASSERT_TRUE(WaitUntil([&] {
      return worker_->Ready().ok() &&
             placement_.last_heartbeat().map_version == placement_.map_version();
    })) << worker_->Ready();
  }
  // With collections, serving.
  void StartWith(std::vector<rpc::CollectionInfo> collections) {
    placement_.SetCollections(std::move(collections));
    StartWorker();
    WaitReady();
  }

  template <typename Condition>
  static bool WaitUntil(const Condition& condition) {
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    for (int i = 0; i < 60'000; ++i) {
      if (condition()) return true;
      never.WaitFor(mutex, std::chrono::milliseconds(1));
    }
    return false;
  }

  static Deadline In(Duration delay) { return SystemClock().Now() + delay; }
  static rpc::ShardRoute RouteTo(uint64_t shard) { return {ShardId(shard), Epoch{1, 1}}; }

  StatusOr<WriteResult> Write(rpc::WriteRequest request) {
    return SyncCall<WriteResult>(
        [&](auto done) { worker_->Write(std::move(request), std::move(done)); });
  }
  StatusOr<WriteResult> Upsert(uint64_t shard, std::vector<Point> points) {
    return Write({RouteTo(shard), {}, UpsertPoints{std::move(points)}, kNoDeadline});
  }
  StatusOr<rpc::SearchResponse> Search(rpc::SearchRequest request) {
    return SyncCall<rpc::SearchResponse>(
        [&](auto done) { worker_->Search(std::move(request), std::move(done)); });
  }
  StatusOr<rpc::SearchResponse> Search(uint64_t shard, std::vector<float> vector, uint32_t k = 3) {
    SearchQuery query;
    query.vector = std::move(vector);
    query.k = k;
    return Search({RouteTo(shard), {}, std::vector<SearchQuery>{query}, {}});
  }
  StatusOr<uint64_t> Count(uint64_t shard, rpc::ReadOptions read = {}) {
    auto response = SyncCall<rpc::CountResponse>([&](auto done) {
      worker_->Count({RouteTo(shard), read}, std::move(done));
    });
    if (!response.ok()) return response.status();
    return response->stats.point_count;
  }

  vectron::testing::TempDir temp_;
  MetricsRegistry metrics_;
  FakePlacement placement_;
  std::shared_ptr<consensus::FakeHost::Disk> disk_ = std::make_shared<consensus::FakeHost::Disk>();
  WorkerOptions options_;
  std::unique_ptr<consensus::FakeHost> host_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace vectron::worker::testing
