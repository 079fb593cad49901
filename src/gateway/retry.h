#pragma once

#include "common/error.h"
#include "rpc/placement_api.h"

namespace vectron::gateway {

enum class Verdict {
  kFinal,    // trying again is of no use, or not ours to decide
  kRetry,    // the same part, perhaps to another replica
  kReroute,  // after a look at a newer map
};

// What to do about a worker's refusal of one part of a request. `replica_count`: of
// its shard.
Verdict Judge(const Status& status, bool is_write, size_t replica_count);

// True for errors that say that a shard cannot answer now, as opposed to errors
// of the request itself: a partial search goes without such a shard.
bool IsShardFailure(const Status& status);

// The error of a part that was given up at its deadline or for want of replicas:
// clients are not shown reasons that speak of the routing between us and workers.
Status GiveUp(const rpc::ShardInfo& shard, const Status& last, bool is_write, bool maybe_done);

}  // namespace vectron::gateway
