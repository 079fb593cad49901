#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "consensus/session_table.h"
#include "consensus/state_machine.h"

namespace vectron::testing {

// A small state machine with everything a real one has: exactly-once sessions, a
// durable state that lags behind what is applied, snapshots. Its state is a hash
// over all applied commands, and how often each was applied.
//
// "Durable" is a file that a flush writes, so it outlives the object; without a file
// it is what CloneDurable gives.
class TestMachine : public consensus::StateMachine {
 public:
  // Loads the state in `file`, if there is one; "" for none.
  explicit TestMachine(std::string file = "");

  LogIndex AppliedIndex() const override;
  LogIndex DurableIndex() const override;
  StatusOr<std::vector<consensus::ApplyResult>> Apply(
      std::span<const consensus::CommittedEntry> entries) override;
  // Flushes at once.
  void RequestFlush() override;
  StatusOr<LogIndex> SaveSnapshot(const std::string& dir) override;
  Status RestoreSnapshot(const std::string& dir) override;

  // What a restart finds after a crash: a machine with the durable state.
  std::shared_ptr<TestMachine> CloneDurable() const;

  // Over the commands in the order they were applied.
  uint64_t hash() const;
  uint64_t command_count() const;
  // How often `command` was applied.
  int CountOf(const std::string& command) const;
  int restore_count() const;
  int flush_request_count() const;
  // Keep no commands for CountOf, only the hash.
  void ForgetCommands();
  // From now on Apply fails.
  void FailApply(Status status);

 private:
  struct State {
    LogIndex applied;
    uint64_t hash = 0;
    uint64_t command_count = 0;
    std::map<std::string, int> commands;
    std::map<std::string, std::string> sessions;  // stored form
  };

  void LoadSessions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  consensus::ApplyResult ApplyOne(const consensus::CommittedEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string file_;
  mutable Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
  State durable_ ABSL_GUARDED_BY(mutex_);
  consensus::SessionTable sessions_ ABSL_GUARDED_BY(mutex_);
  bool keep_commands_ ABSL_GUARDED_BY(mutex_) = true;
  int restore_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int flush_request_count_ ABSL_GUARDED_BY(mutex_) = 0;
  Status fail_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::testing
