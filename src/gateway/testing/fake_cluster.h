#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics.h"
#include "common/mutex.h"
#include "gateway/gateway.h"

namespace vectron::gateway {

// A placement driver and its workers for tests, in memory: shards check routes and
// epochs, apply each write once by session and sequence, search exactly, and fail as
// they are told. Answers inline. Thread-safe.
class FakeCluster final : public rpc::PlacementApi {
 public:
  explicit FakeCluster(int node_count);
  ~FakeCluster() override;

  // A gateway over this cluster.
  std::unique_ptr<Gateway> MakeGatewayOver(const Clock& clock);
  GatewayOptions OptionsFor(const Clock& clock);

  // What happens to the next requests that reach a shard.
  struct Fault {
    Status status;
    bool after_applying = false;  // the answer is lost, not the request
    std::function<void()> then;   // what happens before a write is answered
  };
  void Inject(ShardId shard, Fault fault, int times = 1);
  // Once: after the shard has read for the next read, before it answers.
  void AfterRead(ShardId shard, std::function<void()> then);
  // Once: after the next read has its read point on a node, before the shard reads for it.
  void BeforeRead(ShardId shard, std::function<void(NodeId)> then);
  // The shard's replicas on other nodes than this one stay as they are now, each until it has
  // to show more.
  void HoldReplicasBut(ShardId shard, NodeId node);
  // Requests to the node are answered with NOT_LEADER that names `leader`.
  void SetLeader(ShardId shard, NodeId leader);
  // Until released, watchers hear nothing of changes.
  void HoldWatchers();
  void ReleaseWatchers();
  // Until released, writes are not even looked at.
  void HoldWrites();
  void ReleaseWrites();
  size_t held_write_count();
  // Splits a shard in the middle of its range; both halves know what it knew.
  void Split(const std::string& collection, ShardId shard);

  rpc::CollectionInfo Info(const std::string& collection);
  // In the order of arrival, each attempt.
  std::vector<rpc::WriteRequest> Writes();
  std::vector<std::pair<NodeId, rpc::ReadOptions>> Reads();
  std::vector<PointId> IdsOn(ShardId shard);
  int get_map_count();
  int search_count();
  int scroll_count();

  void CreateCollection(CollectionConfig config, Deadline deadline,
                        Callback<rpc::CollectionInfo> done) override;
  void DropCollection(std::string name, Deadline deadline, Callback<bool> done) override;
  void GetMap(Deadline deadline, Callback<rpc::ClusterMapPtr> done) override;
  void WatchMap(uint64_t known_version, Deadline deadline,
                Callback<rpc::ClusterMapPtr> done) override;
  void Register(rpc::RegisterRequest, Deadline, Callback<rpc::RegisterResponse> done) override;
  void Heartbeat(rpc::HeartbeatRequest, Callback<rpc::HeartbeatResponse> done) override;
  void GetStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) override;

  MetricsRegistry metrics;

 private:
  class Worker;
  // What a replica shows.
  struct State {
    std::map<PointId, std::pair<Point, uint64_t>> points;  // and versions
    uint64_t index = 0;
  };
  struct Shard {
    rpc::ShardInfo info;
    CollectionConfig config;
    State state;
    std::map<NodeId, State> held;  // of replicas that lag behind
    std::map<std::pair<uint64_t, uint64_t>, StatusOr<WriteResult>> applied;
    std::deque<Fault> faults;
    std::function<void(NodeId)> before_read;
    std::function<void()> after_read;
    NodeId leader;
  };

  // Null, with the error in `status`, if the request is to be refused.
  Shard* Find(NodeId node, const rpc::ShardRoute& route, bool is_write, Status* status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The state of the shard's replica on a node, once it has what the read must see.
  const State& Reach(NodeId node, const rpc::ReadOptions& read, Shard* shard)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<WriteResult> Apply(const rpc::WriteRequest& request, Shard* shard)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(rpc::ClusterMap map);

  mutable Mutex mutex_;
  rpc::ClusterMapPtr map_ ABSL_GUARDED_BY(mutex_);
  std::map<ShardId, Shard> shards_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Callback<rpc::ClusterMapPtr>> watchers_ ABSL_GUARDED_BY(mutex_);
  bool watchers_held_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::function<void()>> held_writes_ ABSL_GUARDED_BY(mutex_);
  bool writes_held_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = kFirstShardId.value();
  std::vector<rpc::WriteRequest> writes_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<NodeId, rpc::ReadOptions>> reads_ ABSL_GUARDED_BY(mutex_);
  int get_map_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<int> search_count_ = 0;
  std::atomic<int> scroll_count_ = 0;
};

// Calls that wait for their answer: Await<T>([&](auto done) { gateway.Get(..., done); }).
template <typename T, typename Call>
StatusOr<T> Await(Call call) {
  struct State {
    Mutex mutex;
    CondVar answered;
    std::optional<StatusOr<T>> answer ABSL_GUARDED_BY(mutex);
  };
  auto state = std::make_shared<State>();
  call(Callback<T>([state](StatusOr<T> answer) {
    MutexLock lock(state->mutex);
    state->answer = std::move(answer);
    state->answered.NotifyAll();
  }));
  MutexLock lock(state->mutex);
  while (!state->answer.has_value()) state->answered.Wait(state->mutex);
  return *std::move(state->answer);
}

}  // namespace vectron::gateway
