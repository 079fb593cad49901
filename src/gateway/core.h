#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "common/mutex.h"
#include "common/random.h"
#include "common/timer_queue.h"
#include "gateway/gateway.h"
#include "gateway/request_metrics.h"
#include "gateway/routing.h"
#include "gateway/write_sessions.h"

namespace vectron::gateway {

// Which replica of a shard was last known to lead. Thread-safe.
class LeaderHints {
 public:
  std::optional<NodeId> Find(ShardId shard) const {
    MutexLock lock(mutex_);
    const auto it = leaders_.find(shard);
    return it == leaders_.end() ? std::nullopt : std::optional(it->second);
  }
  void Set(ShardId shard, NodeId node) {
    MutexLock lock(mutex_);
    if (leaders_.size() >= kCountMax && !leaders_.contains(shard)) leaders_.clear();
    leaders_[shard] = node;
  }

 private:
  // Shards come and go; what is forgotten is only found again.
  static constexpr size_t kCountMax = 1 << 17;
  mutable Mutex mutex_;
  absl::flat_hash_map<ShardId, NodeId> leaders_ ABSL_GUARDED_BY(mutex_);
};

// What all requests of a gateway share. Thread-safe.
class Core {
 public:
  explicit Core(GatewayOptions options);
  // Every request was answered before.
  ~Core();

  const GatewayOptions& options() const { return options_; }
  const Limits& limits() const { return options_.limits; }
  const Clock& clock() const { return *options_.clock; }
  rpc::PlacementApi& placement() { return *options_.placement; }
  RequestMetrics& metrics() { return metrics_; }
  RoutingTable& routing() { return *routing_; }
  WriteSessions& sessions() { return sessions_; }
  TimerQueue& timers() { return timers_; }
  LeaderHints& leaders() { return leaders_; }

  // How long to wait before attempt `attempt` (the first is 0): grows, with some
  // randomness so that requests which failed together do not return together.
  Duration Backoff(uint32_t attempt);
  // A number that is another one with every call, to spread reads over replicas.
  size_t NextRead() { return next_read_.fetch_add(1, std::memory_order_relaxed); }

 private:
  const GatewayOptions options_;
  RequestMetrics metrics_;
  WriteSessions sessions_;
  LeaderHints leaders_;
  std::atomic<size_t> next_read_{0};
  Mutex mutex_;
  Random random_ ABSL_GUARDED_BY(mutex_);
  TimerQueue timers_;
  const std::shared_ptr<RoutingTable> routing_;
};

}  // namespace vectron::gateway
