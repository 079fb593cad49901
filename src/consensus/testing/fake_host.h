#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "consensus/host.h"

namespace vectron::consensus {

// A Host for the tests of what is built on it: every group has one voter, proposals are
// applied before Propose returns, on the caller's thread. Its disk outlives it, so that
// a crash is a new FakeHost over the same disk. Faults are made on demand.
// Thread-safe.
class FakeHost : public Host {
 public:
  struct LogEntry {
    Term term;
    WriteSession session;
    std::string command;
  };
  // The logs of all groups; index 1 is the first entry.
  struct Disk {
    Mutex mutex;
    std::map<GroupId, std::vector<LogEntry>> logs ABSL_GUARDED_BY(mutex);
  };

  FakeHost(NodeId self, std::shared_ptr<Disk> disk) : self_(self), disk_(std::move(disk)) {}
  ~FakeHost() override { Stop(); }

  bool HasLog(GroupId group) const override;
  Status StartGroup(const GroupOptions& options, std::shared_ptr<StateMachine> machine) override;
  Status StopGroup(GroupId group) override;
  Status DestroyGroup(GroupId group) override;
  void Propose(GroupId group, Proposal proposal, Deadline deadline,
               Callback<Applied> done) override;
  void ReadIndex(GroupId group, Deadline deadline, Callback<LogIndex> done) override;
  std::optional<LogIndex> TryReadIndex(GroupId group) const override;
  void WaitApplied(GroupId group, LogIndex index, Deadline deadline,
                   Callback<LogIndex> done) override;
  StatusOr<GroupStatus> GetStatus(GroupId group) const override;
  void TransferLeadership(GroupId group, ReplicaId to) override;
  void ChangeMembers(GroupId group, std::vector<Member> members, Deadline deadline,
                     Callback<LogIndex> done) override;
  void Stop() override;

  // The next proposals of the group answer with these, one each. With OUTCOME_UNKNOWN
  // the proposal is applied nevertheless.
  void FailProposals(GroupId group, std::vector<Status> errors);
  // Whether the group has its leader here (the default) or nowhere.
  void SetLeading(GroupId group, bool leading);
  // TryReadIndex gives nothing, so that readers take the slow path.
  void DisableFastReads() { fast_reads_ = false; }
  bool IsRunning(GroupId group) const;

 private:
  // Self-locking: a state machine may be slow, and groups are independent.
  struct Group {
    GroupOptions options;
    std::shared_ptr<StateMachine> machine;
    Mutex mutex;
    Term term ABSL_GUARDED_BY(mutex);
    bool leading ABSL_GUARDED_BY(mutex) = true;
    std::deque<Status> failures ABSL_GUARDED_BY(mutex);
  };
  using GroupPtr = std::shared_ptr<Group>;

  // Null if it does not run.
  GroupPtr Find(GroupId group) const;
  Status NotHere(GroupId group) const;
  // Appends to the log and applies it.
  StatusOr<Applied> Append(Group* group, LogEntry entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(group->mutex);

  const NodeId self_;
  const std::shared_ptr<Disk> disk_;
  std::atomic<bool> fast_reads_{true};
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<GroupId, GroupPtr> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::consensus
