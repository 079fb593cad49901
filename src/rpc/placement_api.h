#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/collection.h"
#include "common/data_ops.h"
#include "common/ids.h"
#include "common/string_map.h"

namespace vectron::rpc {

struct ShardReplica {
  ReplicaId replica;
  NodeId node;

  bool operator==(const ShardReplica&) const = default;
};

struct ShardInfo {
  ShardId id;
  CollectionId collection;
  HashRange range;
  Epoch epoch;
  std::vector<ShardReplica> replicas;

  bool operator==(const ShardInfo&) const = default;
};

struct CollectionInfo {
  CollectionId id;
  CollectionConfig config;
  std::vector<ShardInfo> shards;  // by range; together the whole hash space
  int64_t created_at_ms = 0;      // wall time

  bool operator==(const CollectionInfo&) const = default;
};

enum class WorkerState : uint8_t { kUp = 1, kDraining = 2, kRemoved = 3 };

struct WorkerInfo {
  NodeId node;
  std::string internal_address;  // HOST:PORT; empty in a process of its own
  WorkerState state = WorkerState::kUp;
  std::vector<std::pair<std::string, std::string>> labels;

  bool operator==(const WorkerInfo&) const = default;
};

// All metadata that routing needs: an immutable value, replaced as a whole. The
// version grows with every change.
struct ClusterMap {
  uint64_t version = 0;
  std::string cluster_id;
  StringMap<CollectionInfo> collections;  // by name
  std::vector<WorkerInfo> workers;        // by node id
};
using ClusterMapPtr = std::shared_ptr<const ClusterMap>;

// What a worker tells about one of its replicas.
struct ReplicaReport {
  ShardId shard;
  ReplicaId replica;
  bool is_leader = false;
  Term term;
  ShardStats stats;
  std::string failure = {};  // why it cannot serve (the rest is then empty); empty: it does
};

struct HeartbeatRequest {
  NodeId node;
  // The map that `replicas` reflects: replicas of shards it does not have no longer
  // answer requests.
  uint64_t map_version = 0;
  std::vector<ReplicaReport> replicas;
};

struct HeartbeatResponse {
  uint64_t map_version = 0;  // a worker with an older map fetches it
};

struct RegisterRequest {
  // The process's id; 0 asks for one.
  NodeId node;
  // What the worker's data directory remembers; empty at the first start. A worker of
  // another cluster is refused, lest it destroy shards that this one does not know.
  std::string cluster_id;
  std::string internal_address;
  std::vector<std::pair<std::string, std::string>> labels;
};

struct RegisterResponse {
  NodeId node;
  std::string cluster_id;
};

struct ClusterStatus {
  std::string cluster_id;
  uint64_t map_version = 0;
  std::optional<NodeId> placement_leader;
  struct Worker {
    WorkerInfo info;
    bool alive = false;
    std::optional<int64_t> last_heartbeat_ms_ago;
    std::vector<ReplicaReport> replicas;
  };
  std::vector<Worker> workers;
};

// What the placement driver offers to workers and gateways; implemented by
// placement::Placement in the same process and by a gRPC stub for another one.
// Thread-safe. Errors: NOT_LEADER (with hint), UNAVAILABLE, DEADLINE_EXCEEDED;
// for changes OUTCOME_UNKNOWN.
class PlacementApi {
 public:
  virtual ~PlacementApi() = default;

  // Answers when every shard of the new collection has a leader. COLLECTION_EXISTS
  // (its message says whether with the same settings); INVALID_ARGUMENT.
  virtual void CreateCollection(CollectionConfig config, Deadline deadline,
                                Callback<CollectionInfo> done) = 0;
  // False if there was none of that name. Answers when no worker that is alive serves
  // the collection's shards any more (or at `deadline`; the collection is gone then too).
  virtual void DropCollection(std::string name, Deadline deadline, Callback<bool> done) = 0;

  // Linearizable: shows every change answered before the call.
  virtual void GetMap(Deadline deadline, Callback<ClusterMapPtr> done) = 0;
  // Answers once the map is newer than `known_version`, or at `deadline` with
  // whatever map there is.
  virtual void WatchMap(uint64_t known_version, Deadline deadline,
                        Callback<ClusterMapPtr> done) = 0;

  virtual void Register(RegisterRequest request, Deadline deadline,
                        Callback<RegisterResponse> done) = 0;
  virtual void Heartbeat(HeartbeatRequest request, Callback<HeartbeatResponse> done) = 0;

  virtual void GetStatus(Deadline deadline, Callback<ClusterStatus> done) = 0;
};

}  // namespace vectron::rpc
