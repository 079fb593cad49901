#include "worker/cluster_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "common/atomic_file.h"
#include "common/logging.h"

namespace vectron::worker {
namespace {

constexpr std::string_view kMagic = "VTRNWRKR";
constexpr uint32_t kFormat = 1;
constexpr std::string_view kIdentityFile = "/identity";

constexpr std::chrono::seconds kCallTimeout{5};
constexpr std::chrono::seconds kWatchTimeout{30};
constexpr std::chrono::milliseconds kRetryMin{20};
constexpr std::chrono::milliseconds kRetryMax{1000};
// Looking at all replicas costs something: without news it is done less often.
constexpr std::chrono::milliseconds kQuietPoll{200};

}  // namespace

ClusterLink::ClusterLink(Options options, const Environment& environment)
    : options_(std::move(options)),
      environment_(environment),
      registered_(MakeError(Reason::kUnavailable, "the worker is not registered yet")) {}

// The file holds "<node> <cluster id>".
Status ClusterLink::LoadIdentity() {
  const std::string path = options_.dir + std::string(kIdentityFile);
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> file, ReadWholeFile(path));
  if (!file.has_value()) return OkStatus();
  VECTRON_ASSIGN_OR_RETURN(const std::string_view text,
                           UnwrapChecked(kMagic, kFormat, *file, path));
  uint64_t node = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), node);
  if (error != std::errc() || end == text.data() + text.size() || *end != ' ') {
    return Corruption(fmt::format("{} is malformed", path));
  }
  if (NodeId(node) != options_.node) {
    return InvalidArgument(fmt::format("{} belongs to node {}, this process is node {}",
                                       options_.dir, node, options_.node.value()));
  }
  cluster_id_ = std::string(end + 1, text.data() + text.size());
  return OkStatus();
}

Status ClusterLink::SaveIdentity(const std::string& cluster_id) {
  return WriteFileAtomically(
      options_.dir + std::string(kIdentityFile),
      WrapWithChecksum(kMagic, kFormat, fmt::format("{} {}", options_.node.value(), cluster_id)));
}

void ClusterLink::Later(Duration delay, void (ClusterLink::*step)()) {
  environment_.timers->RunAfter(delay, [weak = weak_from_this(), step] {
    const std::shared_ptr<ClusterLink> self = weak.lock();
    if (self != nullptr && !self->stopped_) ((*self).*step)();
  });
}

void ClusterLink::Start() {
  Later(Duration::zero(), &ClusterLink::Register);
  Later(Duration::zero(), &ClusterLink::Poll);
}

void ClusterLink::Register() {
  rpc::RegisterRequest request;
  request.node = options_.node;
  request.cluster_id = cluster_id_;
  request.internal_address = options_.internal_address;
  request.labels = options_.labels;
  environment_.placement->Register(
      std::move(request), environment_.clock->Now() + kCallTimeout,
      [weak = weak_from_this()](const StatusOr<rpc::RegisterResponse>& response) {
        const std::shared_ptr<ClusterLink> self = weak.lock();
        if (self == nullptr) return;
        self->environment_.timers->RunAfter(Duration::zero(), [self, response] {
          if (!self->stopped_) self->OnRegistered(response);
        });
      });
}

void ClusterLink::OnRegistered(const StatusOr<rpc::RegisterResponse>& response) {
  Status status = response.status();
  if (response.ok() && response->node != options_.node) {
    status = Internal(fmt::format("registered as node {}, this is node {}", response->node.value(),
                                  options_.node.value()));
  }
  // Remembered before the first map is followed: a map of another cluster must never
  // make this worker destroy what it has.
  if (status.ok() && cluster_id_.empty()) status = SaveIdentity(response->cluster_id);
  const Status before = Registered();
  {
    MutexLock lock(mutex_);
    registered_ = status;
  }
  if (!status.ok()) {
    if (status != before) VECTRON_LOG_WARN("worker: registering: {}", status.ToString());
    retry_delay_ = std::clamp(2 * retry_delay_, kRetryMin, kRetryMax);
    return Later(retry_delay_, &ClusterLink::Register);
  }
  retry_delay_ = {};
  cluster_id_ = response->cluster_id;
  // Again, after placement forgot us: the map is being watched already.
  if (environment_.lifecycle->map_version() == 0) FetchMap();
}

Status ClusterLink::Registered() const {
  MutexLock lock(mutex_);
  return registered_;
}

// The first map is read linearizably: one from a placement that lags behind might lack
// shards that are here, and they would be destroyed.
void ClusterLink::FetchMap() {
  environment_.placement->GetMap(
      environment_.clock->Now() + kCallTimeout,
      [weak = weak_from_this()](const StatusOr<rpc::ClusterMapPtr>& map) {
        const std::shared_ptr<ClusterLink> self = weak.lock();
        if (self == nullptr) return;
        self->environment_.timers->RunAfter(Duration::zero(), [self, map] {
          if (self->stopped_) return;
          if (self->TakeMap(map)) return self->WatchMap();
          self->Later(kRetryMin, &ClusterLink::FetchMap);
        });
      });
}

void ClusterLink::WatchMap() {
  environment_.placement->WatchMap(
      environment_.lifecycle->map_version(), environment_.clock->Now() + kWatchTimeout,
      [weak = weak_from_this()](const StatusOr<rpc::ClusterMapPtr>& map) {
        const std::shared_ptr<ClusterLink> self = weak.lock();
        if (self == nullptr) return;
        self->environment_.timers->RunAfter(Duration::zero(), [self, map] {
          if (self->stopped_) return;
          // An answer without news is one at the deadline; an error may come at once.
          const Duration delay = self->TakeMap(map) || map.ok() ? Duration::zero() : kRetryMax / 4;
          self->Later(delay, &ClusterLink::WatchMap);
        });
      });
}

bool ClusterLink::TakeMap(const StatusOr<rpc::ClusterMapPtr>& map) {
  if (!map.ok()) {
    VECTRON_LOG_DEBUG("worker: the cluster map: {}", map.status().ToString());
    return false;
  }
  if ((*map)->cluster_id != cluster_id_) {
    VECTRON_LOG_ERROR("worker: got the map of cluster {}, this is cluster {}", (*map)->cluster_id,
                      cluster_id_);
    return false;
  }
  if ((*map)->version <= environment_.lifecycle->map_version()) return false;
  environment_.lifecycle->Apply(*map);
  return true;
}

void ClusterLink::Poll() {
  std::map<ShardId, Seen> seen;
  bool all_led = true;
  for (const HostedShardPtr& hosted : environment_.table->All()) {
    const auto status = environment_.host->GetStatus(hosted->group());
    Seen& now = seen[hosted->info.id];
    if (status.ok()) now = {status->is_leader, status->term};
    all_led &= status.ok() && status->leader.has_value();
  }
  const bool has_news =
      seen != reported_ || environment_.lifecycle->map_version() != reported_map_version_;
  const bool is_due = environment_.clock->Now() >= next_heartbeat_;
  if (Registered().ok() && (has_news || is_due) && !heartbeat_under_way_.exchange(true)) {
    SendHeartbeat(std::move(seen));
  }
  const ShardLifecycle::Counts counts = environment_.lifecycle->Count();
  const bool is_quiet = all_led && !has_news && counts.opening == 0 && counts.destroying == 0;
  Later(is_quiet ? std::max(options_.poll, kQuietPoll) : options_.poll, &ClusterLink::Poll);
}

void ClusterLink::SendHeartbeat(std::map<ShardId, Seen> seen) {
  rpc::HeartbeatRequest request;
  request.node = options_.node;
  // Read before the table: shards that this map lacks have left it.
  request.map_version = environment_.lifecycle->map_version();
  for (const HostedShardPtr& hosted : environment_.table->All()) {
    const auto known = seen.find(hosted->info.id);
    if (known == seen.end()) continue;  // came meanwhile: with the next one
    request.replicas.push_back({hosted->info.id, hosted->replica, known->second.is_leader,
                                known->second.term, hosted->shard->Stats()});
  }
  for (const ShardLifecycle::Failure& failure : environment_.lifecycle->Failures()) {
    rpc::ReplicaReport& report = request.replicas.emplace_back();
    report.shard = failure.shard;
    report.replica = failure.replica;
    report.failure = std::string(failure.why.message());
  }
  reported_ = std::move(seen);
  reported_map_version_ = request.map_version;
  next_heartbeat_ = environment_.clock->Now() + options_.heartbeat;
  environment_.placement->Heartbeat(std::move(request),
                                    [weak = weak_from_this()](const auto& response) {
                                      if (const auto self = weak.lock())
                                        self->OnHeartbeat(response.status());
                                    });
}

void ClusterLink::OnHeartbeat(const Status& status) {
  environment_.timers->RunAfter(Duration::zero(), [self = shared_from_this(), status] {
    self->heartbeat_under_way_ = false;
    if (status.ok() || self->stopped_) return;
    VECTRON_LOG_DEBUG("worker: heartbeat: {}", status.ToString());
    // What it told is not known: the next one repeats it soon.
    self->reported_map_version_ = 0;
    if (ReasonOf(status) == Reason::kInvalidArgument) self->Register();
  });
}

}  // namespace vectron::worker
