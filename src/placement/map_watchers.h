#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "common/answer.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/timer_queue.h"
#include "rpc/placement_api.h"

namespace vectron::placement {

// The calls of WatchMap that wait. Thread-safe; answers without locks held.
class MapWatchers : public std::enable_shared_from_this<MapWatchers> {
 public:
  // `timers` must outlive the watchers.
  MapWatchers(TimerQueue* timers, size_t count_max) : timers_(timers), count_max_(count_max) {}

  // Answers those who wait for it. Maps that are not newer than the last are ignored.
  void Publish(const rpc::ClusterMapPtr& map);

  // OVERLOADED when too many wait; at `deadline` before the first Publish UNAVAILABLE.
  void Watch(uint64_t known_version, Deadline deadline, Callback<rpc::ClusterMapPtr> done);

  // Answers all that wait, and all that will, with SHUTTING_DOWN.
  void Close();

  size_t count() const;

 private:
  struct Waiter {
    uint64_t known_version = 0;
    Answer<rpc::ClusterMapPtr> answer;
    TimerQueue::TimerId timer = 0;
  };

  void Expire(uint64_t id);

  TimerQueue* const timers_;
  const size_t count_max_;
  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  rpc::ClusterMapPtr map_ ABSL_GUARDED_BY(mutex_);  // null until the first Publish
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::placement
