#pragma once

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/disk_room.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "consensus/applier.h"
#include "consensus/executor.h"
#include "consensus/host.h"
#include "consensus/log/ballast.h"
#include "consensus/log/log_store.h"
#include "consensus/log/log_writer.h"
#include "consensus/step_worker.h"
#include "consensus/transport.h"
#include "consensus/waiter.h"

namespace vectron::consensus {

enum class HostThreads {
  kOwn,
  // None: everything is done by Poll, on the caller's thread, in an order that
  // follows from the calls and the clock alone. For simulation.
  kNone,
};

// Host (see there): the groups' step workers, the log's writer, the apply pool and
// the callers' way to them.
class HostImpl final : public Host, private TransportReceiver {
 public:
  static StatusOr<std::unique_ptr<HostImpl>> Open(const HostOptions& options,
                                                  const HostEnvironment& environment,
                                                  HostThreads threads);
  ~HostImpl() override;

  bool HasLog(GroupId group) const override { return log_->GetState(group).has_value(); }
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

  // HostThreads::kNone: does some of what is to be done now; false if that is nothing.
  bool Poll();

  const LogStore& log() const { return *log_; }

 private:
  HostImpl(const HostOptions& options, const HostEnvironment& environment,
           std::unique_ptr<LogStore> log, HostThreads threads);

  void OnMessages(NodeId from, std::vector<GroupMessage> messages) override;
  void OnSnapshot(NodeId from, SnapshotTransfer transfer) override;
  void OnPeerLost(NodeId peer) override;

  void StartThreads();
  void RunWorker(StepWorker* worker);
  StepWorker& WorkerOf(GroupId group) const;
  // Null if the group does not run here.
  std::shared_ptr<Replica> Find(GroupId group) const;
  // Why nothing can be asked of the group now; OK if it can.
  Status CheckAvailable(const std::shared_ptr<Replica>& replica) const;
  // Waits until `begin`'s callback was called (without threads: makes it happen).
  void Await(const std::function<void(std::function<void()>)>& begin);
  // Waits until `batch` is in the log.
  Status WriteNow(LogBatch batch);
  // Why nothing can be proposed for this use: DISK_FULL.
  Status CheckRoom(RoomUse use) const;
  void CheckDisk();
  void RegisterMetrics(MetricsRegistry* metrics);
  void UpdateMetrics();

  const HostOptions options_;
  const HostEnvironment environment_;
  const HostThreads mode_;
  LogFileSystem* const file_system_;
  std::unique_ptr<LogStore> log_;
  InflightBytes inflight_;
  std::atomic<bool> stopping_{false};
  DiskRoom room_;
  Ballast running_ballast_;  // for what the log writes
  Ballast start_ballast_;    // for the next start
  std::atomic<int64_t> next_disk_check_ns_{0};

  std::unique_ptr<LogWriter> log_writer_;
  std::unique_ptr<Executor> apply_executor_;
  std::unique_ptr<Executor> background_;
  std::unique_ptr<Applier> applier_;
  std::vector<std::unique_ptr<StepWorker>> workers_;
  std::vector<std::unique_ptr<Thread>> threads_;

  prometheus::Counter* proposals_ = nullptr;
  prometheus::Counter* refused_ = nullptr;
  prometheus::Gauge* inflight_bytes_ = nullptr;
  prometheus::Gauge* groups_gauge_ = nullptr;
  prometheus::Gauge* leaders_gauge_ = nullptr;
  prometheus::Gauge* lag_gauge_ = nullptr;
  prometheus::Gauge* log_bytes_gauge_ = nullptr;
  std::atomic<int64_t> next_metrics_ns_{0};

  mutable Mutex mutex_;
  absl::flat_hash_map<GroupId, std::shared_ptr<Replica>> replicas_ ABSL_GUARDED_BY(mutex_);
  // Held by whoever starts, stops or destroys a group, and by Stop.
  Mutex lifecycle_;
  bool stopped_ ABSL_GUARDED_BY(lifecycle_) = false;
};

}  // namespace vectron::consensus
