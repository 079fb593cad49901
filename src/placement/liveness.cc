#include "placement/liveness.h"

#include <algorithm>

namespace vectron::placement {

void Liveness::Reset(TimePoint now) {
  leader_since_ = now;
  entries_.clear();
}

void Liveness::OnRegister(NodeId node, TimePoint now) {
  // The process started: what an earlier life of it reported is over.
  entries_[node] = Entry{now, 0, {}};
}

void Liveness::OnHeartbeat(const rpc::HeartbeatRequest& request, TimePoint now) {
  Entry& entry = entries_[request.node];
  entry.heard = now;
  entry.map_version = request.map_version;
  entry.replicas = request.replicas;
  std::sort(entry.replicas.begin(), entry.replicas.end(),
            [](const auto& a, const auto& b) { return a.shard < b.shard; });
}

bool Liveness::IsAlive(NodeId node, TimePoint now) const {
  const auto entry = entries_.find(node);
  const TimePoint since = entry == entries_.end() ? leader_since_ : entry->second.heard;
  return now - since <= alive_timeout_;
}

std::optional<TimePoint> Liveness::LastHeard(NodeId node) const {
  const auto entry = entries_.find(node);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.heard;
}

const std::vector<rpc::ReplicaReport>& Liveness::Replicas(NodeId node) const {
  static const std::vector<rpc::ReplicaReport> none;
  const auto entry = entries_.find(node);
  return entry == entries_.end() ? none : entry->second.replicas;
}

uint64_t Liveness::MapVersion(NodeId node) const {
  const auto entry = entries_.find(node);
  return entry == entries_.end() ? 0 : entry->second.map_version;
}

bool Liveness::HasLeader(const rpc::ShardInfo& shard, TimePoint now) const {
  for (const rpc::ShardReplica& replica : shard.replicas) {
    if (!IsAlive(replica.node, now)) continue;
    const std::vector<rpc::ReplicaReport>& reports = Replicas(replica.node);
    const auto report =
        std::lower_bound(reports.begin(), reports.end(), shard.id,
                         [](const auto& r, ShardId shard_id) { return r.shard < shard_id; });
    if (report != reports.end() && report->shard == shard.id && report->is_leader) return true;
  }
  return false;
}

}  // namespace vectron::placement
