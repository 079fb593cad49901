#include "consensus/host_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::consensus {
namespace {

constexpr std::chrono::milliseconds kDiskCheck{100};
constexpr std::string_view kRunningBallast = "/ballast-running";
constexpr std::string_view kStartBallast = "/ballast-start";
constexpr std::chrono::seconds kMetricsUpdate{1};
constexpr std::string_view kRetryAfterMs = "50";

Status NoSuchGroup(GroupId group) {
  return MakeError(Reason::kShardNotFound,
                   fmt::format("group {} does not run here", group.value()));
}

Status Stopping() { return MakeError(Reason::kShuttingDown, "the process shuts down"); }

// Snapshots that were on their way when the process ended are of no use.
void RemoveLeftovers(const std::string& dir) {
  std::error_code error;
  std::filesystem::remove_all(dir + "/snapshots", error);
  if (error) VECTRON_LOG_WARN("removing {}/snapshots: {}", dir, error.message());
}

bool IsDue(std::atomic<int64_t>* next_ns, TimePoint now, Duration interval) {
  const int64_t now_ns = now.time_since_epoch().count();
  int64_t next = next_ns->load(std::memory_order_relaxed);
  return now_ns >= next && next_ns->compare_exchange_strong(next, now_ns + interval.count());
}

}  // namespace

StatusOr<std::unique_ptr<Host>> Host::Open(const HostOptions& options,
                                           const HostEnvironment& environment) {
  return HostImpl::Open(options, environment, HostThreads::kOwn);
}

StatusOr<std::unique_ptr<HostImpl>> HostImpl::Open(const HostOptions& options,
                                                   const HostEnvironment& environment,
                                                   HostThreads threads) {
  VECTRON_CHECK(environment.clock != nullptr);
  LogFileSystem* const file_system =
      environment.file_system != nullptr ? environment.file_system : &SystemLogFileSystem();
  LogStore::Options log_options;
  log_options.dir = options.dir;
  log_options.segment_bytes = options.log_segment_bytes;
  VECTRON_RETURN_IF_ERROR(file_system->CreateDir(options.dir));
  // Before anything is written: the start needs room, here and in the state machines.
  for (const std::string_view name : {kStartBallast, kRunningBallast}) {
    Ballast(options.dir + std::string(name), options.disk_reserve_bytes, file_system)
        .ReleaseIfFull();
  }
  const TimePoint begun = environment.clock->Now();
  VECTRON_ASSIGN_OR_RETURN(std::unique_ptr<LogStore> log, LogStore::Open(log_options, file_system));
  VECTRON_LOG_INFO(
      "raft log: {} groups, {} MiB in {} segments, read in {} ms", log->Groups().size(),
      log->disk_bytes() >> 20, log->segment_count(),
      std::chrono::duration_cast<std::chrono::milliseconds>(environment.clock->Now() - begun)
          .count());
  RemoveLeftovers(options.dir);
  std::unique_ptr<HostImpl> host(new HostImpl(options, environment, std::move(log), threads));
  if (environment.transport != nullptr) environment.transport->SetReceiver(host.get());
  host->StartThreads();
  return host;
}

HostImpl::HostImpl(const HostOptions& options, const HostEnvironment& environment,
                   std::unique_ptr<LogStore> log, HostThreads threads)
    : options_(options),
      environment_(environment),
      mode_(threads),
      file_system_(environment.file_system != nullptr ? environment.file_system
                                                      : &SystemLogFileSystem()),
      log_(std::move(log)),
      inflight_(options.inflight_bytes_max),
      room_(options.disk_reserve_bytes, options.dir),
      running_ballast_(options.dir + std::string(kRunningBallast), options.disk_reserve_bytes,
                       file_system_),
      start_ballast_(options.dir + std::string(kStartBallast), options.disk_reserve_bytes,
                     file_system_) {
  VECTRON_CHECK(options.step_thread_count > 0 && options.apply_thread_count > 0);
  const bool own = threads == HostThreads::kOwn;
  RegisterMetrics(environment.metrics);
  log_writer_ =
      std::make_unique<LogWriter>(log_.get(), environment.clock, environment.metrics, own);
  apply_executor_ =
      MakeExecutor("raft-apply", own ? options.apply_thread_count : 0, ThreadPriority::kNormal);
  background_ = MakeExecutor("raft-background", own ? 1 : 0, ThreadPriority::kNormal);
  applier_ =
      std::make_unique<Applier>(apply_executor_.get(), log_.get(), [this](ApplyReport report) {
        std::shared_ptr<Replica> replica = report.replica;
        WorkerOf(replica->group())
            .Post(replica, [report = std::move(report)](Group& group, Round& round) {
              group.OnApplied(report, &round);
            });
      });
  GroupServices services;
  services.options = &options_;
  services.clock = environment_.clock;
  services.transport = environment_.transport;
  services.log = log_.get();
  services.applier = applier_.get();
  services.background = background_.get();
  services.post = [this](std::shared_ptr<Replica> replica,
                         std::function<void(Group&, Round&)> action) {
    StepWorker& worker = WorkerOf(replica->group());
    worker.Post(std::move(replica), std::move(action));
  };
  services.disk_full = [this] { return room_.is_low() || log_writer_->disk_full(); };
  const int workers = own ? options.step_thread_count : 1;
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(
        std::make_unique<StepWorker>(services, log_writer_.get(), environment.metrics));
  }
  CheckDisk();
}

HostImpl::~HostImpl() { Stop(); }

void HostImpl::StartThreads() {
  if (mode_ == HostThreads::kNone) return;
  for (const auto& worker : workers_) {
    threads_.push_back(
        std::make_unique<Thread>("raft-step", ThreadPriority::kRealtime,
                                 [this, worker = worker.get()] { RunWorker(worker); }));
  }
}

void HostImpl::RunWorker(StepWorker* worker) {
  while (!stopping_.load(std::memory_order_acquire)) {
    worker->WaitForWork();
    worker->RunRound();
    CheckDisk();
    UpdateMetrics();
  }
}

bool HostImpl::Poll() {
  VECTRON_CHECK(mode_ == HostThreads::kNone);
  CheckDisk();
  bool worked = false;
  for (const auto& worker : workers_) worked = worker->RunRound() || worked;
  worked = log_writer_->Poll() || worked;
  worked = apply_executor_->RunOne() || worked;
  worked = background_->RunOne() || worked;
  return worked;
}

StepWorker& HostImpl::WorkerOf(GroupId group) const {
  return *workers_[std::hash<GroupId>{}(group) % workers_.size()];
}

std::shared_ptr<Replica> HostImpl::Find(GroupId group) const {
  MutexLock lock(mutex_);
  const auto it = replicas_.find(group);
  return it == replicas_.end() ? nullptr : it->second;
}

void HostImpl::Await(const std::function<void(std::function<void()>)>& begin) {
  // Shared: the callback may outlive this call's stack for a moment.
  struct Latch {
    Mutex mutex;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mutex) = false;
  };
  const auto latch = std::make_shared<Latch>();
  begin([latch] {
    MutexLock lock(latch->mutex);
    latch->done = true;
    latch->changed.NotifyAll();
  });
  if (mode_ == HostThreads::kNone) {
    while (Poll()) {
    }
    return;
  }
  MutexLock lock(latch->mutex);
  while (!latch->done) latch->changed.Wait(latch->mutex);
}

Status HostImpl::StartGroup(const GroupOptions& options, std::shared_ptr<StateMachine> machine) {
  VECTRON_CHECK(machine != nullptr && options.self != ReplicaId());
  MutexLock lifecycle(lifecycle_);
  if (stopped_) return Stopping();
  if (Find(options.group) != nullptr) {
    return InvalidArgument(fmt::format("group {} runs already", options.group.value()));
  }
  auto replica = std::make_shared<Replica>(options.group, options.self, std::move(machine));
  StepWorker& worker = WorkerOf(options.group);
  VECTRON_ASSIGN_OR_RETURN(std::unique_ptr<Group> group,
                           Group::Create(options, replica, worker.services()));
  LogBatch first = group->TakeFirstBatch();
  if (!first.empty()) {
    VECTRON_RETURN_IF_ERROR(Annotate(CheckRoom(RoomUse::kRemoval), "a new group"));
    VECTRON_RETURN_IF_ERROR(WriteNow(std::move(first)));
  }
  {
    MutexLock lock(mutex_);
    replicas_[options.group] = replica;
  }
  worker.Add(std::move(group));
  return OkStatus();
}

Status HostImpl::StopGroup(GroupId group) {
  MutexLock lifecycle(lifecycle_);
  if (stopped_) return Stopping();
  std::shared_ptr<Replica> replica;
  {
    MutexLock lock(mutex_);
    const auto it = replicas_.find(group);
    if (it == replicas_.end()) return NoSuchGroup(group);
    replica = std::move(it->second);
    replicas_.erase(it);
  }
  Await([&](std::function<void()> done) { WorkerOf(group).Remove(replica, std::move(done)); });
  replica->Close(MakeError(Reason::kShuttingDown, "the group stops"));
  if (mode_ == HostThreads::kNone) {
    while (!replica->IsIdle() && Poll()) {
    }
  } else {
    replica->AwaitIdle();
  }
  if (replica->IsIdle()) replica->Release();
  return OkStatus();
}

Status HostImpl::DestroyGroup(GroupId group) {
  const Status stopped = StopGroup(group);
  if (!stopped.ok() && ReasonOf(stopped) != Reason::kShardNotFound) return stopped;
  MutexLock lifecycle(lifecycle_);
  if (stopped_) return Stopping();
  // Of one that ran, the first write may still be on its way.
  if (!stopped.ok() && !log_->GetState(group).has_value()) return stopped;
  LogBatch batch;
  batch.Destroy(group);
  batch.RequireSync();
  return WriteNow(std::move(batch));
}

Status HostImpl::WriteNow(LogBatch batch) {
  const auto result = std::make_shared<Status>();
  Await([&](std::function<void()> done) {
    log_writer_->Submit(std::move(batch), [result, done = std::move(done)](Status status) {
      *result = std::move(status);
      done();
    });
  });
  return *result;
}

Status HostImpl::CheckAvailable(const std::shared_ptr<Replica>& replica) const {
  if (stopping_.load(std::memory_order_acquire)) return Stopping();
  return replica->health();
}

void HostImpl::Propose(GroupId group, Proposal proposal, Deadline deadline,
                       Callback<Applied> done) {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) return done(NoSuchGroup(group));
  const Status available = CheckAvailable(replica);
  if (!available.ok()) return done(available);
  const size_t bytes = proposal.command.size();
  if (bytes > options_.command_bytes_max) {
    return done(
        MakeError(Reason::kLimitExceeded, fmt::format("a write of {} bytes; at most {} are taken",
                                                      bytes, options_.command_bytes_max)));
  }
  if (deadline <= environment_.clock->Now()) {
    return done(MakeError(Reason::kUnavailable, "the deadline is over; nothing was done"));
  }
  if (const Status room = CheckRoom(proposal.room); !room.ok()) {
    if (refused_ != nullptr) refused_->Increment();
    return done(room);
  }
  // What it costs while it waits, besides the command.
  const size_t held = bytes + 256;
  if (!inflight_.TryAcquire(held)) {
    if (refused_ != nullptr) refused_->Increment();
    return done(MakeError(Reason::kOverloaded, "too many writes are on their way",
                          {{"retry_after_ms", std::string(kRetryAfterMs)}}));
  }
  if (proposals_ != nullptr) proposals_->Increment();
  auto waiter = std::make_shared<Waiter<Applied>>(std::move(done), deadline);
  waiter->Hold(&inflight_, held);
  WorkerOf(group).Post(replica, [proposal = std::move(proposal), waiter = std::move(waiter)](
                                    Group& target, Round& round) mutable {
    target.Propose(std::move(proposal), std::move(waiter), &round);
  });
}

void HostImpl::ReadIndex(GroupId group, Deadline deadline, Callback<LogIndex> done) {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) return done(NoSuchGroup(group));
  const Status available = CheckAvailable(replica);
  if (!available.ok()) return done(available);
  if (replica->readable()) return done(replica->applied());
  auto waiter = std::make_shared<Waiter<LogIndex>>(std::move(done), deadline);
  WorkerOf(group).Post(replica, [waiter = std::move(waiter)](Group& target, Round& round) mutable {
    target.ReadIndex(std::move(waiter), &round);
  });
}

std::optional<LogIndex> HostImpl::TryReadIndex(GroupId group) const {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr || !replica->readable()) return std::nullopt;
  return replica->applied();
}

void HostImpl::WaitApplied(GroupId group, LogIndex index, Deadline deadline,
                           Callback<LogIndex> done) {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) return done(NoSuchGroup(group));
  const Status available = CheckAvailable(replica);
  if (!available.ok()) return done(available);
  replica->WaitApplied(index, std::make_shared<Waiter<LogIndex>>(std::move(done), deadline));
}

StatusOr<GroupStatus> HostImpl::GetStatus(GroupId group) const {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) {
    return absl::NotFoundError(fmt::format("group {} does not run here", group.value()));
  }
  return replica->GetStatus();
}

void HostImpl::TransferLeadership(GroupId group, ReplicaId to) {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) return;
  WorkerOf(group).Post(
      replica, [to](Group& target, Round& round) { target.TransferLeadership(to, &round); });
}

void HostImpl::ChangeMembers(GroupId group, std::vector<Member> members, Deadline deadline,
                             Callback<LogIndex> done) {
  const std::shared_ptr<Replica> replica = Find(group);
  if (replica == nullptr) return done(NoSuchGroup(group));
  const Status available = CheckAvailable(replica);
  if (!available.ok()) return done(available);
  auto waiter = std::make_shared<Waiter<LogIndex>>(std::move(done), deadline);
  WorkerOf(group).Post(replica, [members = std::move(members), waiter = std::move(waiter)](
                                    Group& target, Round& round) mutable {
    target.ChangeMembers(std::move(members), std::move(waiter), &round);
  });
}

void HostImpl::OnMessages(NodeId from, std::vector<GroupMessage> messages) {
  for (GroupMessage& message : messages) {
    std::shared_ptr<Replica> replica = Find(message.group);
    if (replica == nullptr) continue;
    const size_t bytes = message.bytes.size();
    WorkerOf(message.group)
        .PostMessage(std::move(replica), from, bytes,
                     [from, bytes = std::move(message.bytes)](Group& group, Round& round) {
                       group.OnMessage(from, bytes, &round);
                     });
  }
}

void HostImpl::OnSnapshot(NodeId from, SnapshotTransfer transfer) {
  std::shared_ptr<Replica> replica = Find(transfer.message.group);
  if (replica == nullptr) {
    std::error_code ignored;
    std::filesystem::remove_all(transfer.dir, ignored);
    return;
  }
  StepWorker& worker = WorkerOf(replica->group());
  worker.Post(std::move(replica),
              [from, transfer = std::move(transfer)](Group& group, Round& round) mutable {
                group.OnSnapshot(from, std::move(transfer), &round);
              });
}

void HostImpl::OnPeerLost(NodeId peer) {
  for (const auto& worker : workers_) worker->PostPeerLost(peer);
}

Status HostImpl::CheckRoom(RoomUse use) const {
  // The log waits for room, and would make a proposal wait with it.
  if (log_writer_->disk_full() && use != RoomUse::kEssential) {
    return MakeError(Reason::kDiskFull, fmt::format("the disk of {} is full", options_.dir));
  }
  return room_.Check(use);
}

void HostImpl::CheckDisk() {
  if (!IsDue(&next_disk_check_ns_, environment_.clock->Now(), kDiskCheck)) return;
  const auto space = file_system_->GetSpace(options_.dir);
  if (!space.ok()) return;  // a disk that does not answer shows in the writes
  const bool changed = room_.Update(space->free_bytes);
  if (log_writer_->disk_full()) {
    running_ballast_.Release();
  } else if (space->free_bytes >= room_.resume_floor_bytes()) {
    running_ballast_.Take();
    start_ballast_.Take();
  }
  if (!changed) return;
  const Status growth = room_.Check(RoomUse::kGrowth);
  if (growth.ok()) {
    VECTRON_LOG_INFO("{}: there is room again, writes are taken", options_.dir);
  } else {
    VECTRON_LOG_ERROR("raft log: {}", std::string(growth.message()));
  }
}

void HostImpl::RegisterMetrics(MetricsRegistry* metrics) {
  if (metrics == nullptr) return;
  const auto counter = [&](const char* name, const char* help) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(*metrics).Add({});
  };
  const auto gauge = [&](const char* name, const char* help) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(*metrics).Add({});
  };
  proposals_ = counter("vectron_raft_proposals_total", "Proposals that were taken");
  refused_ = counter("vectron_raft_proposals_refused_total",
                     "Proposals refused for want of memory or disk");
  inflight_bytes_ = gauge("vectron_raft_inflight_bytes", "Bytes of proposals not yet answered");
  groups_gauge_ = gauge("vectron_raft_groups", "Groups that run in this process");
  leaders_gauge_ = gauge("vectron_raft_leaders", "Groups that this process leads");
  lag_gauge_ = gauge("vectron_raft_apply_lag_entries",
                     "Entries committed and not applied, of the group with most");
  log_bytes_gauge_ = gauge("vectron_log_bytes", "Size of the raft log on disk");
}

void HostImpl::UpdateMetrics() {
  if (groups_gauge_ == nullptr ||
      !IsDue(&next_metrics_ns_, environment_.clock->Now(), kMetricsUpdate)) {
    return;
  }
  std::vector<std::shared_ptr<Replica>> replicas;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, replica] : replicas_) replicas.push_back(replica);
  }
  int leaders = 0;
  uint64_t lag = 0;
  for (const auto& replica : replicas) {
    const GroupStatus status = replica->GetStatus();
    leaders += status.is_leader ? 1 : 0;
    if (status.committed > status.applied) {
      lag = std::max(lag, status.committed.value() - status.applied.value());
    }
  }
  groups_gauge_->Set(static_cast<double>(replicas.size()));
  leaders_gauge_->Set(leaders);
  lag_gauge_->Set(static_cast<double>(lag));
  inflight_bytes_->Set(static_cast<double>(inflight_.Get()));
  log_bytes_gauge_->Set(static_cast<double>(log_->disk_bytes()));
}

void HostImpl::Stop() {
  MutexLock lifecycle(lifecycle_);
  if (stopped_) return;
  stopped_ = true;
  stopping_.store(true, std::memory_order_release);
  if (environment_.transport != nullptr) environment_.transport->SetReceiver(nullptr);
  for (const auto& worker : workers_) worker->Wake();
  for (const auto& thread : threads_) thread->Join();
  for (const auto& worker : workers_) worker->CloseAll(Stopping());
  while (mode_ == HostThreads::kNone && log_writer_->Poll()) {
  }
  log_writer_->Stop();
  log_->Close();
  std::vector<std::shared_ptr<Replica>> replicas;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, replica] : replicas_) replicas.push_back(replica);
  }
  for (const auto& replica : replicas) replica->Close(Stopping());
  while (apply_executor_->RunOne()) {
  }
  apply_executor_->Stop();
  background_->Stop();
}

}  // namespace vectron::consensus
