#include "worker/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/atomic_file.h"
#include "common/check.h"
#include "common/logging.h"
#include "common/thread_pool.h"
#include "common/timer_queue.h"
#include "worker/cluster_link.h"
#include "worker/index_threads.h"
#include "worker/request_handler.h"
#include "worker/request_tracker.h"
#include "worker/scrubber.h"
#include "worker/search_executor.h"
#include "worker/shard_lifecycle.h"
#include "worker/shard_table.h"
#include "worker/worker_metrics.h"
#include "worker/write_gate.h"

namespace vectron::worker {
namespace {

constexpr std::chrono::seconds kDutyPeriod{1};

int OrCores(int count) { return count > 0 ? count : UsableCores(); }

class WorkerImpl final : public Worker {
 public:
  WorkerImpl(const WorkerOptions& options, const WorkerEnvironment& environment);
  ~WorkerImpl() override { Shut(environment_.clock->Now(), ShardLifecycle::StopMode::kAsInACrash); }

  Status Begin();

  Status Ready() const override { return Check(&ShardLifecycle::Ready); }
  Status Settled() const override { return Check(&ShardLifecycle::Settled); }
  void Stop(Deadline deadline) override { Shut(deadline, ShardLifecycle::StopMode::kMakeDurable); }

  void Write(rpc::WriteRequest request, Callback<WriteResult> done) override {
    handler_->Write(std::move(request), std::move(done));
  }
  void Search(rpc::SearchRequest request, Callback<rpc::SearchResponse> done) override {
    handler_->Search(std::move(request), std::move(done));
  }
  void Get(rpc::GetRequest request, Callback<rpc::GetResponse> done) override {
    handler_->Get(std::move(request), std::move(done));
  }
  void Scroll(rpc::ScrollRequest request, Callback<rpc::ScrollResponse> done) override {
    handler_->Scroll(std::move(request), std::move(done));
  }
  void Count(rpc::CountRequest request, Callback<rpc::CountResponse> done) override {
    handler_->Count(request, std::move(done));
  }

 private:
  void Shut(Deadline deadline, ShardLifecycle::StopMode mode);
  // OK if `shards` is, and the groups of those that are there have a leader and are replayed.
  Status Check(Status (ShardLifecycle::*shards)() const) const;
  // Once a second: the disk, the shards' background work, the gauges.
  void RunDuties();
  void ScheduleDuties();

  const WorkerOptions options_;
  const WorkerEnvironment environment_;
  std::atomic<bool> stopped_{false};

  // In the order in which they depend on those before them.
  const std::shared_ptr<storage::SharedResources> resources_;
  ShardTable table_;
  Scrubber scrubber_;
  ThreadPool background_;  // the shards' flushes, checkpoints and scrubs
  WorkerMetrics metrics_;
  const std::shared_ptr<RequestTracker> tracker_ = std::make_shared<RequestTracker>();
  SearchExecutor executor_;
  IndexThreads index_threads_;
  std::unique_ptr<WriteGate> gate_;
  TimerQueue timers_;
  std::shared_ptr<ShardLifecycle> lifecycle_;
  std::shared_ptr<ClusterLink> link_;
  std::shared_ptr<RequestHandler> handler_;
};

storage::SharedResources::Options ResourceOptions(const WorkerOptions& options) {
  storage::SharedResources::Options resources;
  resources.block_cache_bytes = options.block_cache_bytes;
  resources.write_buffer_bytes = options.write_buffer_bytes;
  resources.open_files_max = options.store_open_files_max;
  resources.background_thread_count = std::max(1, UsableCores() / 2);
  return resources;
}

WorkerImpl::WorkerImpl(const WorkerOptions& options, const WorkerEnvironment& environment)
    : options_(options),
      environment_(environment),
      resources_(std::make_shared<storage::SharedResources>(ResourceOptions(options))),
      scrubber_(
          {options.scrub_bytes_per_second_max, options.scrub_first_delay, options.scrub_interval},
          &table_, &background_, environment.clock),
      background_({.name = "shard-work",
                   .thread_count = 2,
                   .queue_count_max = 1 << 16,
                   .priority = ThreadPriority::kBackground}),
      metrics_(environment.metrics),
      executor_({OrCores(options.search_concurrency), options.search_queue_max}),
      index_threads_(&table_, OrCores(options.index_thread_count)),
      timers_("worker", *environment.clock) {
  gate_ = std::make_unique<WriteGate>(
      WriteGate::Options{options.dir, options.disk_reserve_bytes, options.write_delay_max,
                         options.delayed_write_count_max, options.delayed_write_bytes_max},
      &timers_, environment.clock);
  lifecycle_ = std::make_shared<ShardLifecycle>(
      ShardLifecycle::Options{options.node, options.dir, options.lifecycle_thread_count,
                              options.tail_scan_max},
      ShardLifecycle::Environment{environment.host,
                                  &timers_,
                                  &table_,
                                  {environment.clock, resources_, &background_},
                                  [this] { return gate_->CheckRoom(RoomUse::kGrowth); }});
  link_ = std::make_shared<ClusterLink>(
      ClusterLink::Options{options.node, options.dir, options.internal_address, options.labels,
                           options.heartbeat, options.poll},
      ClusterLink::Environment{environment.clock, environment.host, environment.placement, &timers_,
                               &table_, lifecycle_});
  RequestHandler::Environment handler;
  handler.clock = environment.clock;
  handler.host = environment.host;
  handler.table = &table_;
  handler.lifecycle = lifecycle_;
  handler.executor = &executor_;
  handler.gate = gate_.get();
  handler.index_threads = &index_threads_;
  handler.metrics = &metrics_;
  handler.tracker = tracker_;
  handler_ = std::make_shared<RequestHandler>(options.limits, handler);
}

Status WorkerImpl::Begin() {
  VECTRON_RETURN_IF_ERROR(MakeDirectories(options_.dir));
  VECTRON_RETURN_IF_ERROR(link_->LoadIdentity());
  VECTRON_RETURN_IF_ERROR(lifecycle_->Scan());
  gate_->CheckDisk();
  link_->Start();
  ScheduleDuties();
  return OkStatus();
}

Status WorkerImpl::Check(Status (ShardLifecycle::*shards)() const) const {
  if (stopped_) return MakeError(Reason::kShuttingDown, "the worker is shutting down");
  VECTRON_RETURN_IF_ERROR(link_->Registered());
  VECTRON_RETURN_IF_ERROR((lifecycle_.get()->*shards)());
  for (const HostedShardPtr& hosted : table_.All()) {
    VECTRON_ASSIGN_OR_RETURN(const consensus::GroupStatus group,
                             environment_.host->GetStatus(hosted->group()));
    const std::string name = fmt::format("shard {}", hosted->info.id.value());
    VECTRON_RETURN_IF_ERROR(Annotate(group.health, name));
    if (!group.leader.has_value()) {
      return MakeError(Reason::kUnavailable, fmt::format("{} has no leader yet", name));
    }
    if (!hosted->shard->Serveable()) {
      return MakeError(Reason::kUnavailable, fmt::format("{} is being replayed", name));
    }
  }
  return OkStatus();
}

void WorkerImpl::ScheduleDuties() {
  // The timers stop before anything that the duties use.
  timers_.RunAfter(kDutyPeriod, [this] {
    RunDuties();
    ScheduleDuties();
  });
}

void WorkerImpl::RunDuties() {
  gate_->CheckDisk();
  for (const HostedShardPtr& hosted : table_.All()) {
    hosted->shard->Tick();
    const Status damage = hosted->shard->Damage();
    if (!damage.ok()) lifecycle_->Fail(hosted->info.id, damage);
  }
  scrubber_.Tick();
  metrics_.Update(
      {table_, *lifecycle_, executor_, *gate_, scrubber_, *environment_.host, *resources_});
}

void WorkerImpl::Shut(Deadline deadline, ShardLifecycle::StopMode mode) {
  if (stopped_.exchange(true)) return;
  const bool drained = tracker_->CloseAndWait(*environment_.clock, deadline);
  if (!drained && mode == ShardLifecycle::StopMode::kMakeDurable) {
    VECTRON_LOG_WARN("worker: stopping with requests under way");
  }
  link_->Stop();
  timers_.Stop();  // delayed writes answer SHUTTING_DOWN
  index_threads_.Stop();
  lifecycle_->Stop(mode);  // the groups stop: proposals and reads that wait are answered
  executor_.Stop();        // searches that wait run
  // What the last answers still hold; all of them are on their way.
  tracker_->CloseAndWait(*environment_.clock, environment_.clock->Now() + kDutyPeriod);
}

}  // namespace

StatusOr<std::unique_ptr<Worker>> Worker::Start(const WorkerOptions& options,
                                                const WorkerEnvironment& environment) {
  VECTRON_CHECK(options.node != NodeId(0));
  VECTRON_CHECK(environment.clock != nullptr && environment.host != nullptr &&
                environment.placement != nullptr && environment.metrics != nullptr);
  auto worker = std::make_unique<WorkerImpl>(options, environment);
  VECTRON_RETURN_IF_ERROR(Annotate(worker->Begin(), "worker"));
  return worker;
}

}  // namespace vectron::worker
