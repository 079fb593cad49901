#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>

#include "worker/testing/worker_fixture.h"
#include "worker/worker.h"

namespace vectron::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Collection;
using testing::kNode;
using testing::MakePoint;

class ShardLifecycleTest : public testing::WorkerFixture {};

// Behind the start, since a start that read all files would take as long as they are.
TEST_F(ShardLifecycleTest, AShardWhoseFilesAreDamagedServesNoMoreAndOthersDo) {
  const auto collections = {Collection("a", {16}), Collection("b", {17})};
  StartWith(collections);
  for (const uint64_t shard : {16, 17}) {
    Point point = MakePoint(1);
    point.payload = "{\"text\":\"" + std::string(10'000, 'x') + "\"}";  // kept in a blob file
    ASSERT_TRUE(Upsert(shard, {point}).ok());
  }
  worker_->Stop(In(seconds(5)));
  Crash();
  std::string damaged;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(options_.dir + "/shard-16")) {
    if (file.path().extension() == ".blob") damaged = file.path().string();
  }
  std::fstream(damaged, std::ios::in | std::ios::out | std::ios::binary).seekp(60) << "damage";

  options_.scrub_first_delay = milliseconds(0);
  StartWorker();
  ASSERT_TRUE(WaitUntil([&] { return ReasonOf(worker_->Ready()) == Reason::kCorruption; }))
      << worker_->Ready();
  for (const Status& status : {worker_->Ready(), Count(16).status(), Upsert(16, {}).status(),
                               Search(16, {0, 0, 0, 0}).status()}) {
    EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
    EXPECT_NE(status.message().find(damaged), std::string::npos) << status;
    EXPECT_NE(status.message().find("offset 30"), std::string::npos) << status;
  }
  EXPECT_EQ(*Count(17), 1u);
  // Placement is told why.
  ASSERT_TRUE(WaitUntil([&] {
    const auto replicas = placement_.last_heartbeat().replicas;
    return std::any_of(replicas.begin(), replicas.end(), [&](const rpc::ReplicaReport& replica) {
      return replica.shard == ShardId(16) && !replica.is_leader &&
             replica.failure.find(damaged) != std::string::npos;
    });
  }));
  EXPECT_EQ(placement_.last_heartbeat().replicas.size(), 2u);
  ASSERT_TRUE(WaitUntil([&] { return !host_->IsRunning(GroupOf(ShardId(16))); }));
  ASSERT_TRUE(WaitUntil([&] {
    const std::string text = RenderMetrics(metrics_);
    return text.find("vectron_worker_shards_failed 1\n") != std::string::npos &&
           text.find("vectron_scrub_failures_total 1\n") != std::string::npos &&
           text.find("vectron_scrub_passes_total 1\n") != std::string::npos;
  })) << RenderMetrics(metrics_);

  // It can still be dropped.
  placement_.SetCollections({Collection("b", {17})});
  ASSERT_TRUE(WaitUntil([&] { return !std::filesystem::exists(options_.dir + "/shard-16"); }));
  EXPECT_TRUE(worker_->Ready().ok()) << worker_->Ready();
}

// What was there serves, a new shard waits for room and takes none meanwhile.
TEST_F(ShardLifecycleTest, AShardWithoutRoomDoesNotKeepOthersFromServing) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  Crash();
  placement_.SetCollections({Collection("a", {16}), Collection("b", {17})});
  options_.disk_reserve_bytes = uint64_t{1} << 60;
  StartWorker();
  ASSERT_TRUE(WaitUntil([&] { return worker_->Settled().ok(); })) << worker_->Settled();
  EXPECT_EQ(*Count(16), 1u);
  EXPECT_EQ(ReasonOf(worker_->Ready()), Reason::kDiskFull) << worker_->Ready();
  const Status waiting = Count(17).status();
  EXPECT_EQ(ReasonOf(waiting), Reason::kUnavailable);
  EXPECT_NE(waiting.message().find("a new shard"), std::string::npos) << waiting;
  EXPECT_FALSE(std::filesystem::exists(options_.dir + "/shard-17"));

  // It can be dropped all the same, and comes once there is room.
  placement_.SetCollections({Collection("a", {16})});
  ASSERT_TRUE(WaitUntil([&] { return worker_->Ready().ok(); })) << worker_->Ready();
  placement_.SetCollections({Collection("a", {16}), Collection("b", {17})});
  Crash();
  options_.disk_reserve_bytes = 0;
  StartWorker();
  WaitReady();
  EXPECT_EQ(*Count(17), 0u);
}

TEST_F(ShardLifecycleTest, DroppedShardsAreDestroyed) {
  StartWith({Collection("a", {16}), Collection("b", {17})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  ASSERT_TRUE(Upsert(17, {MakePoint(1)}).ok());
  EXPECT_TRUE(std::filesystem::exists(options_.dir + "/shard-16"));
  placement_.SetCollections({Collection("b", {17})});
  ASSERT_TRUE(WaitUntil([&] { return !std::filesystem::exists(options_.dir + "/shard-16"); }));
  EXPECT_FALSE(host_->IsRunning(GroupOf(ShardId(16))));
  EXPECT_FALSE(host_->HasLog(GroupOf(ShardId(16))));
  EXPECT_EQ(ReasonOf(Upsert(16, {MakePoint(2)}).status()), Reason::kShardNotFound);
  EXPECT_EQ(*Count(17), 1u);
}

// --- crashes between the steps of a shard's life ---

TEST_F(ShardLifecycleTest, ADirectoryWithoutAShardInTheMapIsDestroyed) {
  StartWith({Collection("a", {16}), Collection("b", {17})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  Crash();
  placement_.SetCollections({Collection("b", {17})});  // dropped while the worker was away
  StartWorker();
  WaitReady();
  ASSERT_TRUE(WaitUntil([&] { return !std::filesystem::exists(options_.dir + "/shard-16"); }));
  EXPECT_FALSE(host_->HasLog(GroupOf(ShardId(16))));
  EXPECT_TRUE(host_->HasLog(GroupOf(ShardId(17))));
}

TEST_F(ShardLifecycleTest, ADropCutShortAfterTheLogIsCompleted) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  Crash();
  {
    consensus::FakeHost half(kNode, disk_);
    ASSERT_TRUE(half.DestroyGroup(GroupOf(ShardId(16))).ok());
  }
  std::filesystem::remove_all(options_.dir + "/shard-16/CURRENT");  // and part of the files
  placement_.SetCollections({});
  StartWorker();
  ASSERT_TRUE(WaitUntil([&] { return !std::filesystem::exists(options_.dir + "/shard-16"); }));
}

TEST_F(ShardLifecycleTest, ACreationCutShortIsCompleted) {
  StartWith({});
  Crash();
  // The directory was made, and nothing else.
  std::filesystem::create_directories(options_.dir + "/shard-16");
  placement_.SetCollections({Collection("a", {16})});
  StartWorker();
  WaitReady();
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  EXPECT_EQ(*Count(16), 1u);
}

TEST_F(ShardLifecycleTest, AForeignDirectoryStopsTheStart) {
  std::filesystem::create_directories(options_.dir + "/photos");
  const auto worker = TryStart();
  EXPECT_EQ(ReasonOf(worker.status()), Reason::kInvalidArgument);
  EXPECT_NE(worker.status().message().find("photos"), absl::string_view::npos);
}

// Shards come and go while requests run: each answers, with what fits its moment.
TEST_F(ShardLifecycleTest, RacesOfCreationDropAndRequests) {
  StartWith({Collection("kept", {16})});
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> newest{17};
  std::vector<std::future<void>> clients;
  for (int t = 0; t < 2; ++t) {
    clients.push_back(std::async(std::launch::async, [&, t] {
      for (uint64_t i = 0; !stop; ++i) {
        const uint64_t shard = newest;
        const auto written = Upsert(shard, {MakePoint(i)});
        const auto found = Search(shard, {0, 1, 0, 1});
        for (const Status& status : {written.status(), found.status()}) {
          const Reason reason = ReasonOf(status);
          EXPECT_TRUE(status.ok() || reason == Reason::kShardNotFound ||
                      reason == Reason::kUnavailable)
              << status;
        }
        EXPECT_TRUE(Upsert(16, {MakePoint(2 * i + static_cast<uint64_t>(t))}).ok());
      }
    }));
  }
  for (uint64_t shard = 17; shard < 32; ++shard) {
    placement_.SetCollections({Collection("kept", {16}), Collection("b", {shard})});
    newest = shard;
    if (shard % 3 != 0) WaitReady();
  }
  stop = true;
  for (auto& client : clients) client.get();
  WaitReady();
  ASSERT_TRUE(WaitUntil([&] {
    size_t directories = 0;
    for (const auto& item : std::filesystem::directory_iterator(options_.dir)) {
      directories += item.is_directory() ? 1 : 0;
    }
    return directories == 2;
  }));
}

}  // namespace
}  // namespace vectron::worker
