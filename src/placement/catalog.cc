#include "placement/catalog.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include "common/check.h"

namespace vectron::placement {
namespace {

// Whoever proposes waits for it first.
Status NotInitialised() { return Internal("the cluster is not initialised"); }

StatusOr<CommandResult> Apply(const InitCluster& command, int64_t, Catalog* catalog) {
  if (!catalog->cluster_id.empty()) return CommandResult{0, catalog->map_version};
  if (command.cluster_id.empty()) return InvalidArgument("a cluster's id must not be empty");
  catalog->cluster_id = command.cluster_id;
  catalog->next_node = NodeId(command.reserved_node_count + 1);
  return CommandResult{0, ++catalog->map_version};
}

Status CheckRegistration(const RegisterWorker& command, const Catalog& catalog) {
  if (catalog.cluster_id.empty()) return NotInitialised();
  if (!command.cluster_id.empty() && command.cluster_id != catalog.cluster_id) {
    return InvalidArgument(
        fmt::format("the worker's data directory belongs to cluster {}, this is cluster {}",
                    command.cluster_id, catalog.cluster_id));
  }
  if (command.node >= catalog.next_node) {
    return InvalidArgument(
        fmt::format("node {} was never part of this cluster", command.node.value()));
  }
  const auto worker = catalog.workers.find(command.node);
  if (worker != catalog.workers.end() && worker->second.state == rpc::WorkerState::kRemoved) {
    return InvalidArgument(
        fmt::format("node {} was removed from this cluster", command.node.value()));
  }
  return OkStatus();
}

StatusOr<CommandResult> Apply(const RegisterWorker& command, int64_t, Catalog* catalog) {
  VECTRON_RETURN_IF_ERROR(CheckRegistration(command, *catalog));
  NodeId node = command.node;
  if (node == NodeId(0)) {
    node = catalog->next_node;
    catalog->next_node = NodeId(node.value() + 1);
  }
  const auto [worker, is_new] = catalog->workers.try_emplace(node);
  rpc::WorkerInfo info = worker->second;
  info.node = node;
  info.internal_address = command.internal_address;
  info.labels = command.labels;
  // A worker that comes back as it was changes nothing: nobody needs a new map.
  if (is_new || info != worker->second) {
    worker->second = std::move(info);
    ++catalog->map_version;
  }
  return CommandResult{node.value(), catalog->map_version};
}

// That the scheduler's choice, made before the command's turn came, still holds.
Status CheckPlacements(const CreateCollection& command, const Catalog& catalog) {
  const size_t shard_count = command.placements.size();
  if (shard_count == 0 || shard_count > kShardCountMax) {
    return InvalidArgument(fmt::format("a collection cannot have {} shards", shard_count));
  }
  for (const std::vector<NodeId>& nodes : command.placements) {
    if (nodes.size() != command.config.replication_factor) {
      return InvalidArgument("a shard's placement does not match the replication_factor");
    }
    absl::flat_hash_set<NodeId> seen;
    for (const NodeId node : nodes) {
      if (!seen.insert(node).second) {
        return InvalidArgument("two replicas of a shard are placed on one worker");
      }
      const auto worker = catalog.workers.find(node);
      if (worker == catalog.workers.end() || worker->second.state != rpc::WorkerState::kUp) {
        return MakeError(
            Reason::kStaleEpoch,
            fmt::format("worker {} left while the collection was being created", node.value()));
      }
    }
  }
  return OkStatus();
}

StatusOr<CommandResult> Apply(const CreateCollection& command, int64_t time_ms, Catalog* catalog) {
  if (catalog->cluster_id.empty()) return NotInitialised();
  VECTRON_RETURN_IF_ERROR(ValidateCollectionConfig(command.config));
  const auto existing = catalog->collections.find(command.config.name);
  if (existing != catalog->collections.end()) {
    return CollectionExists(command.config, existing->second.config);
  }
  VECTRON_RETURN_IF_ERROR(CheckPlacements(command, *catalog));

  rpc::CollectionInfo info;
  info.id = catalog->next_collection;
  catalog->next_collection = CollectionId(info.id.value() + 1);
  info.config = command.config;
  info.config.shard_count = static_cast<uint32_t>(command.placements.size());
  info.created_at_ms = time_ms;
  const std::vector<HashRange> ranges = SplitHashSpace(info.config.shard_count);
  for (size_t i = 0; i < ranges.size(); ++i) {
    rpc::ShardInfo shard;
    shard.id = catalog->next_shard;
    catalog->next_shard = ShardId(shard.id.value() + 1);
    shard.collection = info.id;
    shard.range = ranges[i];
    shard.epoch = Epoch{1, 1};
    for (const NodeId node : command.placements[i]) {
      shard.replicas.push_back({catalog->next_replica, node});
      catalog->next_replica = ReplicaId(catalog->next_replica.value() + 1);
    }
    info.shards.push_back(std::move(shard));
  }
  const CommandResult result{info.id.value(), ++catalog->map_version};
  catalog->collections.emplace(info.config.name, std::move(info));
  return result;
}

StatusOr<CommandResult> Apply(const DropCollection& command, int64_t, Catalog* catalog) {
  const auto found = catalog->collections.find(command.name);
  if (found == catalog->collections.end()) return CommandResult{0, catalog->map_version};
  const CommandResult result{found->second.id.value(), ++catalog->map_version};
  catalog->collections.erase(found);
  return result;
}

}  // namespace

StatusOr<CommandResult> ApplyCommand(const Command& command, Catalog* catalog) {
  return std::visit([&](const auto& body) { return Apply(body, command.time_ms, catalog); },
                    command.body);
}

Status CollectionExists(const CollectionConfig& config, const CollectionConfig& existing) {
  CollectionConfig wanted = config;
  if (wanted.shard_count == 0) wanted.shard_count = existing.shard_count;
  return MakeError(Reason::kCollectionExists,
                   fmt::format("collection '{}' exists already, with {} settings", config.name,
                               wanted == existing ? "the same" : "other"));
}

rpc::ClusterMapPtr MakeClusterMap(const Catalog& catalog) {
  auto map = std::make_shared<rpc::ClusterMap>();
  map->version = catalog.map_version;
  map->cluster_id = catalog.cluster_id;
  map->collections.reserve(catalog.collections.size());
  for (const auto& [name, info] : catalog.collections) map->collections.emplace(name, info);
  for (const auto& [node, info] : catalog.workers) map->workers.push_back(info);
  return map;
}

}  // namespace vectron::placement
