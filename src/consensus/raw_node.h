#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "consensus/log/log_store.h"
#include "consensus/membership.h"
#include "consensus/raft_types.h"

namespace vectron::consensus {

// The Raft algorithm for one replica of one group (Raft thesis; raft-rs behind
// raft_core/). Pure: time comes as Tick(), messages as Step(), and what is to be
// done with disk, network and state machine is handed out as a Ready.
//
// A round: TakeReady; send `messages`; write entries and hard state of all groups;
// OnPersisted; send `messages_after_persist`; apply; AdvanceApply. Further Readys
// may be taken before an earlier one is persisted, in order.
//
// Calls return what happened: OK; INVALID_ARGUMENT, a message or request was
// refused; UNAVAILABLE, raft cannot take it now (both: nothing was done); INTERNAL,
// the core failed and the group can only be stopped.
//
// Not thread-safe.
class RawNode {
 public:
  struct Options {
    GroupId group;
    ReplicaId self;
    uint64_t seed = 0;  // of election timeouts
    LogIndex applied;   // what the state machine has
    size_t heartbeat_ticks = 5;
    size_t election_ticks_min = 30;
    size_t election_ticks_max = 60;
    uint64_t message_bytes_max = 1 << 20;    // of the entries in one, but for the first
    size_t inflight_messages_max = 64;       // appends sent to a follower, unanswered
    uint64_t committed_bytes_max = 8 << 20;  // handed out in one Ready
  };

  struct Message {
    ReplicaId to;
    bool is_snapshot = false;
    std::string bytes;
  };

  struct ReadState {
    LogIndex index;
    std::string context;
  };

  // Entries that a lagging follower needs and memory no longer has.
  struct Fetch {
    uint64_t id = 0;
    LogIndex first;
    LogIndex last;
    uint64_t bytes_max = 0;
  };

  struct Ready {
    uint64_t number = 0;
    bool must_sync = false;
    bool has_hard_state = false;
    HardState hard_state;
    LogIndex entries_first;
    uint64_t entry_count = 0;
    std::string entries;  // to be written
    // Committed and not handed out before; 0 for none. Their data is `committed`, or,
    // after a restart, in the log only.
    LogIndex committed_first;
    LogIndex committed_last;
    bool committed_in_memory = false;
    std::string committed;
    std::vector<Message> messages;
    std::vector<Message> messages_after_persist;
    std::vector<ReadState> read_states;
    // A snapshot that replaces log and state.
    bool has_snapshot = false;
    PendingSnapshot snapshot;  // membership as its sender offered it
  };

  enum class Role { kFollower, kPreCandidate, kCandidate, kLeader };

  struct Status {
    Role role = Role::kFollower;
    Term term;
    ReplicaId leader;  // 0: none known
    LogIndex first_index;
    LogIndex last_index;
    LogIndex committed;
    LogIndex persisted;
    LogIndex applied;
    bool is_sole_voter = false;
    bool is_voter = false;
    bool is_joint = false;
    bool has_pending_change = false;
    bool has_committed_in_term = false;

    bool is_leader() const { return role == Role::kLeader; }
  };

  struct Progress {
    ReplicaId replica;
    LogIndex matched;
    bool recent_active = false;
    bool needs_snapshot = false;
  };

  // CORRUPTION if the log's state makes no sense.
  static StatusOr<std::unique_ptr<RawNode>> Create(const Options& options, const GroupLogState& log,
                                                   const Membership& membership);
  ~RawNode();
  RawNode(const RawNode&) = delete;
  RawNode& operator=(const RawNode&) = delete;

  // `message` comes from a peer: checked first.
  absl::Status Step(std::string_view message);
  absl::Status Tick();
  absl::Status Campaign();
  // The leader's process crashed: stops believing in it, without a new term.
  absl::Status ForgetLeader();
  // Heartbeats to all, now.
  absl::Status Ping();
  // (context, data) of each; all or none. They are the log's last entries then.
  absl::Status Propose(const std::vector<std::pair<std::string_view, std::string_view>>& proposals);
  // To exactly `target`'s voters and learners, by joint consensus where more than one
  // replica changes.
  absl::Status ProposeMembership(const Membership& target);
  // `context` must never be used twice, by any replica.
  absl::Status ReadIndex(std::string_view context);
  absl::Status TransferLeader(ReplicaId to);
  // For a leader that is no voter any more: hands over and stops leading.
  absl::Status StepDownRemoved();
  absl::Status ReportUnreachable(ReplicaId replica);
  absl::Status ReportSnapshot(ReplicaId replica, bool arrived);

  bool HasReady() const;
  absl::Status TakeReady(Ready* ready);
  // Instead of TakeReady while a snapshot is being restored: the answers to
  // heartbeats that may be sent all the same. Everything else is dropped.
  std::vector<Message> TakeHeartbeatResponses();
  // Readys up to `number` are on disk.
  absl::Status OnPersisted(uint64_t number);
  // The state machine has entries up to `index`.
  absl::Status AdvanceApply(LogIndex index);
  // To be called for a committed entry that changes the membership, before
  // AdvanceApply passes it. INVALID_ARGUMENT: it changes nothing, on any replica.
  absl::Status ApplyMembershipChange(std::string_view entry_data);

  // The data of an entry that makes `member` one: for the begin of a group's log.
  static std::string EncodeAddition(const Member& member);

  std::vector<Fetch> TakeFetches();
  // `block` empty: they could not be read; raft asks again, or sends a snapshot.
  absl::Status OnFetched(uint64_t id, LogIndex first, std::string_view block);
  // Keeps at most `bytes_max` of applied entries in memory.
  void Evict(size_t bytes_max);
  // The log's entries up to `index` are gone.
  absl::Status Truncate(LogIndex index);

  // Whether a follower needs a snapshot and none was on offer; true once.
  bool TakeSnapshotWanted();
  // A snapshot of the state at `index` may be sent to whoever needs one.
  absl::Status OfferSnapshot(LogIndex index, const Membership& membership);
  void WithdrawSnapshot();

  // 0 where the log does not know it.
  Term TermAt(LogIndex index) const;
  Status GetStatus() const;
  std::vector<Progress> GetProgress() const;
  // With the nodes that the changes named.
  const Membership& membership() const { return membership_; }

 private:
  struct Core;
  explicit RawNode(std::unique_ptr<Core> core);

  const std::unique_ptr<Core> core_;
  Membership membership_;
};

}  // namespace vectron::consensus
