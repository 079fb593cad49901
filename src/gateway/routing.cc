#include "gateway/routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace vectron::gateway {
namespace {

using std::chrono::milliseconds;

// How long placement may hold a watch that has nothing to tell.
constexpr Duration kWatchTime = std::chrono::seconds(30);
constexpr Duration kBackoffMin = milliseconds(20);
constexpr Duration kBackoffMax = milliseconds(1000);

}  // namespace

CollectionView FindIn(rpc::ClusterMapPtr map, std::string_view name) {
  CollectionView view{std::move(map)};
  if (view.map == nullptr) return view;
  const auto it = view.map->collections.find(name);
  if (it != view.map->collections.end()) view.info = &it->second;
  return view;
}

Status CollectionNotFound(std::string_view name) {
  return MakeError(Reason::kCollectionNotFound, fmt::format("there is no collection '{}'", name));
}

RoutingTable::RoutingTable(const Options& options)
    : options_(options), watch_backoff_(kBackoffMin) {}

void RoutingTable::Start() { Watch(); }

void RoutingTable::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  while (calls_ > 0) idle_.Wait(mutex_);
}

rpc::ClusterMapPtr RoutingTable::Map() const {
  MutexLock lock(mutex_);
  return map_;
}

void RoutingTable::Refresh(Deadline deadline, Callback<rpc::ClusterMapPtr> done) {
  if (!Enter()) {
    done(MakeError(Reason::kShuttingDown, "the gateway is shutting down"));
    return;
  }
  options_.placement->GetMap(deadline, [self = shared_from_this(), done = std::move(done)](
                                           StatusOr<rpc::ClusterMapPtr> map) mutable {
    if (!map.ok()) {
      done(std::move(map));
      return;
    }
    done(self->Install(*std::move(map)));
  });
  Leave();
}

void RoutingTable::RefreshPast(uint64_t version, Deadline deadline,
                               Callback<rpc::ClusterMapPtr> done) {
  rpc::ClusterMapPtr map = Map();
  if (map != nullptr && map->version > version) {
    done(std::move(map));
    return;
  }
  Refresh(deadline, std::move(done));
}

void RoutingTable::Watch() {
  if (!Enter()) return;
  const rpc::ClusterMapPtr map = Map();
  options_.placement->WatchMap(map == nullptr ? 0 : map->version,
                               options_.clock->Now() + kWatchTime,
                               [weak = weak_from_this()](StatusOr<rpc::ClusterMapPtr> answer) {
                                 if (auto self = weak.lock()) self->OnWatched(std::move(answer));
                               });
  Leave();
}

void RoutingTable::OnWatched(StatusOr<rpc::ClusterMapPtr> answer) {
  Duration delay = kBackoffMin;
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    if (answer.ok()) {
      watch_backoff_ = kBackoffMin;
    } else {
      delay = watch_backoff_;
      watch_backoff_ = std::min(2 * watch_backoff_, kBackoffMax);
    }
  }
  if (!answer.ok()) {
    VECTRON_LOG_DEBUG("watching the cluster map: {}", answer.status().ToString());
    WatchAfter(delay);
    return;
  }
  const rpc::ClusterMapPtr before = Map();
  const rpc::ClusterMapPtr now = Install(*std::move(answer));
  if (now != before) {
    Watch();
  } else {
    // Nothing new after the whole time; a pause in case it was not held that long.
    WatchAfter(delay);
  }
}

void RoutingTable::WatchAfter(Duration delay) {
  // The timers belong to whoever stops this table first.
  if (!Enter()) return;
  options_.timers->RunAfter(delay, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Watch();
  });
  Leave();
}

rpc::ClusterMapPtr RoutingTable::Install(rpc::ClusterMapPtr map) {
  MutexLock lock(mutex_);
  if (map != nullptr && (map_ == nullptr || map->version > map_->version)) map_ = std::move(map);
  return map_;
}

bool RoutingTable::Enter() {
  MutexLock lock(mutex_);
  if (stopped_) return false;
  ++calls_;
  return true;
}

void RoutingTable::Leave() {
  MutexLock lock(mutex_);
  if (--calls_ == 0) idle_.NotifyAll();
}

}  // namespace vectron::gateway
