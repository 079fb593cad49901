#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <utility>
#include <vector>

#include "common/collection.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "rpc/placement_api.h"
#include "shard/shard.h"

namespace vectron::worker {

// A shard replica that serves here, as one state of the cluster map has it. Immutable:
// a new epoch is a new object over the same shard. Requests hold it while they run.
struct HostedShard {
  rpc::ShardInfo info;
  ReplicaId replica;
  std::shared_ptr<const CollectionConfig> collection;
  std::shared_ptr<shard::Shard> shard;

  GroupId group() const { return GroupOf(info.id); }
};
using HostedShardPtr = std::shared_ptr<const HostedShard>;

// The shards that serve, by id: what requests look up. Thread-safe.
class ShardTable {
 public:
  // Null if it does not serve here.
  HostedShardPtr Find(ShardId shard) const {
    MutexLock lock(mutex_);
    const auto found = shards_.find(shard);
    return found == shards_.end() ? nullptr : found->second;
  }

  void Put(HostedShardPtr shard) {
    MutexLock lock(mutex_);
    shards_.insert_or_assign(shard->info.id, std::move(shard));
  }

  void Remove(ShardId shard) {
    HostedShardPtr removed;  // destroyed without the lock
    MutexLock lock(mutex_);
    const auto found = shards_.find(shard);
    if (found == shards_.end()) return;
    removed = std::move(found->second);
    shards_.erase(found);
  }

  std::vector<HostedShardPtr> All() const {
    MutexLock lock(mutex_);
    std::vector<HostedShardPtr> all;
    all.reserve(shards_.size());
    for (const auto& [id, shard] : shards_) all.push_back(shard);
    return all;
  }

 private:
  mutable Mutex mutex_;
  absl::flat_hash_map<ShardId, HostedShardPtr> shards_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::worker
