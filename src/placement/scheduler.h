#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/collection.h"
#include "common/error.h"
#include "common/ids.h"
#include "placement/catalog.h"

namespace vectron::placement {

// A worker that new replicas may go to, as the scheduler sees it.
struct Candidate {
  NodeId node;
  std::vector<std::pair<std::string, std::string>> labels;
  size_t replica_count = 0;
  bool alive = true;
};

// The workers of `catalog` that are up, with the number of replicas that each has.
std::vector<Candidate> CandidatesOf(const Catalog& catalog);

struct SchedulerLimits {
  size_t replicas_per_worker_max = 4096;
};

// Chooses the workers of a new collection's shards: for every shard
// `replication_factor` different ones that are alive, sharing as few labels as can be,
// and among those the ones with the fewest replicas; ties by node id. Pure.
//
// Errors: INVALID_ARGUMENT when the cluster has too few workers for the
// replication_factor, UNAVAILABLE when too few of them are alive, TOO_MANY_SHARDS
// when the workers cannot take so many replicas.
StatusOr<std::vector<std::vector<NodeId>>> PlanCollection(const CollectionConfig& config,
                                                          std::vector<Candidate> candidates,
                                                          const SchedulerLimits& limits);

}  // namespace vectron::placement
