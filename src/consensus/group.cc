#include "consensus/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::consensus {
namespace {

// Applied entries that stay in memory for followers that lag a little.
constexpr size_t kTailBytes = 8 << 20;
// Readys of one group in one round: what they cause in turn waits for the next.
constexpr int kReadysPerRound = 16;
// A follower whose state machine is this far behind takes no further entries; its
// leader sends them again.
constexpr size_t kApplyQueueBytes = 128 << 20;
// No message without entries is as large.
constexpr size_t kAppendBytes = 4096;

size_t Ticks(std::chrono::milliseconds time, std::chrono::milliseconds tick) {
  return std::max<size_t>(1, static_cast<size_t>(time / tick));
}

// A crash may have come between restoring a snapshot and saying so in the log.
void ResolvePendingSnapshot(GroupId group, LogIndex applied, GroupLogState* log, LogBatch* batch) {
  if (!log->pending_snapshot.has_value()) return;
  const PendingSnapshot pending = *log->pending_snapshot;
  log->pending_snapshot.reset();
  // The state machine does not have it: it never happened.
  if (applied < pending.index || log->last_index >= pending.index) return;
  log->truncated_index = log->last_index = pending.index;
  log->truncated_term = pending.term;
  log->term_runs.clear();
  log->conf_changes.clear();
  log->membership = pending.membership;
  log->membership_index = pending.index;
  log->hard_state.commit = pending.index;
  batch->InstallSnapshot(group, pending);
  batch->SetHardState(group, log->hard_state);
  batch->RequireSync();
}

}  // namespace

Group::Group(const GroupOptions& options, std::shared_ptr<Replica> replica,
             const GroupServices& services)
    : services_(services),
      group_(options.group),
      self_(options.self),
      replica_(std::move(replica)) {}

StatusOr<std::unique_ptr<Group>> Group::Create(const GroupOptions& options,
                                               std::shared_ptr<Replica> replica,
                                               const GroupServices& services) {
  const HostOptions& host = *services.options;
  const LogIndex applied = replica->applied();
  std::unique_ptr<Group> group(new Group(options, std::move(replica), services));
  GroupLogState log;
  if (auto known = services.log->GetState(options.group)) {
    log = std::move(*known);
    ResolvePendingSnapshot(options.group, applied, &log, &group->first_batch_);
  } else {
    VECTRON_RETURN_IF_ERROR(group->Bootstrap(options.initial_members, &log));
  }
  if (applied > log.last_index) {
    return Corruption(
        fmt::format("raft log of group {}: it ends at entry {}, but the state machine has entry {}",
                    options.group.value(), log.last_index.value(), applied.value()));
  }
  VECTRON_ASSIGN_OR_RETURN(const Membership membership, DecodeMembership(log.membership));

  RawNode::Options node;
  node.group = options.group;
  node.self = options.self;
  node.seed = host.seed;
  node.applied = applied;
  node.heartbeat_ticks = Ticks(host.heartbeat, host.tick);
  node.election_ticks_min = Ticks(host.election_min, host.tick);
  node.election_ticks_max =
      std::max(node.election_ticks_min + 1, Ticks(host.election_max, host.tick));
  VECTRON_ASSIGN_OR_RETURN(group->node_, RawNode::Create(node, log, membership));
  group->written_hard_state_ = log.hard_state;
  group->membership_history_[log.membership_index] = membership;

  // The log may not have heard of changes that were applied just before a crash.
  for (const LogIndex index : log.conf_changes) {
    if (index <= log.membership_index || index > applied) continue;
    VECTRON_ASSIGN_OR_RETURN(const EntryBlock block,
                             services.log->Read(options.group, index, index, 0));
    const auto entry = EntryReader(index, block.bytes).Next();
    if (!entry.has_value()) return Corruption("a membership change is malformed");
    if (group->node_->ApplyMembershipChange(entry->data).ok()) {
      group->membership_history_[index] = group->node_->membership();
    }
  }
  group->Publish();
  return group;
}

// A new group's log begins with its members: whoever joins later learns of them as
// it learns of all that came after. They are the same on all first members, so they
// are committed from the start.
Status Group::Bootstrap(const std::vector<Member>& members, GroupLogState* log) {
  if (!members.empty()) {
    VECTRON_ASSIGN_OR_RETURN(const Membership membership, MembershipOf(members));
    is_new_ = true;
    std::string block;
    // Voters first: learners alone make no group.
    for (const Member& member : membership.Members()) {
      log->last_index = Next(log->last_index);
      log->conf_changes.push_back(log->last_index);
      AppendEntry(
          {log->last_index, Term(1), EntryType::kConfChangeV2, "", RawNode::EncodeAddition(member)},
          &block);
    }
    log->hard_state = {Term(1), ReplicaId(), log->last_index};
    log->term_runs = {{LogIndex(1), Term(1)}};
    log->membership = EncodeMembership(membership);
    log->membership_index = log->last_index;
    first_batch_.Append(group_, LogIndex(1), std::move(block));
    first_batch_.SetHardState(group_, log->hard_state);
  }
  first_batch_.SetMembership(group_, log->membership_index, log->membership);
  first_batch_.RequireSync();
  return OkStatus();
}

void Group::Start(Round* round) {
  VECTRON_CHECK(first_batch_.empty());
  const Membership& membership = node_->membership();
  // Alone, or where nothing was ever agreed on, there is no leader to wait for.
  const bool is_first = !membership.voters.empty() && membership.voters.front() == self_;
  if (node_->GetStatus().is_sole_voter || (is_new_ && is_first)) {
    // The core refuses while a change of the membership is yet to be applied, as after
    // a crash: tried again until there is a leader.
    campaign_at_ = round->now;
    failover_until_ = round->now + services_.options->election_max;
    CampaignIfDue(round);
  }
  Process(round);
}

bool Group::Take(const Status& status) {
  if (status.ok()) return true;
  if (ReasonOf(status) != Reason::kUnavailable && ReasonOf(status) != Reason::kInvalidArgument) {
    Fail(status);
  }
  return false;
}

void Group::Fail(const Status& status) {
  if (failed_) return;
  failed_ = true;
  VECTRON_LOG_ERROR("group {} stopped: {}", group_.value(), std::string(status.message()));
  replica_->Fail(status);
  Publish();
  Close(status);
}

void Group::Close(const Status& why) {
  for (QueuedProposal& proposal : queued_) proposal.waiter->Answer(why);
  queued_.clear();
  for (PlacedProposal& proposal : placed_) {
    proposal.waiter->Answer(MakeError(
        Reason::kOutcomeUnknown,
        fmt::format("the write may or may not be applied: {}", std::string(why.message()))));
  }
  placed_.clear();
  for (auto& [context, batch] : read_batches_) {
    for (QueuedRead& read : batch.reads) reads_.push_back(std::move(read));
  }
  read_batches_.clear();
  for (QueuedRead& read : reads_) read.waiter->Answer(why);
  reads_.clear();
  if (change_.has_value()) {
    change_->waiter->Answer(change_->index == LogIndex()
                                ? why
                                : MakeError(Reason::kOutcomeUnknown, "the group stopped"));
    change_.reset();
  }
  if (outgoing_.has_value() && outgoing_->sends == 0) {
    std::error_code ignored;
    std::filesystem::remove_all(outgoing_->dir, ignored);
  }
}

void Group::Flush(Round* round) {
  if (failed_ || !deferred_hard_state_.has_value() || restoring_.has_value()) return;
  round->batch.SetHardState(group_, *deferred_hard_state_);
  written_hard_state_ = *deferred_hard_state_;
  deferred_hard_state_.reset();
}

void Group::Wake(Round* round) {
  idle_ticks_ = 0;
  if (!asleep_) return;
  asleep_ = false;
  // A follower's lease does not end in its sleep, so it would not hear a
  // candidate: all wake together.
  const RawNode::Status status = node_->GetStatus();
  if (status.is_leader()) {
    Take(node_->Ping());
    return;
  }
  for (const Member& member : node_->membership().Members()) {
    if (member.replica != self_) SendTo(member.replica, kWakeMessage, "", round);
  }
}

void Group::OnMessage(NodeId from, std::string_view bytes, Round* round) {
  Reader reader(bytes);
  const char kind = static_cast<char>(reader.Fixed8());
  const ReplicaId sender(reader.Fixed64());
  if (!reader.ok() || failed_) return;
  heard_from_[sender] = from;
  const std::string_view payload = reader.Raw(reader.remaining());
  if (kind != kRaftMessage) {
    OnControl(kind, sender, payload, round);
    return;
  }
  if (payload.size() > kAppendBytes && replica_->queued_bytes() > kApplyQueueBytes) return;
  if (!Take(node_->Step(payload))) return;
  // What needs no answer (the last heartbeat's) wakes nobody.
  if (asleep_ && node_->HasReady()) Wake(round);
}

void Group::Process(Round* round) {
  if (failed_) return;
  PlaceProposals(round);
  IssueReads(round);
  ProposeMembership(round);
  for (int i = 0; i < kReadysPerRound && !failed_ && node_->HasReady(); ++i) {
    if (restoring_.has_value()) {
      Send(node_->TakeHeartbeatResponses(), round);
      break;
    }
    RawNode::Ready ready;
    if (!Take(node_->TakeReady(&ready))) return;
    HandleReady(std::move(ready), round);
  }
  if (failed_) return;
  StartFetches();
  if (node_->TakeSnapshotWanted()) SaveSnapshot();
  Publish();
}

void Group::HandleReady(RawNode::Ready ready, Round* round) {
  Send(std::exchange(ready.messages, {}), round);
  for (const RawNode::ReadState& state : ready.read_states) AnswerReads(state);
  if (ready.has_snapshot) {
    BeginRestore(&ready, round);
    return;
  }
  WriteReady(&ready, round);
  HandOut(&ready);
}

void Group::WriteReady(RawNode::Ready* ready, Round* round) {
  const bool must_write = ready->entry_count > 0 || ready->must_sync;
  if (ready->has_hard_state) deferred_hard_state_ = ready->hard_state;
  if (must_write) {
    if (ready->entry_count > 0) {
      round->batch.Append(group_, ready->entries_first, std::move(ready->entries));
    }
    Flush(round);
    round->batch.RequireSync();
    unpersisted_.push_back({ready->number, std::move(ready->messages_after_persist)});
    round->persists.push_back({replica_, ready->number});
    return;
  }
  // Nothing that must be durable, but what came before must be, first.
  if (unpersisted_.empty()) {
    Take(node_->OnPersisted(ready->number));
    Send(std::move(ready->messages_after_persist), round);
    return;
  }
  Unpersisted& last = unpersisted_.back();
  for (RawNode::Message& m : ready->messages_after_persist) last.messages.push_back(std::move(m));
}

void Group::OnPersisted(uint64_t number, Round* round) {
  if (failed_) return;
  if (restoring_.has_value() && number == restoring_->number) {
    FinishRestore(round);
    return;
  }
  if (!Take(node_->OnPersisted(number))) return;
  while (!unpersisted_.empty() && unpersisted_.front().number <= number) {
    Send(std::move(unpersisted_.front().messages), round);
    unpersisted_.pop_front();
  }
}

void Group::HandOut(RawNode::Ready* ready) {
  if (ready->committed_last == LogIndex()) return;
  if (!replica_->readable()) PublishReadable(node_->GetStatus());
  ApplyTask task;
  task.first = ready->committed_first;
  task.last = ready->committed_last;
  task.in_memory = ready->committed_in_memory;
  task.block = std::move(ready->committed);
  for (const PlacedProposal& proposal : placed_) {
    if (proposal.index > task.last) break;
    if (proposal.index >= task.first) task.proposals.push_back(proposal);
  }
  services_.applier->Push(replica_, std::move(task));
}

void Group::OnApplied(const ApplyReport& report, Round* round) {
  if (failed_) return;
  if (!report.status.ok()) {
    Fail(report.status);
    return;
  }
  if (report.is_restore) {
    OnRestored(report, round);
    return;
  }
  for (const AppliedChange& change : report.changes) {
    // Before another replica may lead by the new membership.
    readable_term_ = Term();
    replica_->SetUnreadable();
    const bool changed = Take(node_->ApplyMembershipChange(change.data));
    if (failed_) return;
    if (changed) {
      membership_history_[change.index] = node_->membership();
      round->batch.SetMembership(group_, change.index, EncodeMembership(node_->membership()));
    }
    if (!Take(node_->AdvanceApply(change.index))) return;
    OnMembershipApplied(change.index, changed);
    if (node_->GetStatus().is_joint) Take(node_->Ping());
    Take(node_->StepDownRemoved());
  }
  if (failed_ || !Take(node_->AdvanceApply(report.applied))) return;
  if (change_.has_value() && change_->index != LogIndex() && !change_->applied &&
      change_->index <= report.applied) {
    OnMembershipApplied(change_->index, false);
  }
  while (!placed_.empty() && placed_.front().index <= report.applied) placed_.pop_front();
  // Followers catch up from memory; alone, nobody needs what is applied.
  node_->Evict(node_->GetStatus().is_sole_voter ? 0 : kTailBytes);
  OfferSnapshot();
  if (campaign_at_.has_value() && !report.changes.empty()) {
    campaign_at_ = round->now;
    CampaignIfDue(round);
  }
}

void Group::SendTo(ReplicaId to, char kind, std::string_view payload, Round* round) {
  const NodeId node = NodeOf(to);
  if (node == NodeId()) return;
  std::string bytes(1, kind);
  bytes.reserve(9 + payload.size());
  PutFixed64(self_.value(), &bytes);
  bytes += payload;
  round->messages[node].push_back({group_, std::move(bytes)});
}

NodeId Group::NodeOf(ReplicaId replica) const {
  for (const auto* nodes : {&node_->membership().nodes, &heard_from_}) {
    const auto node = nodes->find(replica);
    if (node != nodes->end()) return node->second;
  }
  return NodeId();
}

void Group::Send(std::vector<RawNode::Message> messages, Round* round) {
  for (RawNode::Message& message : messages) {
    if (message.is_snapshot) {
      SendSnapshot(std::move(message));
    } else {
      SendTo(message.to, kRaftMessage, message.bytes, round);
    }
  }
}

void Group::StartFetches() {
  for (const RawNode::Fetch& fetch : node_->TakeFetches()) {
    services_.background->Submit([log = services_.log, post = services_.post, replica = replica_,
                                  fetch] {
      StatusOr<EntryBlock> block = log->Read(replica->group(), fetch.first, fetch.last,
                                             std::min<uint64_t>(fetch.bytes_max, 8 << 20));
      post(replica, [fetch, block = std::move(block)](Group& group, Round& round) {
        if (!block.ok() && block.status().code() != absl::StatusCode::kNotFound) {
          group.Fail(block.status());
          return;
        }
        group.Take(group.node_->OnFetched(fetch.id, fetch.first, block.ok() ? block->bytes : ""));
        (void)round;
      });
    });
  }
}

void Group::Publish() {
  const RawNode::Status status = node_->GetStatus();
  GroupStatus published;
  published.self = self_;
  published.is_leader = status.is_leader() && !failed_;
  published.term = status.term;
  published.first_index = status.first_index;
  published.last_index = status.last_index;
  published.committed = status.committed;
  published.members = node_->membership().Members();
  if (status.leader != ReplicaId()) {
    published.leader = Member{status.leader, NodeOf(status.leader), false};
  }
  replica_->Publish(std::move(published));
  PublishReadable(status);
}

// A write is acknowledged once it is applied, by the leader it was proposed to. So
// if this replica leads, if no other replica can lead without its vote, and if
// it has applied an entry of its own term (and with it everything that earlier
// leaders had committed), then its state holds every acknowledged write, now and
// for as long as that stays so. Published before the entries go to the state machine,
// so that whoever got an answer finds it.
//
// Withdrawn in the step that makes a membership change effective here, which is
// before this replica proposes to leave the joint membership: until that is
// committed, its own vote is still needed.
void Group::PublishReadable(const RawNode::Status& status) {
  if (failed_ || !status.is_leader() || !status.is_sole_voter || status.is_joint ||
      !status.has_committed_in_term) {
    readable_term_ = Term();
    replica_->SetUnreadable();
  } else if (readable_term_ != status.term) {
    readable_term_ = status.term;
    replica_->SetReadableFrom(status.committed);
  }
}

}  // namespace vectron::consensus
