#include "placement/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "common/check.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/timer_queue.h"
#include "placement/catalog_machine.h"
#include "placement/group_client.h"
#include "placement/liveness.h"
#include "placement/map_watchers.h"
#include "placement/pending_changes.h"
#include "placement/scheduler.h"

namespace vectron::placement {
namespace {

constexpr std::chrono::milliseconds kStartPeriod{10};  // until the cluster is initialised
constexpr std::chrono::milliseconds kDutyPeriod{250};
constexpr std::chrono::seconds kInitTimeout{5};

constexpr size_t kLabelCountMax = 64;
constexpr size_t kLabelBytesMax = 255;
constexpr size_t kAddressBytesMax = 300;

Status ValidateRegistration(const rpc::RegisterRequest& request) {
  if (request.internal_address.size() > kAddressBytesMax) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("a worker's address has {} bytes, the "
                                 "limit is {}",
                                 request.internal_address.size(), kAddressBytesMax));
  }
  if (request.labels.size() > kLabelCountMax) {
    return MakeError(Reason::kLimitExceeded, fmt::format("a worker has {} labels, the limit is {}",
                                                         request.labels.size(), kLabelCountMax));
  }
  StringSet keys;
  for (const auto& [key, value] : request.labels) {
    if (key.empty()) return InvalidArgument("a label's key must not be empty");
    if (key.size() > kLabelBytesMax || value.size() > kLabelBytesMax) {
      return MakeError(
          Reason::kLimitExceeded,
          fmt::format("a label's key or value has more than {} bytes", kLabelBytesMax));
    }
    if (!keys.insert(key).second) {
      return InvalidArgument(fmt::format("label '{}' appears twice", key));
    }
  }
  return OkStatus();
}

std::string MakeClusterId(Random* random) {
  return fmt::format("{:016x}{:016x}", random->Next(), random->Next());
}

// Shown by /metrics.
struct Gauges {
  prometheus::Gauge& is_leader;
  prometheus::Gauge& map_version;
  prometheus::Gauge& collections;
  prometheus::Gauge& workers;
  prometheus::Gauge& workers_alive;
  prometheus::Gauge& watchers;
};

Gauges MakeGauges(MetricsRegistry* registry) {
  const auto gauge = [&](const char* name, const char* help) -> prometheus::Gauge& {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
  };
  return {gauge("vectron_placement_leader", "1 where this process leads the placement group"),
          gauge("vectron_placement_map_version", "Version of the cluster map known here"),
          gauge("vectron_placement_collections", "Collections in the catalogue"),
          gauge("vectron_placement_workers", "Workers in the catalogue"),
          gauge("vectron_placement_workers_alive", "Workers heard of lately; 0 on followers"),
          gauge("vectron_placement_map_watchers", "Callers that wait for a newer map")};
}

// The implementation. Callbacks hold it by shared_ptr: an answer of the host that comes
// late finds it.
class Driver : public std::enable_shared_from_this<Driver> {
 public:
  Driver(const PlacementOptions& options, const PlacementEnvironment& environment);

  Status Start();
  void Stop(bool with_checkpoint);

  void CreateCollection(CollectionConfig config, Deadline deadline,
                        Callback<rpc::CollectionInfo> done);
  void DropCollection(std::string name, Deadline deadline, Callback<bool> done);
  void GetMap(Deadline deadline, Callback<rpc::ClusterMapPtr> done);
  void WatchMap(uint64_t known_version, Deadline deadline, Callback<rpc::ClusterMapPtr> done);
  void Register(rpc::RegisterRequest request, Deadline deadline,
                Callback<rpc::RegisterResponse> done);
  void Heartbeat(const rpc::HeartbeatRequest& request, Callback<rpc::HeartbeatResponse> done);
  void GetStatus(Deadline deadline, Callback<rpc::ClusterStatus> done);

 private:
  struct CreateCall {
    CollectionConfig config;
    Deadline deadline;
    Answer<rpc::CollectionInfo> answer;
  };

  TimePoint Now() const { return environment_.clock->Now(); }
  Command Timed(decltype(Command::body) body) const {
    return {environment_.clock->WallTimeMs(), std::move(body)};
  }

  // Duties: leadership, the cluster's birth, what waits, gauges.
  void ScheduleDuties(Duration delay);
  void RunDuties();
  // Notices a new leadership. OK if this process leads, else NOT_LEADER.
  Status CheckLeader();
  void InitialiseCluster();
  void OnReady();
  void AnswerPending();
  void UpdateGauges(bool is_leader);

  Status RefuseIfBusy();
  void Plan(const std::shared_ptr<CreateCall>& call, const CatalogPtr& catalog);
  StatusOr<std::vector<std::vector<NodeId>>> ChooseWorkers(const CollectionConfig& config,
                                                           const Catalog& catalog);
  void OnCreated(const std::shared_ptr<CreateCall>& call, const StatusOr<CommandResult>& result);
  rpc::ClusterStatus MakeStatus(const Catalog& catalog);

  const PlacementOptions options_;
  const PlacementEnvironment environment_;
  const Gauges gauges_;
  std::string cluster_id_;  // in case there is no cluster yet
  NodeId self_node_;

  std::shared_ptr<CatalogMachine> machine_;
  std::shared_ptr<GroupClient> client_;
  std::atomic<bool> ready_{false};  // has read the initialised catalogue once
  std::atomic<bool> initialising_{false};
  std::atomic<bool> stopped_{false};

  Mutex leadership_mutex_;  // of CheckLeader; before mutex_
  Mutex mutex_;
  Liveness liveness_ ABSL_GUARDED_BY(mutex_);
  PendingChanges pending_ ABSL_GUARDED_BY(mutex_);
  std::optional<Term> leader_term_ ABSL_GUARDED_BY(mutex_);  // of the leadership known

  TimerQueue timers_;
  std::shared_ptr<MapWatchers> watchers_;
};

Driver::Driver(const PlacementOptions& options, const PlacementEnvironment& environment)
    : options_(options),
      environment_(environment),
      gauges_(MakeGauges(environment.metrics)),
      liveness_(options.worker_alive_timeout),
      timers_("placement", *environment.clock),
      watchers_(std::make_shared<MapWatchers>(&timers_, options.watcher_count_max)) {}

Status Driver::Start() {
  for (const consensus::Member& member : options_.members) {
    if (member.replica == options_.self) self_node_ = member.node;
  }
  Random random(options_.seed);
  cluster_id_ = MakeClusterId(&random);
  CatalogMachine::Options machine_options;
  machine_options.dir = options_.dir;
  machine_options.on_map = [weak = weak_from_this()](const rpc::ClusterMapPtr& map) {
    const std::shared_ptr<Driver> self = weak.lock();
    if (self == nullptr) return;
    // What is replayed at a start is older than what watchers have seen.
    if (self->ready_) self->watchers_->Publish(map);
    self->AnswerPending();
  };
  std::error_code error;
  if (environment_.host->HasLog(kPlacementGroup) && !std::filesystem::exists(options_.dir, error) &&
      !error) {
    // Made before the group, and never deleted.
    return Corruption(
        fmt::format("{} is missing, but the raft log is of the catalogue in it", options_.dir));
  }
  VECTRON_ASSIGN_OR_RETURN(machine_, CatalogMachine::Open(std::move(machine_options)));
  client_ =
      std::make_shared<GroupClient>(GroupClient::Environment{environment_.clock, environment_.host,
                                                             &timers_, machine_, self_node_},
                                    random.Next() | 1);
  // A checkpoint that is missing shows when the log begins after what is there.
  VECTRON_RETURN_IF_ERROR(Annotate(
      environment_.host->StartGroup({kPlacementGroup, options_.self, options_.members}, machine_),
      options_.dir));
  ScheduleDuties(Duration::zero());
  client_->Read(kNoDeadline, [weak = weak_from_this()](const StatusOr<CatalogPtr>& catalog) {
    const std::shared_ptr<Driver> self = weak.lock();
    if (self != nullptr && catalog.ok()) self->OnReady();
  });
  return OkStatus();
}

void Driver::Stop(bool with_checkpoint) {
  if (stopped_.exchange(true)) return;
  if (client_ != nullptr) client_->Stop();
  timers_.Stop();
  watchers_->Close();
  PendingChanges dropped;  // answers as it is destroyed, without the lock
  {
    MutexLock lock(mutex_);
    std::swap(dropped, pending_);
  }
  if (client_ == nullptr) return;
  const Status stopped = environment_.host->StopGroup(kPlacementGroup);
  if (!stopped.ok()) VECTRON_LOG_WARN("placement: stopping its group: {}", stopped.ToString());
  if (!with_checkpoint) return;
  const Status saved = machine_->WriteCheckpoint();
  if (!saved.ok()) VECTRON_LOG_WARN("placement: {}", saved.ToString());
}

void Driver::ScheduleDuties(Duration delay) {
  timers_.RunAfter(delay, [weak = weak_from_this()] {
    const std::shared_ptr<Driver> self = weak.lock();
    if (self != nullptr) self->RunDuties();
  });
}

void Driver::RunDuties() {
  const bool is_leader = CheckLeader().ok();
  if (is_leader && machine_->Current()->cluster_id.empty()) InitialiseCluster();
  AnswerPending();
  UpdateGauges(is_leader);
  ScheduleDuties(ready_ ? kDutyPeriod : kStartPeriod);
}

// Called by several threads: one at a time, so that a look at the group which is older
// than another's is not taken for news (the liveness of all workers would be forgotten).
Status Driver::CheckLeader() {
  MutexLock in_order(leadership_mutex_);
  const StatusOr<consensus::GroupStatus> group = environment_.host->GetStatus(kPlacementGroup);
  if (!group.ok()) return group.status();
  MutexLock lock(mutex_);
  if (!group->is_leader) {
    leader_term_.reset();
    if (!group->leader.has_value()) return NotLeader(kPlacementGroup, std::nullopt);
    return NotLeader(kPlacementGroup, group->leader->node);
  }
  if (leader_term_ != group->term) {
    leader_term_ = group->term;
    liveness_.Reset(Now());
  }
  return OkStatus();
}

void Driver::InitialiseCluster() {
  if (initialising_.exchange(true)) return;
  uint64_t reserved = 0;
  for (const consensus::Member& member : options_.members) {
    reserved = std::max(reserved, member.node.value());
  }
  client_->Change(Timed(InitCluster{cluster_id_, reserved}), Now() + kInitTimeout,
                  [self = shared_from_this()](const StatusOr<CommandResult>& result) {
                    self->initialising_ = false;  // tried again if that failed
                    if (!result.ok()) {
                      VECTRON_LOG_WARN("placement: initialising the cluster: {}",
                                       result.status().ToString());
                    }
                  });
}

void Driver::OnReady() {
  ready_ = true;
  const rpc::ClusterMapPtr map = machine_->Map();
  watchers_->Publish(map);
  VECTRON_LOG_INFO("placement: cluster {}, map version {}, {} collections", map->cluster_id,
                   map->version, map->collections.size());
}

void Driver::AnswerPending() {
  const CatalogPtr catalog = machine_->Current();
  PendingChanges::Answers answers;
  {
    MutexLock lock(mutex_);
    if (pending_.size() > 0) answers = pending_.Collect(*catalog, liveness_, Now());
  }
  for (const std::function<void()>& answer : answers) answer();
}

void Driver::UpdateGauges(bool is_leader) {
  const CatalogPtr catalog = machine_->Current();
  gauges_.is_leader.Set(is_leader ? 1 : 0);
  gauges_.map_version.Set(static_cast<double>(catalog->map_version));
  gauges_.collections.Set(static_cast<double>(catalog->collections.size()));
  gauges_.workers.Set(static_cast<double>(catalog->workers.size()));
  gauges_.watchers.Set(static_cast<double>(watchers_->count()));
  MutexLock lock(mutex_);
  size_t alive = 0;
  for (const auto& [node, worker] : catalog->workers) {
    if (is_leader && liveness_.IsAlive(node, Now())) ++alive;
  }
  gauges_.workers_alive.Set(static_cast<double>(alive));
}

Status Driver::RefuseIfBusy() {
  if (stopped_) return MakeError(Reason::kShuttingDown, "placement is shutting down");
  MutexLock lock(mutex_);
  if (pending_.size() < options_.change_count_max) return OkStatus();
  return MakeError(
      Reason::kOverloaded,
      fmt::format("{} creations and drops of collections are under way", pending_.size()),
      {{"retry_after_ms", "1000"}});
}

void Driver::CreateCollection(CollectionConfig config, Deadline deadline,
                              Callback<rpc::CollectionInfo> done) {
  Status status = ValidateCollectionConfig(config);
  if (status.ok()) status = RefuseIfBusy();
  if (!status.ok()) return done(std::move(status));
  auto call = std::make_shared<CreateCall>(
      CreateCall{std::move(config), deadline, Answer(std::move(done))});
  client_->Read(deadline, [self = shared_from_this(), call](const StatusOr<CatalogPtr>& catalog) {
    if (!catalog.ok()) return call->answer(catalog.status());
    self->Plan(call, *catalog);
  });
}

void Driver::Plan(const std::shared_ptr<CreateCall>& call, const CatalogPtr& catalog) {
  const auto existing = catalog->collections.find(call->config.name);
  if (existing != catalog->collections.end()) {
    return call->answer(CollectionExists(call->config, existing->second.config));
  }
  StatusOr<std::vector<std::vector<NodeId>>> placements = ChooseWorkers(call->config, *catalog);
  if (!placements.ok()) return call->answer(placements.status());
  auto body = vectron::placement::CreateCollection{call->config, *std::move(placements)};
  client_->Change(Timed(std::move(body)), call->deadline,
                  [self = shared_from_this(), call](const StatusOr<CommandResult>& result) {
                    self->OnCreated(call, result);
                  });
}

StatusOr<std::vector<std::vector<NodeId>>> Driver::ChooseWorkers(const CollectionConfig& config,
                                                                 const Catalog& catalog) {
  VECTRON_RETURN_IF_ERROR(CheckLeader());  // only the leader knows who is alive
  if (catalog.collections.size() >= options_.collection_count_max) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("the cluster has {} collections, which is the limit",
                                 catalog.collections.size()));
  }
  std::vector<Candidate> candidates = CandidatesOf(catalog);
  {
    MutexLock lock(mutex_);
    for (Candidate& candidate : candidates) {
      candidate.alive = liveness_.IsAlive(candidate.node, Now());
    }
  }
  return PlanCollection(config, std::move(candidates), {options_.replicas_per_worker_max});
}

void Driver::OnCreated(const std::shared_ptr<CreateCall>& call,
                       const StatusOr<CommandResult>& result) {
  if (ReasonOf(result.status()) == Reason::kStaleEpoch && Now() < call->deadline) {
    // A chosen worker left meanwhile.
    return CreateCollection(call->config, call->deadline,
                            [call](auto info) { call->answer(std::move(info)); });
  }
  if (!result.ok()) return call->answer(result.status());
  {
    MutexLock lock(mutex_);
    pending_.AddCreation(call->config.name, CollectionId(result->id), call->deadline,
                         [call](auto info) { call->answer(std::move(info)); });
  }
  timers_.RunAt(call->deadline, [self = shared_from_this()] { self->AnswerPending(); });
  AnswerPending();
}

void Driver::DropCollection(std::string name, Deadline deadline, Callback<bool> done) {
  Status status = ValidateCollectionName(name);
  if (status.ok()) status = RefuseIfBusy();
  if (!status.ok()) return done(std::move(status));
  auto answer = std::make_shared<Answer<bool>>(std::move(done));
  const auto self = shared_from_this();
  const auto wait = [self, answer, deadline](const StatusOr<CommandResult>& result) {
    if (!result.ok()) return (*answer)(result.status());
    if (result->id == 0) return (*answer)(false);
    const Deadline until = std::min(deadline, self->Now() + self->options_.drop_wait_max);
    std::vector<NodeId> nodes;
    const CatalogPtr catalog = self->machine_->Current();
    for (const auto& [node, worker] : catalog->workers) nodes.push_back(node);
    {
      MutexLock lock(self->mutex_);
      self->pending_.AddDrop(std::move(nodes), result->map_version, until,
                             [answer](auto dropped) { (*answer)(std::move(dropped)); });
    }
    self->timers_.RunAt(until, [self] { self->AnswerPending(); });
    self->AnswerPending();
  };
  client_->Read(deadline, [self, answer, name = std::move(name), deadline,
                           wait](const StatusOr<CatalogPtr>& catalog) {
    if (!catalog.ok()) return (*answer)(catalog.status());
    if (!(*catalog)->collections.contains(name)) return (*answer)(false);
    self->client_->Change(self->Timed(vectron::placement::DropCollection{name}), deadline, wait);
  });
}

void Driver::GetMap(Deadline deadline, Callback<rpc::ClusterMapPtr> done) {
  client_->Read(deadline, [self = shared_from_this(), answer = Answer(std::move(done))](
                              const StatusOr<CatalogPtr>& catalog) mutable {
    if (!catalog.ok()) return answer(catalog.status());
    answer(self->machine_->Map());  // as new as the catalogue, or newer
  });
}

void Driver::WatchMap(uint64_t known_version, Deadline deadline,
                      Callback<rpc::ClusterMapPtr> done) {
  watchers_->Watch(known_version, deadline, std::move(done));
}

void Driver::Register(rpc::RegisterRequest request, Deadline deadline,
                      Callback<rpc::RegisterResponse> done) {
  const Status status = ValidateRegistration(request);
  if (!status.ok()) return done(status);
  auto answer = std::make_shared<Answer<rpc::RegisterResponse>>(std::move(done));
  const auto self = shared_from_this();
  client_->Read(deadline, [self, answer, request = std::move(request),
                           deadline](const StatusOr<CatalogPtr>& catalog) {
    if (!catalog.ok()) return (*answer)(catalog.status());
    const RegisterWorker body{request.node, request.cluster_id, request.internal_address,
                              request.labels};
    self->client_->Change(
        self->Timed(body), deadline, [self, answer](const StatusOr<CommandResult>& result) {
          if (!result.ok()) return (*answer)(result.status());
          const NodeId node(result->id);
          if (self->CheckLeader().ok()) {
            MutexLock lock(self->mutex_);
            self->liveness_.OnRegister(node, self->Now());
          }
          (*answer)(rpc::RegisterResponse{node, self->machine_->Current()->cluster_id});
        });
  });
}

void Driver::Heartbeat(const rpc::HeartbeatRequest& request,
                       Callback<rpc::HeartbeatResponse> done) {
  if (stopped_) return done(MakeError(Reason::kShuttingDown, "placement is shutting down"));
  const Status leader = CheckLeader();
  if (!leader.ok()) return done(leader);
  const CatalogPtr catalog = machine_->Current();
  if (!catalog->workers.contains(request.node)) {
    if (!ready_) {
      return done(MakeError(Reason::kUnavailable, "placement has not caught up with its group"));
    }
    return done(InvalidArgument(
        fmt::format("node {} is not registered as a worker", request.node.value())));
  }
  {
    MutexLock lock(mutex_);
    liveness_.OnHeartbeat(request, Now());
  }
  AnswerPending();
  done(rpc::HeartbeatResponse{catalog->map_version});
}

void Driver::GetStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) {
  client_->Read(deadline, [self = shared_from_this(), answer = Answer(std::move(done))](
                              const StatusOr<CatalogPtr>& catalog) mutable {
    if (!catalog.ok()) return answer(catalog.status());
    const Status leader = self->CheckLeader();
    if (!leader.ok()) return answer(leader);
    answer(self->MakeStatus(**catalog));
  });
}

rpc::ClusterStatus Driver::MakeStatus(const Catalog& catalog) {
  rpc::ClusterStatus status;
  status.cluster_id = catalog.cluster_id;
  status.map_version = catalog.map_version;
  status.placement_leader = self_node_;
  const TimePoint now = Now();
  MutexLock lock(mutex_);
  for (const auto& [node, info] : catalog.workers) {
    rpc::ClusterStatus::Worker worker;
    worker.info = info;
    worker.alive = liveness_.IsAlive(node, now);
    if (const auto heard = liveness_.LastHeard(node)) {
      worker.last_heartbeat_ms_ago =
          std::chrono::duration_cast<std::chrono::milliseconds>(now - *heard).count();
    }
    worker.replicas = liveness_.Replicas(node);
    status.workers.push_back(std::move(worker));
  }
  return status;
}

// Owns the driver, and ends it.
class PlacementImpl final : public Placement {
 public:
  explicit PlacementImpl(std::shared_ptr<Driver> driver) : driver_(std::move(driver)) {}
  ~PlacementImpl() override { driver_->Stop(/*with_checkpoint=*/false); }

  void Stop() override { driver_->Stop(/*with_checkpoint=*/true); }

  void CreateCollection(CollectionConfig config, Deadline deadline,
                        Callback<rpc::CollectionInfo> done) override {
    driver_->CreateCollection(std::move(config), deadline, std::move(done));
  }
  void DropCollection(std::string name, Deadline deadline, Callback<bool> done) override {
    driver_->DropCollection(std::move(name), deadline, std::move(done));
  }
  void GetMap(Deadline deadline, Callback<rpc::ClusterMapPtr> done) override {
    driver_->GetMap(deadline, std::move(done));
  }
  void WatchMap(uint64_t known_version, Deadline deadline,
                Callback<rpc::ClusterMapPtr> done) override {
    driver_->WatchMap(known_version, deadline, std::move(done));
  }
  void Register(rpc::RegisterRequest request, Deadline deadline,
                Callback<rpc::RegisterResponse> done) override {
    driver_->Register(std::move(request), deadline, std::move(done));
  }
  void Heartbeat(rpc::HeartbeatRequest request, Callback<rpc::HeartbeatResponse> done) override {
    driver_->Heartbeat(request, std::move(done));
  }
  void GetStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) override {
    driver_->GetStatus(deadline, std::move(done));
  }

 private:
  const std::shared_ptr<Driver> driver_;
};

}  // namespace

StatusOr<std::unique_ptr<Placement>> Placement::Start(const PlacementOptions& options,
                                                      const PlacementEnvironment& environment) {
  VECTRON_CHECK(environment.clock != nullptr && environment.host != nullptr &&
                environment.metrics != nullptr);
  auto driver = std::make_shared<Driver>(options, environment);
  auto placement = std::make_unique<PlacementImpl>(driver);
  VECTRON_RETURN_IF_ERROR(Annotate(driver->Start(), "placement"));
  return placement;
}

}  // namespace vectron::placement
