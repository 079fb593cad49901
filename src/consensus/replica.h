#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/mutex.h"
#include "consensus/host.h"
#include "consensus/log/log_store.h"
#include "consensus/state_machine.h"
#include "consensus/waiter.h"

namespace vectron::consensus {

// A proposal that got a place in the log.
struct PlacedProposal {
  LogIndex index;
  Term term;
  WaiterPtr<Applied> waiter;
};

// Committed entries on their way to the state machine, or a snapshot.
struct ApplyTask {
  LogIndex first;
  LogIndex last;
  bool in_memory = false;
  std::string block;                      // if in memory; else to be read from the log
  std::vector<PlacedProposal> proposals;  // with an index in the range
  std::string snapshot_dir;               // not empty: restore it; `last` is its index
};

// A replica as the threads share it: callers of the host, its step worker, the
// apply pool. The step worker owns the rest of it (Group).
//
// Thread-safe.
class Replica {
 public:
  Replica(GroupId group, ReplicaId self, std::shared_ptr<StateMachine> machine)
      : group_(group), self_(self), machine_(std::move(machine)) {
    applied_ = machine_->AppliedIndex().value();
  }

  GroupId group() const { return group_; }
  ReplicaId self() const { return self_; }
  StateMachine& machine() const { return *machine_; }

  LogIndex applied() const { return LogIndex(applied_.load(std::memory_order_acquire)); }
  // The state machine has everything up to `index`: answers who waited for it.
  void SetApplied(LogIndex index);

  // Whether a linearizable read may be answered from the state as it is: once it
  // has the entry that the step worker named. See Group::PublishReadable.
  bool readable() const {
    return readable_from_.load(std::memory_order_acquire) <=
           applied_.load(std::memory_order_acquire);
  }
  void SetReadableFrom(LogIndex index) {
    readable_from_.store(index.value(), std::memory_order_release);
  }
  void SetUnreadable() { SetReadableFrom(LogIndex(UINT64_MAX)); }

  void WaitApplied(LogIndex index, WaiterPtr<LogIndex> waiter);
  // Answers waiters whose deadline is over.
  void ExpireWaiters(TimePoint now);
  bool HasWaiters() const;

  void Publish(GroupStatus status);
  GroupStatus GetStatus() const;
  // The first failure counts; the group stops.
  void Fail(const Status& status);
  Status health() const;

  // The apply queue. Push returns true if nobody is at work on it: the caller then
  // schedules the Applier.
  bool Push(ApplyTask task);
  // What to apply next: one snapshot, or entries of a few tasks; nothing once the
  // replica is closed. The worker is done with the queue when it gets nothing.
  std::vector<ApplyTask> Take(size_t bytes_max);
  // Puts back what was taken and could not be applied for want of room on the disk.
  // Nobody is at work on the queue then, until Resume (true: the caller schedules the
  // Applier).
  void PutBack(std::vector<ApplyTask> tasks);
  bool Resume();
  size_t queued_bytes() const { return queued_bytes_.load(std::memory_order_relaxed); }

  // Long calls to the state machine outside of the apply queue.
  bool Enter();
  void Leave();

  // Nothing is applied any more; answers who waits. AwaitIdle: until the state
  // machine is no longer called. Release, when it is idle: lets go of the state machine,
  // for events that come too late may hold the replica itself a moment longer.
  void Close(const Status& why);
  void AwaitIdle();
  bool IsIdle() const;
  void Release();

 private:
  const GroupId group_;
  const ReplicaId self_;
  std::shared_ptr<StateMachine> machine_;
  std::atomic<uint64_t> applied_{0};
  std::atomic<uint64_t> readable_from_{UINT64_MAX};
  std::atomic<size_t> queued_bytes_{0};

  mutable Mutex mutex_;
  CondVar idle_;
  GroupStatus status_ ABSL_GUARDED_BY(mutex_);
  std::multimap<LogIndex, WaiterPtr<LogIndex>> waiters_ ABSL_GUARDED_BY(mutex_);
  std::deque<ApplyTask> queue_ ABSL_GUARDED_BY(mutex_);
  bool applying_ ABSL_GUARDED_BY(mutex_) = false;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int visitors_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace vectron::consensus
