#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "rpc/placement_api.h"

namespace vectron::placement {

// What heartbeats tell the placement leader: who is alive, who leads what. Not
// replicated: a new leader begins anew, and until `alive_timeout` has passed takes
// workers it has not heard of for alive. Not thread-safe; time comes in by argument.
class Liveness {
 public:
  explicit Liveness(std::chrono::nanoseconds alive_timeout) : alive_timeout_(alive_timeout) {}

  // This process became leader.
  void Reset(TimePoint now);

  // A registration: a sign of life without a report.
  void OnRegister(NodeId node, TimePoint now);
  void OnHeartbeat(const rpc::HeartbeatRequest& request, TimePoint now);

  bool IsAlive(NodeId node, TimePoint now) const;
  // nullopt: not heard of.
  std::optional<TimePoint> LastHeard(NodeId node) const;
  // The last report; empty if there is none.
  const std::vector<rpc::ReplicaReport>& Replicas(NodeId node) const;
  // The map that the last report reflects; 0 if there is none.
  uint64_t MapVersion(NodeId node) const;

  // A worker that is alive reported itself as leader of the shard.
  bool HasLeader(const rpc::ShardInfo& shard, TimePoint now) const;

 private:
  struct Entry {
    TimePoint heard;
    uint64_t map_version = 0;
    std::vector<rpc::ReplicaReport> replicas;  // by shard
  };

  const std::chrono::nanoseconds alive_timeout_;
  TimePoint leader_since_;
  std::map<NodeId, Entry> entries_;
};

}  // namespace vectron::placement
