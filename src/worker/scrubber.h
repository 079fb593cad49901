#pragma once

#include <atomic>
#include <map>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/thread_pool.h"
#include "worker/shard_table.h"

namespace vectron::worker {

// Has the files of the shards read through and held to their checksums (Shard::Scrub),
// one shard after the other: each soon after it began to serve, and again and again at
// long intervals. Bounded: one piece at a time, of what the rate allows, at background
// priority. A start of the process begins anew.
//
// Tick is called by one thread; the rest is thread-safe. The pool must have stopped
// before this goes.
class Scrubber {
 public:
  struct Options {
    uint64_t bytes_per_second_max = 32 << 20;  // over all shards
    Duration first_delay = std::chrono::seconds(10);
    Duration interval = std::chrono::hours(24);  // from begin to begin, of each shard
  };
  struct Stats {
    uint64_t read_bytes = 0;
    uint64_t pass_count = 0;     // shards read through
    uint64_t failure_count = 0;  // pieces that could not be read, or were damaged
    // Of the shard whose last pass lies back the farthest; 0 before there is one.
    std::chrono::seconds oldest_pass_age{0};
  };

  Scrubber(const Options& options, const ShardTable* table, ThreadPool* background,
           const Clock* clock)
      : options_(options), table_(table), background_(background), clock_(clock) {}

  // Reads on with what is due. About once a second.
  void Tick();
  Stats GetStats() const;

 private:
  struct Schedule {
    TimePoint due;
    TimePoint begun;
    bool is_under_way = false;
    std::optional<TimePoint> passed;
  };

  // Brings schedules_ in line with the table; the shard whose turn it is, null if none.
  HostedShardPtr Choose(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read(const HostedShardPtr& hosted, uint64_t bytes_max);

  const Options options_;
  const ShardTable* const table_;
  ThreadPool* const background_;
  const Clock* const clock_;

  mutable Mutex mutex_;
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<TimePoint> last_tick_ ABSL_GUARDED_BY(mutex_);
  std::map<ShardId, Schedule> schedules_ ABSL_GUARDED_BY(mutex_);
  Stats stats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::worker
