#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "common/answer.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/timer_queue.h"
#include "consensus/host.h"
#include "placement/catalog.h"
#include "placement/catalog_machine.h"

namespace vectron::placement {

// Reads and changes the catalogue through its group, trying again until the deadline
// while the group has no leader or an outcome is unknown: a change carries a write
// session, so it happens once however often it is proposed. Thread-safe. What is under
// way when it is dropped answers SHUTTING_DOWN.
class GroupClient : public std::enable_shared_from_this<GroupClient> {
 public:
  struct Environment {
    const Clock* clock = nullptr;
    consensus::Host* host = nullptr;
    TimerQueue* timers = nullptr;
    std::shared_ptr<CatalogMachine> machine;
    NodeId self;
  };

  // `session`: random, of this process.
  GroupClient(const Environment& environment, uint64_t session);

  // The catalogue with every change answered before the call, once the cluster is
  // initialised. UNAVAILABLE (at the deadline).
  void Read(Deadline deadline, Callback<CatalogPtr> done);

  // Errors: those of ApplyCommand; NOT_LEADER with hint, OVERLOADED, DISK_FULL,
  // UNAVAILABLE (nothing was done); OUTCOME_UNKNOWN.
  void Change(const Command& command, Deadline deadline, Callback<CommandResult> done);

  // What waits for its next attempt answers SHUTTING_DOWN, as does all that comes.
  void Stop() { stopped_ = true; }

 private:
  struct ReadCall;
  struct ChangeCall;

  void TryRead(const std::shared_ptr<ReadCall>& call);
  void TryChange(const std::shared_ptr<ChangeCall>& call);
  void OnProposed(const std::shared_ptr<ChangeCall>& call,
                  const StatusOr<consensus::Applied>& applied);
  // True if the group may answer otherwise soon.
  bool IsTransient(const Status& status) const;
  void Finish(const std::shared_ptr<ChangeCall>& call, StatusOr<CommandResult> result);

  const Environment environment_;
  const uint64_t session_;
  std::atomic<bool> stopped_{false};
  Mutex mutex_;
  uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 1;
  std::set<uint64_t> outstanding_ ABSL_GUARDED_BY(mutex_);  // sequences
};

}  // namespace vectron::placement
