#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/error.h"
#include "consensus/executor.h"
#include "consensus/log/log_store.h"
#include "consensus/replica.h"

namespace vectron::consensus {

// A committed entry that changes the membership: the core must hear of it.
struct AppliedChange {
  LogIndex index;
  std::string data;
};

// What became of a replica's apply queue, for its step worker.
struct ApplyReport {
  std::shared_ptr<Replica> replica;
  // Entries up to here are in the state machine.
  LogIndex applied;
  std::vector<AppliedChange> changes;
  // A snapshot was restored, or not.
  bool is_restore = false;
  // Not OK: the state machine failed, and gets no more.
  Status status;
};

// Carries committed entries from the replicas' queues into their state machines
// and answers the proposers. One replica's entries are applied by one thread at a
// time, in order; different replicas' side by side. Thread-safe.
class Applier {
 public:
  using Report = std::function<void(ApplyReport)>;

  // `report` is called from the executor's threads.
  Applier(Executor* executor, const LogStore* log, Report report)
      : executor_(executor), log_(log), report_(std::move(report)) {}

  void Push(const std::shared_ptr<Replica>& replica, ApplyTask task);
  // Tries again what found the disk full; nothing if there is no such thing. To be
  // called about once a second.
  void Resume(const std::shared_ptr<Replica>& replica);

 private:
  void Run(const std::shared_ptr<Replica>& replica);
  Status ApplyTasks(const std::shared_ptr<Replica>& replica, const std::vector<ApplyTask>& tasks);
  Status ApplyFromLog(const std::shared_ptr<Replica>& replica, const ApplyTask& task);
  Status ApplyBlocks(const std::shared_ptr<Replica>& replica,
                     const std::vector<std::pair<LogIndex, std::string_view>>& blocks,
                     const std::vector<PlacedProposal>& proposals);
  Status Restore(const std::shared_ptr<Replica>& replica, const ApplyTask& task);

  Executor* const executor_;
  const LogStore* const log_;
  const Report report_;
};

// The session of a proposal, as an entry's context.
std::string EncodeSession(const WriteSession& session);

}  // namespace vectron::consensus
