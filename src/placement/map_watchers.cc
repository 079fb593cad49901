#include "placement/map_watchers.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace vectron::placement {

void MapWatchers::Publish(const rpc::ClusterMapPtr& map) {
  std::vector<Waiter> answered;
  {
    MutexLock lock(mutex_);
    if (map_ != nullptr && map->version <= map_->version) return;
    map_ = map;
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
      if (map->version <= waiter->second.known_version) {
        ++waiter;
        continue;
      }
      answered.push_back(std::move(waiter->second));
      waiter = waiters_.erase(waiter);
    }
  }
  for (Waiter& waiter : answered) {
    timers_->Cancel(waiter.timer);
    waiter.answer(map);
  }
}

void MapWatchers::Watch(uint64_t known_version, Deadline deadline,
                        Callback<rpc::ClusterMapPtr> done) {
  StatusOr<rpc::ClusterMapPtr> now = rpc::ClusterMapPtr();
  {
    MutexLock lock(mutex_);
    if (closed_) {
      now = MakeError(Reason::kShuttingDown, "placement is shutting down");
    } else if (map_ != nullptr && map_->version > known_version) {
      now = map_;
    } else if (waiters_.size() >= count_max_) {
      now = MakeError(Reason::kOverloaded,
                      fmt::format("{} callers wait for the map already", count_max_),
                      {{"retry_after_ms", "1000"}});
    } else {
      const uint64_t id = next_id_++;
      const auto timer =
          timers_->RunAt(deadline, [self = shared_from_this(), id] { self->Expire(id); });
      waiters_.emplace(id, Waiter{known_version, Answer(std::move(done)), timer});
      return;
    }
  }
  done(std::move(now));
}

void MapWatchers::Expire(uint64_t id) {
  std::vector<Waiter> expired;
  rpc::ClusterMapPtr map;
  {
    MutexLock lock(mutex_);
    const auto waiter = waiters_.find(id);
    if (waiter == waiters_.end()) return;
    expired.push_back(std::move(waiter->second));
    waiters_.erase(waiter);
    map = map_;
  }
  if (map != nullptr) {
    expired.front().answer(map);
  } else {
    expired.front().answer(
        MakeError(Reason::kUnavailable, "placement has not caught up with its group yet"));
  }
}

void MapWatchers::Close() {
  std::map<uint64_t, Waiter> dropped;  // answers as it is destroyed, without the lock
  MutexLock lock(mutex_);
  closed_ = true;
  dropped.swap(waiters_);
}

size_t MapWatchers::count() const {
  MutexLock lock(mutex_);
  return waiters_.size();
}

}  // namespace vectron::placement
