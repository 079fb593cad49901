#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/timer_queue.h"
#include "rpc/placement_api.h"

namespace vectron::gateway {

// A collection as one state of the map has it, and that state, kept alive.
struct CollectionView {
  rpc::ClusterMapPtr map;
  const rpc::CollectionInfo* info = nullptr;  // in `map`; null: there is none

  explicit operator bool() const { return info != nullptr; }
  const rpc::CollectionInfo* operator->() const { return info; }
};

CollectionView FindIn(rpc::ClusterMapPtr map, std::string_view name);

Status CollectionNotFound(std::string_view name);

// The gateway's copy of the cluster's map, kept new by watching placement's. What it
// says may be outdated at any moment: workers refuse what was routed by an old
// epoch, and RefreshPast then brings a newer map. Thread-safe.
class RoutingTable : public std::enable_shared_from_this<RoutingTable> {
 public:
  // All outlive the table, up to Stop().
  struct Options {
    rpc::PlacementApi* placement = nullptr;
    const Clock* clock = nullptr;
    TimerQueue* timers = nullptr;
  };

  explicit RoutingTable(const Options& options);

  // Begins to watch. Once.
  void Start();
  // Makes no further call to placement once it returns; answers that are still to
  // come are ignored. Idempotent.
  void Stop();

  // Null before the first map arrived.
  rpc::ClusterMapPtr Map() const;
  // By the map at hand.
  CollectionView Lookup(std::string_view name) const { return FindIn(Map(), name); }

  // Asks placement, so that the answer shows every change made before the call.
  void Refresh(Deadline deadline, Callback<rpc::ClusterMapPtr> done);
  // A map newer than `version`, if there is one: the one at hand, or placement's.
  void RefreshPast(uint64_t version, Deadline deadline, Callback<rpc::ClusterMapPtr> done);

 private:
  void Watch();
  void OnWatched(StatusOr<rpc::ClusterMapPtr> map);
  void WatchAfter(Duration delay);
  // Takes `map` if it is newer than the one at hand; returns the newer of the two.
  rpc::ClusterMapPtr Install(rpc::ClusterMapPtr map);
  // Placement may be called between Enter, if it returned true, and Leave.
  bool Enter();
  void Leave();

  const Options options_;

  mutable Mutex mutex_;
  CondVar idle_;
  rpc::ClusterMapPtr map_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  Duration watch_backoff_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::gateway
