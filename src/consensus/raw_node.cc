#include "consensus/raw_node.h"

#include <fmt/format.h>
#include <raft_core/src/lib.rs.h>
#include <rust/cxx.h>

#include <algorithm>

#include "common/check.h"

namespace vectron::consensus {
namespace {

rust::Slice<const uint8_t> ToRust(std::string_view bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// A copy: buffers that Rust's code counts references to never leave this thread.
std::string ToString(const rust::Vec<uint8_t>& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

rust::Vec<uint64_t> ToRust(const std::vector<ReplicaId>& replicas) {
  rust::Vec<uint64_t> out;
  for (const ReplicaId replica : replicas) out.push_back(replica.value());
  return out;
}

std::vector<ReplicaId> ToReplicas(const rust::Vec<uint64_t>& ids) {
  std::vector<ReplicaId> replicas;
  for (const uint64_t id : ids) replicas.push_back(ReplicaId(id));
  return replicas;
}

core::Membership ToRust(const Membership& membership) {
  core::Membership out;
  out.voters = ToRust(membership.voters);
  out.learners = ToRust(membership.learners);
  out.voters_outgoing = ToRust(membership.voters_outgoing);
  out.learners_next = ToRust(membership.learners_next);
  out.auto_leave = membership.auto_leave;
  return out;
}

void CopyIds(const core::Membership& from, Membership* to) {
  to->voters = ToReplicas(from.voters);
  to->learners = ToReplicas(from.learners);
  to->voters_outgoing = ToReplicas(from.voters_outgoing);
  to->learners_next = ToReplicas(from.learners_next);
  to->auto_leave = from.auto_leave;
}

std::vector<RawNode::Message> ToMessages(const rust::Vec<core::OutMessage>& messages) {
  std::vector<RawNode::Message> out;
  out.reserve(messages.size());
  for (const core::OutMessage& m : messages) {
    out.push_back({ReplicaId(m.to), m.is_snapshot, ToString(m.bytes)});
  }
  return out;
}

}  // namespace

struct RawNode::Core {
  rust::Box<core::Node> node;

  absl::Status ToStatus(core::Outcome outcome) const {
    switch (outcome) {
      case core::Outcome::Ok:
        return OkStatus();
      case core::Outcome::Dropped:
        return MakeError(Reason::kUnavailable, "raft cannot take it now");
      case core::Outcome::Refused:
        return InvalidArgument("raft refused it");
      default:
        return Internal(fmt::format("the raft core failed: {}", std::string(node->error())));
    }
  }
};

RawNode::RawNode(std::unique_ptr<Core> core) : core_(std::move(core)) {}
RawNode::~RawNode() = default;

StatusOr<std::unique_ptr<RawNode>> RawNode::Create(const Options& options, const GroupLogState& log,
                                                   const Membership& membership) {
  core::Config config{};
  config.group = options.group.value();
  config.id = options.self.value();
  config.seed = options.seed;
  config.applied = options.applied.value();
  config.heartbeat_ticks = options.heartbeat_ticks;
  config.election_ticks_min = options.election_ticks_min;
  config.election_ticks_max = options.election_ticks_max;
  config.message_bytes_max = options.message_bytes_max;
  config.inflight_messages_max = options.inflight_messages_max;
  config.committed_bytes_max = options.committed_bytes_max;

  core::LogState state{};
  state.hard_state.term = log.hard_state.term.value();
  state.hard_state.vote = log.hard_state.vote.value();
  // What was applied was committed, even if that had not reached the disk.
  state.hard_state.commit = std::max(log.hard_state.commit, options.applied).value();
  state.membership = ToRust(membership);
  state.truncated_index = log.truncated_index.value();
  state.truncated_term = log.truncated_term.value();
  state.last_index = log.last_index.value();
  for (const TermRun& run : log.term_runs) {
    state.term_runs.push_back({run.first.value(), run.term.value()});
  }
  for (const LogIndex index : log.conf_changes) state.conf_change_indexes.push_back(index.value());

  try {
    auto core = std::make_unique<Core>(Core{core::new_node(config, state)});
    std::unique_ptr<RawNode> node(new RawNode(std::move(core)));
    node->membership_ = membership;
    return node;
  } catch (const rust::Error& error) {
    return Corruption(fmt::format("raft log of group {}: {}", options.group.value(), error.what()));
  }
}

absl::Status RawNode::Step(std::string_view message) {
  return core_->ToStatus(core_->node->step(ToRust(message)));
}

absl::Status RawNode::Tick() { return core_->ToStatus(core_->node->tick()); }
absl::Status RawNode::Campaign() { return core_->ToStatus(core_->node->campaign()); }
absl::Status RawNode::ForgetLeader() { return core_->ToStatus(core_->node->forget_leader()); }
absl::Status RawNode::Ping() { return core_->ToStatus(core_->node->ping()); }

absl::Status RawNode::Propose(
    const std::vector<std::pair<std::string_view, std::string_view>>& proposals) {
  std::vector<core::ProposalRef> refs;
  refs.reserve(proposals.size());
  for (const auto& [context, data] : proposals) refs.push_back({ToRust(context), ToRust(data)});
  return core_->ToStatus(
      core_->node->propose(rust::Slice<const core::ProposalRef>(refs.data(), refs.size())));
}

absl::Status RawNode::ProposeMembership(const Membership& target) {
  return core_->ToStatus(
      core_->node->propose_membership(ToRust(target), ToRust(EncodeMembership(target))));
}

absl::Status RawNode::ReadIndex(std::string_view context) {
  return core_->ToStatus(core_->node->read_index(ToRust(context)));
}

absl::Status RawNode::TransferLeader(ReplicaId to) {
  return core_->ToStatus(core_->node->transfer_leader(to.value()));
}

absl::Status RawNode::StepDownRemoved() {
  return core_->ToStatus(core_->node->step_down_removed());
}

absl::Status RawNode::ReportUnreachable(ReplicaId replica) {
  return core_->ToStatus(core_->node->report_unreachable(replica.value()));
}

absl::Status RawNode::ReportSnapshot(ReplicaId replica, bool arrived) {
  return core_->ToStatus(core_->node->report_snapshot(replica.value(), arrived));
}

bool RawNode::HasReady() const { return core_->node->has_ready(); }

absl::Status RawNode::TakeReady(Ready* ready) {
  core::Ready from{};
  *ready = Ready{};
  VECTRON_RETURN_IF_ERROR(
      core_->ToStatus(core_->node->take_ready(from, ready->entries, ready->committed)));
  ready->number = from.number;
  ready->must_sync = from.must_sync;
  ready->has_hard_state = from.has_hard_state;
  ready->hard_state = {Term(from.hard_state.term), ReplicaId(from.hard_state.vote),
                       LogIndex(from.hard_state.commit)};
  ready->entries_first = LogIndex(from.entries_first);
  ready->entry_count = from.entries_count;
  ready->committed_first = LogIndex(from.committed_first);
  ready->committed_last = LogIndex(from.committed_last);
  ready->committed_in_memory = from.committed_in_memory;
  ready->messages = ToMessages(from.messages);
  ready->messages_after_persist = ToMessages(from.messages_after_persist);
  for (const core::ReadState& state : from.read_states) {
    ready->read_states.push_back({LogIndex(state.index), ToString(state.context)});
  }
  ready->has_snapshot = from.has_snapshot;
  if (from.has_snapshot) {
    ready->snapshot.index = LogIndex(from.snapshot_index);
    ready->snapshot.term = Term(from.snapshot_term);
    // The ids are the core's; where the replicas live came along.
    const auto offered = DecodeMembership(ToString(from.snapshot_data));
    if (offered.ok()) membership_.nodes = offered->nodes;
    CopyIds(from.snapshot_membership, &membership_);
    ready->snapshot.membership = EncodeMembership(membership_);
  }
  return OkStatus();
}

std::vector<RawNode::Message> RawNode::TakeHeartbeatResponses() {
  rust::Vec<core::OutMessage> messages;
  core_->node->take_heartbeat_responses(messages);
  return ToMessages(messages);
}

absl::Status RawNode::OnPersisted(uint64_t number) {
  return core_->ToStatus(core_->node->on_persisted(number));
}

absl::Status RawNode::AdvanceApply(LogIndex index) {
  return core_->ToStatus(core_->node->advance_apply(index.value()));
}

absl::Status RawNode::ApplyMembershipChange(std::string_view entry_data) {
  core::Membership now;
  rust::Vec<uint8_t> context;
  VECTRON_RETURN_IF_ERROR(
      core_->ToStatus(core_->node->apply_conf_change(ToRust(entry_data), now, context)));
  CopyIds(now, &membership_);
  const auto target = DecodeMembership(ToString(context));
  if (target.ok()) {
    for (const auto& [replica, node] : target->nodes) membership_.nodes[replica] = node;
  }
  std::erase_if(membership_.nodes,
                [&](const auto& node) { return !membership_.Knows(node.first); });
  return OkStatus();
}

std::string RawNode::EncodeAddition(const Member& member) {
  Membership one;
  one.nodes[member.replica] = member.node;
  return ToString(
      core::encode_addition(member.replica.value(), member.learner, ToRust(EncodeMembership(one))));
}

std::vector<RawNode::Fetch> RawNode::TakeFetches() {
  std::vector<Fetch> fetches;
  for (const core::Fetch& f : core_->node->take_fetches()) {
    fetches.push_back({f.id, LogIndex(f.first_index), LogIndex(f.last_index), f.bytes_max});
  }
  return fetches;
}

absl::Status RawNode::OnFetched(uint64_t id, LogIndex first, std::string_view block) {
  return core_->ToStatus(core_->node->on_fetched(id, first.value(), ToRust(block)));
}

void RawNode::Evict(size_t bytes_max) { core_->node->evict(bytes_max); }

absl::Status RawNode::Truncate(LogIndex index) {
  return core_->ToStatus(core_->node->truncate(index.value()));
}

bool RawNode::TakeSnapshotWanted() { return core_->node->take_snapshot_wanted(); }

absl::Status RawNode::OfferSnapshot(LogIndex index, const Membership& membership) {
  return core_->ToStatus(core_->node->offer_snapshot(index.value(), ToRust(membership),
                                                     ToRust(EncodeMembership(membership))));
}

void RawNode::WithdrawSnapshot() { core_->node->withdraw_snapshot(); }

Term RawNode::TermAt(LogIndex index) const { return Term(core_->node->term_at(index.value())); }

RawNode::Status RawNode::GetStatus() const {
  const core::Status from = core_->node->status();
  Status status;
  switch (from.role) {
    case core::Role::PreCandidate:
      status.role = Role::kPreCandidate;
      break;
    case core::Role::Candidate:
      status.role = Role::kCandidate;
      break;
    case core::Role::Leader:
      status.role = Role::kLeader;
      break;
    default:
      status.role = Role::kFollower;
  }
  status.term = Term(from.term);
  status.leader = ReplicaId(from.leader);
  status.first_index = LogIndex(from.first_index);
  status.last_index = LogIndex(from.last_index);
  status.committed = LogIndex(from.committed);
  status.persisted = LogIndex(from.persisted);
  status.applied = LogIndex(from.applied);
  status.is_sole_voter = from.is_sole_voter;
  status.is_voter = from.is_promotable;
  status.is_joint = from.is_joint;
  status.has_pending_change = from.has_pending_conf;
  status.has_committed_in_term = from.has_committed_in_term;
  return status;
}

std::vector<RawNode::Progress> RawNode::GetProgress() const {
  std::vector<Progress> out;
  for (const core::Progress& p : core_->node->progress()) {
    out.push_back({ReplicaId(p.id), LogIndex(p.matched), p.recent_active, p.is_snapshot});
  }
  return out;
}

}  // namespace vectron::consensus
