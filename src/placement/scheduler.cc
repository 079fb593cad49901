#include "placement/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "common/check.h"

namespace vectron::placement {
namespace {

// How many labels two workers have in common: each is a failure that takes both.
size_t SharedLabels(const Candidate& a, const Candidate& b) {
  size_t count = 0;
  for (const auto& label : a.labels) {
    count += std::find(b.labels.begin(), b.labels.end(), label) != b.labels.end() ? 1 : 0;
  }
  return count;
}

Status CheckWorkers(const CollectionConfig& config, size_t known_count, size_t alive_count) {
  const size_t needed = config.replication_factor;
  if (known_count == 0) return MakeError(Reason::kUnavailable, "the cluster has no worker yet");
  if (known_count < needed) {
    return InvalidArgument(fmt::format("replication_factor is {}, but the cluster has {} worker{}",
                                       needed, known_count, known_count == 1 ? "" : "s"));
  }
  if (alive_count < needed) {
    return MakeError(Reason::kUnavailable,
                     fmt::format("replication_factor is {}, but only {} of {} workers are alive",
                                 needed, alive_count, known_count));
  }
  return OkStatus();
}

// The workers of one shard; counts them in.
std::vector<NodeId> PlanShard(size_t replica_count, std::vector<Candidate>* candidates) {
  std::vector<Candidate*> chosen;
  while (chosen.size() < replica_count) {
    Candidate* best = nullptr;
    std::tuple<size_t, size_t, NodeId> best_cost;
    for (Candidate& candidate : *candidates) {
      if (std::find(chosen.begin(), chosen.end(), &candidate) != chosen.end()) continue;
      size_t shared = 0;
      for (const Candidate* other : chosen) shared += SharedLabels(candidate, *other);
      const std::tuple cost(shared, candidate.replica_count, candidate.node);
      if (best == nullptr || cost < best_cost) {
        best = &candidate;
        best_cost = cost;
      }
    }
    VECTRON_CHECK(best != nullptr);
    ++best->replica_count;
    chosen.push_back(best);
  }
  std::vector<NodeId> nodes;
  for (const Candidate* candidate : chosen) nodes.push_back(candidate->node);
  return nodes;
}

}  // namespace

std::vector<Candidate> CandidatesOf(const Catalog& catalog) {
  std::map<NodeId, size_t> replica_counts;
  for (const auto& [name, collection] : catalog.collections) {
    for (const rpc::ShardInfo& shard : collection.shards) {
      for (const rpc::ShardReplica& replica : shard.replicas) ++replica_counts[replica.node];
    }
  }
  std::vector<Candidate> candidates;
  for (const auto& [node, worker] : catalog.workers) {
    if (worker.state != rpc::WorkerState::kUp) continue;
    candidates.push_back({node, worker.labels, replica_counts[node], true});
  }
  return candidates;
}

StatusOr<std::vector<std::vector<NodeId>>> PlanCollection(const CollectionConfig& config,
                                                          std::vector<Candidate> candidates,
                                                          const SchedulerLimits& limits) {
  const size_t known_count = candidates.size();
  std::erase_if(candidates, [](const Candidate& candidate) { return !candidate.alive; });
  VECTRON_RETURN_IF_ERROR(CheckWorkers(config, known_count, candidates.size()));

  size_t shard_count = config.shard_count;
  if (shard_count == 0) shard_count = std::min<size_t>(candidates.size(), kShardCountMax);
  std::vector<std::vector<NodeId>> placements;
  for (size_t i = 0; i < shard_count; ++i) {
    placements.push_back(PlanShard(config.replication_factor, &candidates));
  }
  for (const Candidate& candidate : candidates) {
    if (candidate.replica_count > limits.replicas_per_worker_max) {
      return MakeError(Reason::kTooManyShards,
                       fmt::format("worker {} would have {} shard replicas, the limit is {} "
                                   "(it follows from how many files a process may have open)",
                                   candidate.node.value(), candidate.replica_count,
                                   limits.replicas_per_worker_max));
    }
  }
  return placements;
}

}  // namespace vectron::placement
