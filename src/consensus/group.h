#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/ids.h"
#include "consensus/applier.h"
#include "consensus/executor.h"
#include "consensus/host.h"
#include "consensus/log/log_store.h"
#include "consensus/membership.h"
#include "consensus/raw_node.h"
#include "consensus/replica.h"
#include "consensus/transport.h"
#include "consensus/waiter.h"

namespace vectron::consensus {

class Group;

// What one pass of a step worker gathers from all its groups: it goes out at once.
struct Round {
  struct Persist {
    std::shared_ptr<Replica> replica;
    uint64_t number = 0;
  };

  TimePoint now;
  // What a slow disk need not hold up.
  std::map<NodeId, std::vector<GroupMessage>> messages;
  // For the log; when it is durable, the groups hear of it.
  LogBatch batch;
  std::vector<Persist> persists;
  // Called once the batch has its place among the log's writes: those whose groups were
  // removed may erase them from the log then, which must come after it.
  std::vector<std::function<void()>> removed;
};

// What a group works with; shared by all groups of a host, which owns it.
struct GroupServices {
  const HostOptions* options = nullptr;
  const Clock* clock = nullptr;
  Transport* transport = nullptr;
  LogStore* log = nullptr;
  Applier* applier = nullptr;
  Executor* background = nullptr;  // reads from the log, snapshots
  // Runs `action` on the group's step worker, if the group still runs.
  std::function<void(std::shared_ptr<Replica>, std::function<void(Group&, Round&)> action)> post;
  std::function<bool()> disk_full;
};

// One replica of one group, as its step worker owns it: feeds the Raft core with
// messages, time and requests, and carries out what it says. Everything slow
// (disk, network, state machine) is handed to others, whose answers come back as
// calls of the On... functions.
//
// Not thread-safe: the step worker's thread alone. Never blocks.
//
//   group.cc            life, messages, Readys
//   group_requests.cc   proposals, reads, membership, leadership
//   group_snapshot.cc   snapshots in both directions, truncation of the log
//   group_liveness.cc   ticks, deadlines, failover, hibernation
class Group {
 public:
  static StatusOr<std::unique_ptr<Group>> Create(const GroupOptions& options,
                                                 std::shared_ptr<Replica> replica,
                                                 const GroupServices& services);

  const std::shared_ptr<Replica>& replica() const { return replica_; }
  // Needs no ticks until something happens.
  bool asleep() const { return asleep_; }
  bool failed() const { return failed_; }
  // Process left something for the next round.
  bool HasMore() const { return !failed_ && !restoring_.has_value() && node_->HasReady(); }

  // What the log must hold before Start: of a group that is new to it, or whose
  // snapshot a crash kept from being noted.
  LogBatch TakeFirstBatch() { return std::exchange(first_batch_, {}); }
  void Start(Round* round);
  // Takes the core's output; to be called after anything that may have caused some.
  void Process(Round* round);
  // The group is about to go: answers everyone.
  void Close(const Status& why);
  void Fail(const Status& status);
  // Writes what was put off (a commit index) before the log is closed.
  void Flush(Round* round);

  void OnMessage(NodeId from, std::string_view bytes, Round* round);
  void OnSnapshot(NodeId from, SnapshotTransfer transfer, Round* round);
  void OnPeerLost(NodeId peer, Round* round);

  void Propose(Proposal proposal, WaiterPtr<Applied> waiter, Round* round);
  void ReadIndex(WaiterPtr<LogIndex> waiter, Round* round);
  void TransferLeadership(ReplicaId to, Round* round);
  void ChangeMembers(std::vector<Member> members, WaiterPtr<LogIndex> waiter, Round* round);

  void OnPersisted(uint64_t number, Round* round);
  void OnApplied(const ApplyReport& report, Round* round);

  void Tick(Round* round);
  // Now and then: lets go of log and snapshots that are not needed.
  void Maintain(Round* round);

 private:
  struct QueuedProposal {
    std::string context;
    std::string command;
    WaiterPtr<Applied> waiter;
    TimePoint since;
  };
  struct QueuedRead {
    WaiterPtr<LogIndex> waiter;
    TimePoint since;
  };
  struct ReadBatch {
    std::vector<QueuedRead> reads;
    TimePoint issued;
  };
  struct Unpersisted {
    uint64_t number = 0;
    std::vector<RawNode::Message> messages;
  };
  struct MembershipRequest {
    Membership target;
    WaiterPtr<LogIndex> waiter;
    TimePoint since;
    LogIndex index;  // of its entry, once it has one
    bool applied = false;
  };
  // A snapshot that this replica offers to others.
  struct OutgoingSnapshot {
    LogIndex index;
    std::string dir;
    int sends = 0;
    TimePoint used;
  };
  // A snapshot that replaces this replica's state; see OnRestored.
  struct Restoring {
    uint64_t number = 0;
    PendingSnapshot snapshot;
    HardState hard_state;
    std::vector<RawNode::Message> messages;
    std::string dir;
    enum class Stage { kAnnouncing, kApplying, kInstalling } stage = Stage::kAnnouncing;
  };

  Group(const GroupOptions& options, std::shared_ptr<Replica> replica,
        const GroupServices& services);

  Status Bootstrap(const std::vector<Member>& members, GroupLogState* log);
  // Fails the group unless `status` is one of the core's harmless answers.
  bool Take(const Status& status);
  void Wake(Round* round);

  // group.cc
  void HandleReady(RawNode::Ready ready, Round* round);
  void WriteReady(RawNode::Ready* ready, Round* round);
  void HandOut(RawNode::Ready* ready);
  void Send(std::vector<RawNode::Message> messages, Round* round);
  void SendTo(ReplicaId to, char kind, std::string_view payload, Round* round);
  // 0 if unknown.
  NodeId NodeOf(ReplicaId replica) const;
  void Publish();
  void PublishReadable(const RawNode::Status& status);
  void StartFetches();

  // group_requests.cc
  void PlaceProposals(Round* round);
  void RefuseProposals(const Status& why);
  void IssueReads(Round* round);
  void AnswerReads(const RawNode::ReadState& state);
  void RetryReads(TimePoint now);
  void ProposeMembership(Round* round);
  void OnMembershipApplied(LogIndex index, bool changed);
  void ExpireRequests(Round* round);

  // group_snapshot.cc
  void BeginRestore(RawNode::Ready* ready, Round* round);
  void OnRestored(const ApplyReport& report, Round* round);
  void FinishRestore(Round* round);
  void SaveSnapshot();
  void OnSnapshotSaved(StatusOr<LogIndex> index, const std::string& dir, Round* round);
  void OfferSnapshot();
  void SendSnapshot(RawNode::Message message);
  void DropIdleSnapshots(TimePoint now);
  void Truncate(Round* round);
  LogIndex TruncationPoint(LogIndex durable) const;
  std::string NewSnapshotDir();

  // group_liveness.cc
  void CampaignIfDue(Round* round);
  void SleepIfIdle(Round* round);
  void OnControl(char kind, ReplicaId from, std::string_view payload, Round* round);
  Status NotLeaderError(const RawNode::Status& status) const;

  const GroupServices services_;
  const GroupId group_;
  const ReplicaId self_;
  const std::shared_ptr<Replica> replica_;
  std::unique_ptr<RawNode> node_;
  bool failed_ = false;
  Term readable_term_;  // for which reads are allowed; 0: they are not
  LogBatch first_batch_;
  bool is_new_ = false;

  // Where replicas live that the membership does not know (yet).
  std::map<ReplicaId, NodeId> heard_from_;

  // Readys that are not durable yet, in order.
  std::deque<Unpersisted> unpersisted_;
  // A commit index that is worth no write of its own.
  std::optional<HardState> deferred_hard_state_;
  HardState written_hard_state_;

  // Requests.
  std::deque<QueuedProposal> queued_;
  std::deque<PlacedProposal> placed_;  // by index
  std::vector<QueuedRead> reads_;
  std::map<std::string, ReadBatch> read_batches_;
  uint64_t next_read_ = 1;
  std::optional<MembershipRequest> change_;

  // Memberships by the index they hold from; the first one is at or before the
  // truncated index.
  std::map<LogIndex, Membership> membership_history_;

  // Snapshots.
  std::string arrived_dir_;  // of the message that is being stepped
  std::optional<Restoring> restoring_;
  std::optional<OutgoingSnapshot> outgoing_;
  bool saving_snapshot_ = false;
  std::optional<LogIndex> saved_index_;
  std::string saved_dir_;
  uint64_t next_snapshot_ = 1;
  std::optional<std::pair<LogIndex, TimePoint>> flush_requested_;  // at which durable index

  // Liveness.
  bool asleep_ = false;
  int idle_ticks_ = 0;
  std::optional<TimePoint> campaign_at_;
  TimePoint failover_until_;
};

// First byte of every message between hosts; then the sender's replica (8 bytes).
inline constexpr char kRaftMessage = 1;
inline constexpr char kSleepMessage = 2;
inline constexpr char kWakeMessage = 3;

}  // namespace vectron::consensus
