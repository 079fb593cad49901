#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/collection.h"
#include "common/error.h"
#include "common/ids.h"
#include "rpc/placement_api.h"

namespace vectron::placement {

// Everything that the placement group replicates. A plain value: equal logs give
// equal catalogues, whatever the process.
struct Catalog {
  std::string cluster_id;    // empty until InitCluster
  uint64_t map_version = 0;  // grows with every change
  // The next ids to give out. None is ever given twice.
  NodeId next_node{1};
  CollectionId next_collection{1};
  ShardId next_shard = kFirstShardId;
  ReplicaId next_replica{1};
  std::map<std::string, rpc::CollectionInfo> collections;
  std::map<NodeId, rpc::WorkerInfo> workers;

  bool operator==(const Catalog&) const = default;
};

// The cluster's birth. A second one changes nothing.
struct InitCluster {
  std::string cluster_id;
  // Nodes 1 to this were known before there was a catalogue: the placement group's
  // first members.
  uint64_t reserved_node_count = 0;

  bool operator==(const InitCluster&) const = default;
};

struct RegisterWorker {
  NodeId node;             // 0: allocate one
  std::string cluster_id;  // empty: not known yet
  std::string internal_address;
  std::vector<std::pair<std::string, std::string>> labels;

  bool operator==(const RegisterWorker&) const = default;
};

struct CreateCollection {
  CollectionConfig config;
  // The nodes of each shard's replicas, in the order of the ranges: what the
  // scheduler chose.
  std::vector<std::vector<NodeId>> placements;

  bool operator==(const CreateCollection&) const = default;
};

struct DropCollection {
  std::string name;

  bool operator==(const DropCollection&) const = default;
};

struct Command {
  int64_t time_ms = 0;  // wall time at the proposer
  std::variant<InitCluster, RegisterWorker, CreateCollection, DropCollection> body;

  bool operator==(const Command&) const = default;
};

struct CommandResult {
  uint64_t id = 0;           // the node registered, the collection created or dropped; 0: none
  uint64_t map_version = 0;  // of the first map that shows it

  bool operator==(const CommandResult&) const = default;
};

// Carries out `command`: pure and deterministic. On an error `catalog` is as before.
// Errors: COLLECTION_EXISTS, INVALID_ARGUMENT (also for a worker of another cluster),
// STALE_EPOCH (a worker chosen for a shard is gone: choose again), INTERNAL (no InitCluster
// before).
StatusOr<CommandResult> ApplyCommand(const Command& command, Catalog* catalog);

// The COLLECTION_EXISTS that a creation with `config` gets beside `existing`. A
// shard_count of 0 is the same as any.
Status CollectionExists(const CollectionConfig& config, const CollectionConfig& existing);

// What routing needs of it.
rpc::ClusterMapPtr MakeClusterMap(const Catalog& catalog);

}  // namespace vectron::placement
