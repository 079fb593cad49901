#include <algorithm>
#include <chrono>
#include <utility>

#include "common/random.h"
#include "consensus/group.h"

// Time: ticks, failover without waiting for the election timeout, hibernation.

namespace vectron::consensus {
namespace {

// Candidates after a crash begin one after the other, this far apart, so that one
// of them wins at once.
constexpr std::chrono::milliseconds kFailoverStep{12};
// And try again until there is a leader, at intervals from this to twice this.
constexpr std::chrono::milliseconds kFailoverRetry{10};
// A group falls asleep when this many heartbeats found nothing to do.
constexpr int kIdleHeartbeats = 20;

uint64_t Hash(GroupId group, ReplicaId replica) {
  return Random(group.value() * 0x9e3779b97f4a7c15u + replica.value()).Next();
}

}  // namespace

void Group::Tick(Round* round) {
  if (failed_) return;
  ExpireRequests(round);
  if (asleep_) return;
  if (!Take(node_->Tick())) return;
  CampaignIfDue(round);
  SleepIfIdle(round);
}

void Group::OnPeerLost(NodeId peer, Round* round) {
  if (failed_) return;
  const RawNode::Status status = node_->GetStatus();
  if (status.is_leader()) {
    for (const auto& [replica, node] : node_->membership().nodes) {
      if (node == peer && replica != self_) Take(node_->ReportUnreachable(replica));
    }
    return;
  }
  if (status.leader == ReplicaId() || NodeOf(status.leader) != peer) return;
  Wake(round);
  if (!Take(node_->ForgetLeader()) || !status.is_voter) return;
  uint64_t rank = 0;
  for (const ReplicaId other : node_->membership().voters) {
    if (other == self_ || NodeOf(other) == peer) continue;
    if (std::pair(Hash(group_, other), other) < std::pair(Hash(group_, self_), self_)) ++rank;
  }
  campaign_at_ = round->now + rank * kFailoverStep;
  failover_until_ = round->now + services_.options->election_max;
  CampaignIfDue(round);
}

void Group::CampaignIfDue(Round* round) {
  if (!campaign_at_.has_value() || *campaign_at_ > round->now) return;
  const RawNode::Status status = node_->GetStatus();
  if (status.leader != ReplicaId() || round->now > failover_until_) {
    campaign_at_.reset();
    return;
  }
  Take(node_->Campaign());
  Random random(Hash(group_, self_) ^ static_cast<uint64_t>(round->now.time_since_epoch().count()));
  campaign_at_ =
      round->now + kFailoverRetry + Duration(random.Below(Duration(kFailoverRetry).count()));
}

void Group::SleepIfIdle(Round* round) {
  ++idle_ticks_;
  const HostOptions& options = *services_.options;
  const bool busy = !queued_.empty() || !placed_.empty() || !reads_.empty() ||
                    !read_batches_.empty() || change_.has_value() || restoring_.has_value() ||
                    outgoing_.has_value() || saving_snapshot_ || !unpersisted_.empty();
  if (busy) idle_ticks_ = 0;
  if (idle_ticks_ * options.tick < kIdleHeartbeats * options.heartbeat) return;
  // A heartbeat that comes after the good-night would wake them all again.
  if (node_->HasReady()) return;
  const RawNode::Status status = node_->GetStatus();
  if (!status.is_leader() || status.is_joint || status.applied != status.last_index ||
      replica_->applied() != status.last_index) {
    return;
  }
  for (const RawNode::Progress& p : node_->GetProgress()) {
    if (p.matched != status.last_index) return;
  }
  std::string payload;
  PutFixed64(status.term.value(), &payload);
  PutFixed64(status.last_index.value(), &payload);
  for (const Member& member : node_->membership().Members()) {
    if (member.replica != self_) SendTo(member.replica, kSleepMessage, payload, round);
  }
  Flush(round);
  node_->Evict(0);
  asleep_ = true;
}

void Group::OnControl(char kind, ReplicaId from, std::string_view payload, Round* round) {
  if (kind == kWakeMessage) {
    Wake(round);
    return;
  }
  if (kind != kSleepMessage) return;
  Reader reader(payload);
  const Term term(reader.Fixed64());
  const LogIndex last(reader.Fixed64());
  const RawNode::Status status = node_->GetStatus();
  // Who is not exactly where the leader is stays awake, and will wake the others.
  if (!reader.Done() || status.is_leader() || status.leader != from || status.term != term ||
      status.last_index != last || status.committed != last || status.applied != last ||
      restoring_.has_value()) {
    return;
  }
  Flush(round);
  node_->Evict(0);
  asleep_ = true;
}

}  // namespace vectron::consensus
