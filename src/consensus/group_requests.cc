#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/check.h"
#include "consensus/group.h"

// Proposals, reads, changes of membership and leadership.

namespace vectron::consensus {
namespace {

// Placed in the log at once.
constexpr size_t kProposalBytesPerRound = 32 << 20;
constexpr size_t kProposalsPerRound = 1024;
// Who names no deadline does not wait for a leader longer than this.
constexpr std::chrono::seconds kLeaderWait{5};
// Reads asked for and not answered within so many heartbeats are asked for again.
constexpr int kReadRetryHeartbeats = 2;

bool WaitedTooLong(TimePoint since, Deadline deadline, TimePoint now) {
  return deadline == kNoDeadline ? since + kLeaderWait <= now : deadline <= now;
}

}  // namespace

Status Group::NotLeaderError(const RawNode::Status& status) const {
  const NodeId node = NodeOf(status.leader);
  return NotLeader(group_, node == NodeId() ? std::nullopt : std::optional(node));
}

void Group::Propose(Proposal proposal, WaiterPtr<Applied> waiter, Round* round) {
  if (failed_) {
    waiter->Answer(replica_->health());
    return;
  }
  Wake(round);
  queued_.push_back({EncodeSession(proposal.session), std::move(proposal.command),
                     std::move(waiter), round->now});
}

void Group::RefuseProposals(const Status& why) {
  for (QueuedProposal& proposal : queued_) proposal.waiter->Answer(why);
  queued_.clear();
}

void Group::PlaceProposals(Round* round) {
  (void)round;
  while (!queued_.empty() && queued_.front().waiter->answered()) queued_.pop_front();
  if (queued_.empty()) return;
  const RawNode::Status before = node_->GetStatus();
  if (!before.is_leader()) {
    if (before.leader != ReplicaId()) RefuseProposals(NotLeaderError(before));
    return;  // else: until there is a leader
  }
  std::vector<std::pair<std::string_view, std::string_view>> proposals;
  std::vector<QueuedProposal> taken;
  size_t bytes = 0;
  while (!queued_.empty() && taken.size() < kProposalsPerRound) {
    QueuedProposal& next = queued_.front();
    if (!taken.empty() && bytes + next.command.size() > kProposalBytesPerRound) break;
    bytes += next.command.size();
    if (!next.waiter->answered()) taken.push_back(std::move(next));
    queued_.pop_front();
  }
  for (const QueuedProposal& p : taken) proposals.emplace_back(p.context, p.command);
  if (!Take(node_->Propose(proposals))) {
    // Leadership is being transferred: they wait for what comes of it.
    for (; !taken.empty() && !failed_; taken.pop_back()) {
      queued_.push_front(std::move(taken.back()));
    }
    return;
  }
  LogIndex index(node_->GetStatus().last_index.value() - taken.size());
  for (QueuedProposal& proposal : taken) {
    index = Next(index);
    placed_.push_back({index, before.term, std::move(proposal.waiter)});
  }
}

void Group::ReadIndex(WaiterPtr<LogIndex> waiter, Round* round) {
  if (failed_) {
    waiter->Answer(replica_->health());
    return;
  }
  if (replica_->readable()) {
    waiter->Answer(replica_->applied());
    return;
  }
  Wake(round);
  reads_.push_back({std::move(waiter), round->now});
}

void Group::IssueReads(Round* round) {
  if (reads_.empty()) return;
  // One for all reads that wait: each is a heartbeat to every peer. Its name must be
  // new: an answer to an older question of the same name would be too old.
  std::string context;
  PutFixed64(self_.value(), &context);
  PutFixed64(services_.log->incarnation(), &context);
  PutFixed64(next_read_, &context);
  if (!Take(node_->ReadIndex(context))) return;  // no leader to ask, or not ready: later
  ++next_read_;
  read_batches_[context] = {std::exchange(reads_, {}), round->now};
}

void Group::AnswerReads(const RawNode::ReadState& state) {
  const auto it = read_batches_.find(state.context);
  if (it == read_batches_.end()) return;
  for (QueuedRead& read : it->second.reads) {
    replica_->WaitApplied(state.index, std::move(read.waiter));
  }
  read_batches_.erase(it);
}

// The question or its answer may have got lost; raft does not say so.
void Group::RetryReads(TimePoint now) {
  for (auto it = read_batches_.begin(); it != read_batches_.end();) {
    if (it->second.issued + kReadRetryHeartbeats * services_.options->heartbeat > now) {
      ++it;
      continue;
    }
    for (QueuedRead& read : it->second.reads) reads_.push_back(std::move(read));
    it = read_batches_.erase(it);
  }
}

void Group::ExpireRequests(Round* round) {
  const TimePoint now = round->now;
  RetryReads(now);
  const bool leaderless = node_->GetStatus().leader == ReplicaId();
  for (const QueuedProposal& proposal : queued_) {
    if (WaitedTooLong(proposal.since, proposal.waiter->deadline(), now)) {
      proposal.waiter->Answer(
          MakeError(Reason::kUnavailable, "the group has no leader; nothing was done"));
    }
  }
  for (const PlacedProposal& proposal : placed_) {
    if (proposal.waiter->deadline() <= now) {
      proposal.waiter->Answer(
          MakeError(Reason::kOutcomeUnknown, "the write was not applied in time; it may still be"));
    }
  }
  std::erase_if(reads_, [&](const QueuedRead& read) {
    if (!WaitedTooLong(read.since, read.waiter->deadline(), now)) return false;
    const bool late = read.waiter->deadline() <= now;
    read.waiter->Answer(
        MakeError(late ? Reason::kDeadlineExceeded : Reason::kUnavailable,
                  leaderless ? "the group has no leader" : "the group's leader does not answer"));
    return true;
  });
  if (change_.has_value() && WaitedTooLong(change_->since, change_->waiter->deadline(), now)) {
    if (change_->index == LogIndex()) {
      change_->waiter->Answer(
          MakeError(Reason::kUnavailable, "the membership cannot be changed now"));
      change_.reset();
    } else {
      change_->waiter->Answer(
          MakeError(Reason::kOutcomeUnknown, "the membership may still change"));
    }
  }
  replica_->ExpireWaiters(now);
}

void Group::TransferLeadership(ReplicaId to, Round* round) {
  if (failed_) return;
  Wake(round);
  Take(node_->TransferLeader(to));
}

void Group::ChangeMembers(std::vector<Member> members, WaiterPtr<LogIndex> waiter, Round* round) {
  if (failed_) {
    waiter->Answer(replica_->health());
    return;
  }
  Wake(round);
  auto target = MembershipOf(members);
  if (!target.ok()) {
    waiter->Answer(target.status());
    return;
  }
  const RawNode::Status status = node_->GetStatus();
  if (!status.is_leader()) {
    waiter->Answer(NotLeaderError(status));
    return;
  }
  if (change_.has_value() && !change_->waiter->answered()) {
    waiter->Answer(MakeError(Reason::kUnavailable, "the membership is being changed already"));
    return;
  }
  const auto& voters = target->voters;
  if (std::find(voters.begin(), voters.end(), self_) == voters.end()) {
    // A leader must not remove itself: whoever is to stay takes over first.
    ReplicaId heir;
    LogIndex matched;
    const auto& present = node_->membership().voters;
    for (const RawNode::Progress& p : node_->GetProgress()) {
      const bool stays = std::find(voters.begin(), voters.end(), p.replica) != voters.end();
      const bool votes = std::find(present.begin(), present.end(), p.replica) != present.end();
      if (stays && votes && p.matched >= matched) {
        heir = p.replica;
        matched = p.matched;
      }
    }
    if (heir != ReplicaId()) Take(node_->TransferLeader(heir));
    waiter->Answer(heir == ReplicaId() ? InvalidArgument("no present voter would stay a member")
                                       : NotLeader(group_, NodeOf(heir)));
    return;
  }
  change_ = MembershipRequest{std::move(*target), std::move(waiter), round->now, LogIndex(), false};
}

void Group::ProposeMembership(Round* round) {
  (void)round;
  if (!change_.has_value() || change_->index != LogIndex()) return;
  const RawNode::Status status = node_->GetStatus();
  if (!status.is_leader()) {
    change_->waiter->Answer(NotLeaderError(status));
    change_.reset();
    return;
  }
  const Status proposed = node_->ProposeMembership(change_->target);
  if (proposed.ok()) {
    change_->index = node_->GetStatus().last_index;
  } else if (ReasonOf(proposed) == Reason::kInvalidArgument) {
    // Those are the members already.
    change_->waiter->Answer(replica_->applied());
    change_.reset();
  } else {
    Take(proposed);  // another change is under way: later
  }
}

void Group::OnMembershipApplied(LogIndex index, bool changed) {
  if (!change_.has_value() || change_->index == LogIndex()) return;
  if (index == change_->index && !changed) {
    change_->waiter->Answer(
        MakeError(Reason::kUnavailable, "the leader changed; the membership did not"));
    change_.reset();
    return;
  }
  change_->applied = change_->applied || index == change_->index;
  if (change_->applied && !node_->GetStatus().is_joint) {
    change_->waiter->Answer(index);
    change_.reset();
  }
}

}  // namespace vectron::consensus
