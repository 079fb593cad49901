#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/thread_pool.h"
#include "common/timer_queue.h"
#include "consensus/host.h"
#include "rpc/placement_api.h"
#include "shard/shard.h"
#include "worker/shard_table.h"

namespace vectron::worker {

// Makes the shards on this machine what the cluster map says: opens those it assigns to
// this node, destroys those it does not have. One task a shard at a time, on a pool of
// its own.
//
// Every step can be repeated after a crash. Opening: directory, store, group. Destroying
// goes the other way and ends with the directory, so that a directory without a shard in
// the map is what is left to do. Shard ids are never reused.
//
// Thread-safe; Apply never blocks.
class ShardLifecycle : public std::enable_shared_from_this<ShardLifecycle> {
 public:
  struct Options {
    NodeId node;
    std::string dir;
    int thread_count = 2;
    std::chrono::microseconds tail_scan_max{5000};
    std::chrono::milliseconds retry_delay{2000};  // after a failure that may pass
  };
  struct Environment {
    consensus::Host* host = nullptr;
    TimerQueue* timers = nullptr;
    ShardTable* table = nullptr;
    shard::ShardEnvironment shard;
    // Why nothing may be added to the disk.
    std::function<Status()> check_growth = [] { return OkStatus(); };
  };

  ShardLifecycle(Options options, const Environment& environment);

  // Finds the shards that are on disk. INTERNAL; INVALID_ARGUMENT for a directory that
  // holds something else.
  Status Scan();

  // `map` is newer than the one before, and known to be of this cluster. When it
  // returns, shards that are not in it have left the table.
  void Apply(const rpc::ClusterMapPtr& map);
  // Of the last map applied; 0 if none was.
  uint64_t map_version() const;

  // A shard that serves was found damaged: it leaves the table, and its group stops.
  // Nothing more is done to it here; the process's next start looks at it again.
  void Fail(ShardId shard, const Status& damage);

  // Why a shard that is not in the table does not serve.
  Status WhyNotServing(ShardId shard) const;
  // OK if all that the map assigns to this node is in the table.
  Status Ready() const;
  // The same, but for shards that were tried and wait for room on the disk.
  Status Settled() const;

  // Replicas that cannot serve, and why.
  struct Failure {
    ShardId shard;
    ReplicaId replica;
    Status why;
  };
  std::vector<Failure> Failures() const;

  struct Counts {
    size_t opening = 0;
    size_t failed = 0;
    size_t destroying = 0;
  };
  Counts Count() const;

  enum class StopMode { kMakeDurable, kAsInACrash };
  // Waits for the tasks under way; stops all groups, empties the table.
  void Stop(StopMode mode);

 private:
  enum class State {
    kOnDisk,  // neither open nor known to be wanted
    kOpening,
    kServing,
    kFailed,
    kDestroying,
  };
  struct Wanted {
    rpc::ShardInfo info;
    ReplicaId replica;
    std::shared_ptr<const CollectionConfig> collection;
  };
  struct Entry {
    State state = State::kOnDisk;
    std::optional<Wanted> wanted;
    Status failure;
  };

  Status Missing(bool without_room_too) const;
  // Starts what brings the entry nearer to what is wanted.
  void Advance(ShardId shard, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Submit(std::function<void()> task);
  void RetryLater(ShardId shard);

  void Open(ShardId shard, const Wanted& wanted);
  StatusOr<HostedShardPtr> OpenAndStart(const Wanted& wanted);
  void Destroy(ShardId shard);
  // Deletes the directory once nobody uses the shard any more.
  void DeleteFiles(ShardId shard);
  Status RemoveDirectory(ShardId shard) const;
  std::string DirectoryOf(ShardId shard) const;

  const Options options_;
  const Environment environment_;
  mutable Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t map_version_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<ShardId, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Shards that left the table and may still be in use by requests.
  std::map<ShardId, std::weak_ptr<shard::Shard>> leaving_ ABSL_GUARDED_BY(mutex_);
  ThreadPool pool_;  // last: its tasks use the rest
};

}  // namespace vectron::worker
