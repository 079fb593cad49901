#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/timer_queue.h"
#include "consensus/host.h"
#include "rpc/placement_api.h"
#include "worker/shard_lifecycle.h"
#include "worker/shard_table.h"

namespace vectron::worker {

// The worker's side of the conversation with placement: registers, follows the cluster
// map, sends heartbeats: regularly, and at once when a shard begins or ends to serve or
// its leader changes. Everything runs on the timers' thread, and is tried again until
// Stop. Thread-safe.
class ClusterLink : public std::enable_shared_from_this<ClusterLink> {
 public:
  struct Options {
    NodeId node;
    std::string dir;  // remembers node and cluster
    std::string internal_address;
    std::vector<std::pair<std::string, std::string>> labels;
    std::chrono::milliseconds heartbeat{1000};
    std::chrono::milliseconds poll{20};
  };
  struct Environment {
    const Clock* clock = nullptr;
    consensus::Host* host = nullptr;
    rpc::PlacementApi* placement = nullptr;
    TimerQueue* timers = nullptr;
    ShardTable* table = nullptr;
    std::shared_ptr<ShardLifecycle> lifecycle;
  };

  ClusterLink(Options options, const Environment& environment);

  // Reads what the directory remembers. INVALID_ARGUMENT if it belongs to another node;
  // CORRUPTION, INCOMPATIBLE_FORMAT.
  Status LoadIdentity();
  void Start();
  void Stop() { stopped_ = true; }

  // OK once registered; else why not.
  Status Registered() const;

 private:
  // What a heartbeat tells that must not wait for the next one.
  struct Seen {
    bool is_leader = false;
    Term term;
    bool operator==(const Seen&) const = default;
  };

  void Later(Duration delay, void (ClusterLink::*step)());
  void Register();
  void OnRegistered(const StatusOr<rpc::RegisterResponse>& response);
  Status SaveIdentity(const std::string& cluster_id);
  void FetchMap();
  void WatchMap();
  // False if it is not this cluster's, or older than what is known.
  bool TakeMap(const StatusOr<rpc::ClusterMapPtr>& map);
  void Poll();
  void SendHeartbeat(std::map<ShardId, Seen> seen);
  void OnHeartbeat(const Status& status);

  const Options options_;
  const Environment environment_;
  std::atomic<bool> stopped_{false};

  // On the timers' thread only.
  std::string cluster_id_;
  std::map<ShardId, Seen> reported_;
  uint64_t reported_map_version_ = 0;
  TimePoint next_heartbeat_;
  std::chrono::milliseconds retry_delay_{0};

  std::atomic<bool> heartbeat_under_way_{false};
  mutable Mutex mutex_;
  Status registered_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::worker
