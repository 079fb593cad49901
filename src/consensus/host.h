#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/disk_room.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/metrics.h"
#include "consensus/state_machine.h"
#include "consensus/transport.h"

namespace vectron::consensus {

class LogFileSystem;

struct Member {
  ReplicaId replica;
  NodeId node;
  bool learner = false;

  bool operator==(const Member&) const = default;
};

struct GroupOptions {
  GroupId group;
  ReplicaId self;
  // The members a new group begins with, the same on all of them. Ignored when
  // the log already knows the group. Empty: joins an existing group, waits for its
  // leader to speak.
  std::vector<Member> initial_members;
};

struct Proposal {
  WriteSession session;
  std::string command;
  RoomUse room = RoomUse::kGrowth;
};

struct Applied {
  LogIndex index;
  std::string result;  // of StateMachine::Apply
};

struct GroupStatus {
  ReplicaId self;
  std::optional<Member> leader;
  bool is_leader = false;
  Term term;
  LogIndex first_index;  // of the log
  LogIndex last_index;
  LogIndex committed;
  LogIndex applied;
  std::vector<Member> members;
  // Not OK: the group stopped, and why (e.g. a corrupt log).
  Status health;
};

struct HostOptions {
  NodeId self;
  std::string dir;  // of the log
  int step_thread_count = 1;
  int apply_thread_count = 1;
  std::chrono::milliseconds tick{10};
  std::chrono::milliseconds heartbeat{50};
  std::chrono::milliseconds election_min{300};
  std::chrono::milliseconds election_max{600};
  uint64_t seed = 0;                        // of election timeouts
  size_t inflight_bytes_max = 256 << 20;    // proposals not yet applied, all groups
  size_t command_bytes_max = 96 << 20;      // of one proposal
  uint64_t log_bytes_flush = 512ull << 20;  // ask the state machine to flush past this
  uint64_t log_entries_flush = 1 << 20;     // or past this
  uint64_t log_segment_bytes = 64 << 20;    // of one file of the log
  // Proposals are refused with DISK_FULL when less is free, those that make room later
  // than others (common/disk_room.h). A part of it is taken as a file of the log's
  // (log/ballast.h), for what has to be written when the disk is full.
  uint64_t disk_reserve_bytes = 256 << 20;
};

// What the host takes from outside, so that it runs in simulation as it does on
// a machine. None of it is owned; all of it outlives the host.
struct HostEnvironment {
  const Clock* clock = nullptr;
  Transport* transport = nullptr;  // may be null where every group has one voter
  MetricsRegistry* metrics = nullptr;
  LogFileSystem* file_system = nullptr;  // of the log; null: the machine's
};

// Runs the Raft groups of one process (DESIGN, "Consensus"). Thread-safe.
class Host {
 public:
  // Opens the log. CORRUPTION (naming file and place), INCOMPATIBLE_FORMAT.
  static StatusOr<std::unique_ptr<Host>> Open(const HostOptions& options,
                                              const HostEnvironment& environment);
  virtual ~Host() = default;

  // Whether the log has something of the group, which then was started before.
  virtual bool HasLog(GroupId group) const = 0;

  // Begins to run a group, replaying what `machine` lacks. The host shares
  // ownership until the group is stopped.
  virtual Status StartGroup(const GroupOptions& options, std::shared_ptr<StateMachine> machine) = 0;
  // Waits until the group's machine is no longer called.
  virtual Status StopGroup(GroupId group) = 0;
  // StopGroup, and deletes its log.
  virtual Status DestroyGroup(GroupId group) = 0;

  // Answers once applied. Errors: NOT_LEADER, UNAVAILABLE, OVERLOADED, DISK_FULL,
  // LIMIT_EXCEEDED (nothing was done), OUTCOME_UNKNOWN (also at `deadline`), or the
  // error that the state machine gave.
  virtual void Propose(GroupId group, Proposal proposal, Deadline deadline,
                       Callback<Applied> done) = 0;

  // A linearizable read point: answers once everything committed when the call
  // was made is applied here, on any replica, with that index. Errors: UNAVAILABLE,
  // DEADLINE_EXCEEDED.
  virtual void ReadIndex(GroupId group, Deadline deadline, Callback<LogIndex> done) = 0;

  // The same, without waiting, where that is possible (a leader that is the only
  // voter and has applied all it committed). The fast path of searches.
  virtual std::optional<LogIndex> TryReadIndex(GroupId group) const = 0;

  // Answers once `index` is applied here: for session consistency.
  virtual void WaitApplied(GroupId group, LogIndex index, Deadline deadline,
                           Callback<LogIndex> done) = 0;

  // NOT_FOUND if the group does not run here.
  virtual StatusOr<GroupStatus> GetStatus(GroupId group) const = 0;

  virtual void TransferLeadership(GroupId group, ReplicaId to) = 0;
  // Joint consensus to exactly `members`; answers when it is left again.
  virtual void ChangeMembers(GroupId group, std::vector<Member> members, Deadline deadline,
                             Callback<LogIndex> done) = 0;

  // Answers what waits with SHUTTING_DOWN or OUTCOME_UNKNOWN, joins all threads.
  // Idempotent; the destructor calls it.
  virtual void Stop() = 0;
};

}  // namespace vectron::consensus
