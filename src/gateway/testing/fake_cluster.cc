#include "gateway/testing/fake_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vectron::gateway {
namespace {

const NamedVector* FindVector(const Point& point, std::string_view name) {
  for (const NamedVector& vector : point.vectors) {
    if (vector.name == name) return &vector;
  }
  return nullptr;
}

float Score(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  float square = 0, dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    square += (a[i] - b[i]) * (a[i] - b[i]);
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  if (metric == Metric::kL2) return std::sqrt(square);
  return metric == Metric::kDot ? dot : dot / std::sqrt(aa * bb);
}

Record Choose(const Point& point, uint64_t version, const Select& select) {
  Record record{.id = point.id, .version = version};
  if (select.payload) record.payload = point.payload;
  for (const NamedVector& vector : point.vectors) {
    const auto& names = select.vector_names;
    const bool named =
        names.empty() || std::find(names.begin(), names.end(), vector.name) != names.end();
    if (select.vectors && named) record.vectors.push_back(vector);
  }
  return record;
}

}  // namespace

class FakeCluster::Worker final : public rpc::WorkerApi {
 public:
  Worker(FakeCluster* cluster, NodeId node) : cluster_(*cluster), node_(node) {}

  void Write(rpc::WriteRequest request, Callback<WriteResult> done) override {
    {
      MutexLock lock(cluster_.mutex_);
      if (cluster_.writes_held_) {
        auto shared = std::make_shared<Callback<WriteResult>>(std::move(done));
        cluster_.held_writes_.push_back(
            [this, request, shared] { WriteNow(request, std::move(*shared)); });
        return;
      }
    }
    WriteNow(std::move(request), std::move(done));
  }

  void Search(rpc::SearchRequest request, Callback<rpc::SearchResponse> done) override {
    Read<rpc::SearchResponse>(
        request, std::move(done),
        [&](const CollectionConfig& config, const State& state, auto* response) {
          ++cluster_.search_count_;
          for (const SearchQuery& query : request.queries) {
            response->results.push_back(Nearest(config, state, query, request.select));
          }
        });
  }

  void Get(rpc::GetRequest request, Callback<rpc::GetResponse> done) override {
    Read<rpc::GetResponse>(request, std::move(done),
                           [&](const auto&, const State& state, auto* response) {
                             for (const PointId& id : request.ids) {
                               const auto it = state.points.find(id);
                               if (it == state.points.end()) continue;
                               response->records.push_back(
                                   Choose(it->second.first, it->second.second, request.select));
                             }
                           });
  }

  void Scroll(rpc::ScrollRequest request, Callback<rpc::ScrollResponse> done) override {
    Read<rpc::ScrollResponse>(
        request, std::move(done), [&](const auto&, const State& state, auto* response) {
          ++cluster_.scroll_count_;
          auto it = request.query.from.has_value() ? state.points.lower_bound(*request.query.from)
                                                   : state.points.begin();
          for (; it != state.points.end(); ++it) {
            if (response->page.records.size() == request.query.limit) {
              response->page.next = it->first;
              break;
            }
            response->page.records.push_back(
                Choose(it->second.first, it->second.second, request.select));
          }
        });
  }

  void Count(rpc::CountRequest request, Callback<rpc::CountResponse> done) override {
    Read<rpc::CountResponse>(request, std::move(done),
                             [&](const auto&, const State& state, auto* response) {
                               response->stats.point_count = state.points.size();
                             });
  }

 private:
  void WriteNow(rpc::WriteRequest request, Callback<WriteResult> done) {
    StatusOr<WriteResult> result;
    std::function<void()> then;
    {
      MutexLock lock(cluster_.mutex_);
      cluster_.writes_.push_back(request);
      Status status;
      Shard* shard = cluster_.Find(node_, request.route, true, &status);
      if (shard == nullptr) {
        result = status;
      } else if (shard->faults.empty()) {
        result = cluster_.Apply(request, shard);
      } else {
        Fault fault = std::move(shard->faults.front());
        shard->faults.pop_front();
        if (fault.after_applying) (void)cluster_.Apply(request, shard);
        result = fault.status;
        then = std::move(fault.then);
      }
    }
    if (then) then();
    done(std::move(result));
  }

  template <typename Response, typename Request, typename Fill>
  void Read(const Request& request, Callback<Response> done, Fill fill) {
    Response response;
    std::function<void(NodeId)> before;
    Status status;
    {
      MutexLock lock(cluster_.mutex_);
      cluster_.reads_.emplace_back(node_, request.read);
      Shard* shard = cluster_.Find(node_, request.route, false, &status);
      if (shard != nullptr && !shard->faults.empty()) {
        status = shard->faults.front().status;
        shard->faults.pop_front();
      } else if (shard != nullptr) {
        response.read_index = LogIndex(cluster_.Reach(node_, request.read, shard).index);
        before = std::exchange(shard->before_read, nullptr);
      }
    }
    if (!status.ok()) return done(status);
    if (before) before(node_);
    std::function<void()> after;
    {
      MutexLock lock(cluster_.mutex_);
      if (Shard* shard = cluster_.Find(node_, request.route, false, &status); shard != nullptr) {
        const State& state = cluster_.Reach(node_, request.read, shard);
        response.seen_index = LogIndex(state.index);
        fill(shard->config, state, &response);
        after = std::exchange(shard->after_read, nullptr);
      }
    }
    if (!status.ok()) return done(status);
    if (after) after();
    done(std::move(response));
  }

  static std::vector<ScoredRecord> Nearest(const CollectionConfig& config, const State& state,
                                           const SearchQuery& query, const Select& select) {
    Metric metric = Metric::kL2;
    for (const VectorConfig& vector : config.vectors) {
      if (vector.name == query.vector_name) metric = vector.metric;
    }
    std::vector<ScoredRecord> hits;
    for (const auto& [id, stored] : state.points) {
      const NamedVector* vector = FindVector(stored.first, query.vector_name);
      hits.push_back({Choose(stored.first, stored.second, select),
                      Score(metric, query.vector, vector->values)});
    }
    std::stable_sort(hits.begin(), hits.end(), [&](const auto& a, const auto& b) {
      return IsBetterScore(metric, a.score, b.score);
    });
    hits.resize(std::min<size_t>(hits.size(), query.k));
    return hits;
  }

  FakeCluster& cluster_;
  const NodeId node_;
};

FakeCluster::FakeCluster(int node_count) {
  auto map = std::make_shared<rpc::ClusterMap>();
  map->version = 1;
  map->cluster_id = "fake";
  for (int i = 1; i <= node_count; ++i) {
    map->workers.push_back({.node = NodeId(static_cast<uint64_t>(i))});
    workers_.push_back(std::make_unique<Worker>(this, NodeId(static_cast<uint64_t>(i))));
  }
  map_ = std::move(map);
}

FakeCluster::~FakeCluster() {
  std::vector<Callback<rpc::ClusterMapPtr>> watchers;
  {
    MutexLock lock(mutex_);
    watchers.swap(watchers_);
  }
  for (auto& watcher : watchers) watcher(MakeError(Reason::kShuttingDown, "stopped"));
}

GatewayOptions FakeCluster::OptionsFor(const Clock& clock) {
  return {.placement = this,
          .clock = &clock,
          .metrics = &metrics,
          .find_worker = [this](NodeId node) -> rpc::WorkerApi* {
            const uint64_t i = node.value();
            return i >= 1 && i <= workers_.size() ? workers_[i - 1].get() : nullptr;
          },
          .seed = 7};
}

std::unique_ptr<Gateway> FakeCluster::MakeGatewayOver(const Clock& clock) {
  return MakeGateway(OptionsFor(clock));
}

void FakeCluster::Inject(ShardId shard, Fault fault, int times) {
  MutexLock lock(mutex_);
  for (int i = 0; i < times; ++i) shards_.at(shard).faults.push_back(fault);
}

void FakeCluster::AfterRead(ShardId shard, std::function<void()> then) {
  MutexLock lock(mutex_);
  shards_.at(shard).after_read = std::move(then);
}

void FakeCluster::BeforeRead(ShardId shard, std::function<void(NodeId)> then) {
  MutexLock lock(mutex_);
  shards_.at(shard).before_read = std::move(then);
}

void FakeCluster::HoldReplicasBut(ShardId id, NodeId node) {
  MutexLock lock(mutex_);
  Shard& shard = shards_.at(id);
  for (const rpc::ShardReplica& replica : shard.info.replicas) {
    if (replica.node != node) shard.held[replica.node] = shard.state;
  }
}

void FakeCluster::SetLeader(ShardId shard, NodeId leader) {
  MutexLock lock(mutex_);
  shards_.at(shard).leader = leader;
}

void FakeCluster::HoldWatchers() {
  MutexLock lock(mutex_);
  watchers_held_ = true;
}

void FakeCluster::ReleaseWatchers() {
  rpc::ClusterMapPtr map;
  std::vector<Callback<rpc::ClusterMapPtr>> watchers;
  {
    MutexLock lock(mutex_);
    watchers_held_ = false;
    map = map_;
    watchers.swap(watchers_);
  }
  for (auto& watcher : watchers) watcher(map);
}

void FakeCluster::HoldWrites() {
  MutexLock lock(mutex_);
  writes_held_ = true;
}

void FakeCluster::ReleaseWrites() {
  std::vector<std::function<void()>> held;
  {
    MutexLock lock(mutex_);
    writes_held_ = false;
    held.swap(held_writes_);
  }
  for (const auto& write : held) write();
}

size_t FakeCluster::held_write_count() {
  MutexLock lock(mutex_);
  return held_writes_.size();
}

void FakeCluster::Publish(rpc::ClusterMap map) {
  bool held = false;
  {
    MutexLock lock(mutex_);
    ++map.version;
    map_ = std::make_shared<const rpc::ClusterMap>(std::move(map));
    held = watchers_held_;
  }
  if (!held) ReleaseWatchers();
}

void FakeCluster::Split(const std::string& collection, ShardId id) {
  rpc::ClusterMap map;
  {
    MutexLock lock(mutex_);
    map = *map_;
    auto& infos = map.collections.at(collection).shards;
    const auto it =
        std::find_if(infos.begin(), infos.end(), [&](const auto& info) { return info.id == id; });
    Shard& left = shards_.at(id);
    const uint64_t middle = it->range.first + (it->range.last - it->range.first) / 2;
    rpc::ShardInfo right_info = *it;
    right_info.id = ShardId(next_id_++);
    right_info.range.first = middle + 1;
    it->range.last = middle;
    ++it->epoch.version;
    right_info.epoch = it->epoch;
    Shard right = left;
    right.info = right_info;
    left.info = *it;
    std::erase_if(left.state.points, [&](const auto& p) { return p.first.RingHash() > middle; });
    std::erase_if(right.state.points, [&](const auto& p) { return p.first.RingHash() <= middle; });
    infos.insert(it + 1, right_info);
    shards_.emplace(right_info.id, std::move(right));
  }
  Publish(std::move(map));
}

rpc::CollectionInfo FakeCluster::Info(const std::string& collection) {
  MutexLock lock(mutex_);
  return map_->collections.at(collection);
}

std::vector<rpc::WriteRequest> FakeCluster::Writes() {
  MutexLock lock(mutex_);
  return writes_;
}

std::vector<std::pair<NodeId, rpc::ReadOptions>> FakeCluster::Reads() {
  MutexLock lock(mutex_);
  return reads_;
}

std::vector<PointId> FakeCluster::IdsOn(ShardId shard) {
  MutexLock lock(mutex_);
  std::vector<PointId> ids;
  for (const auto& [id, stored] : shards_.at(shard).state.points) ids.push_back(id);
  return ids;
}

int FakeCluster::get_map_count() {
  MutexLock lock(mutex_);
  return get_map_count_;
}

int FakeCluster::search_count() { return search_count_; }

int FakeCluster::scroll_count() { return scroll_count_; }

void FakeCluster::CreateCollection(CollectionConfig config, Deadline,
                                   Callback<rpc::CollectionInfo> done) {
  rpc::ClusterMap map;
  rpc::CollectionInfo info;
  bool exists = false;
  {
    MutexLock lock(mutex_);
    map = *map_;
    exists = map.collections.contains(config.name);
    if (!exists) {
      if (config.shard_count == 0) config.shard_count = static_cast<uint32_t>(workers_.size());
      info.id = CollectionId(next_id_++);
      info.config = config;
      for (const HashRange& range : SplitHashSpace(config.shard_count)) {
        rpc::ShardInfo shard{.id = ShardId(next_id_++), .collection = info.id, .range = range};
        shard.epoch = {1, 1};
        for (uint32_t i = 0; i < config.replication_factor; ++i) {
          const uint64_t node = (shard.id.value() + i) % workers_.size() + 1;
          shard.replicas.push_back({ReplicaId(i + 1), NodeId(node)});
        }
        info.shards.push_back(shard);
        shards_[shard.id] = {
            .info = shard, .config = config, .leader = shard.replicas.front().node};
      }
      map.collections[config.name] = info;
    }
  }
  if (exists) {
    return done(
        MakeError(Reason::kCollectionExists, fmt::format("collection '{}' exists", config.name)));
  }
  Publish(std::move(map));
  done(std::move(info));
}

void FakeCluster::DropCollection(std::string name, Deadline, Callback<bool> done) {
  rpc::ClusterMap map;
  bool existed = false;
  {
    MutexLock lock(mutex_);
    map = *map_;
    const auto it = map.collections.find(name);
    if (it != map.collections.end()) {
      existed = true;
      for (const rpc::ShardInfo& shard : it->second.shards) shards_.erase(shard.id);
      map.collections.erase(it);
    }
  }
  if (existed) Publish(std::move(map));
  done(existed);
}

void FakeCluster::GetMap(Deadline, Callback<rpc::ClusterMapPtr> done) {
  rpc::ClusterMapPtr map;
  {
    MutexLock lock(mutex_);
    ++get_map_count_;
    map = map_;
  }
  done(map);
}

void FakeCluster::WatchMap(uint64_t known_version, Deadline, Callback<rpc::ClusterMapPtr> done) {
  rpc::ClusterMapPtr map;
  {
    MutexLock lock(mutex_);
    if (map_->version <= known_version || watchers_held_) {
      watchers_.push_back(std::move(done));
      return;
    }
    map = map_;
  }
  done(map);
}

void FakeCluster::Register(rpc::RegisterRequest, Deadline, Callback<rpc::RegisterResponse> done) {
  done(MakeError(Reason::kUnsupported, "workers of this cluster do not register"));
}

void FakeCluster::Heartbeat(rpc::HeartbeatRequest, Callback<rpc::HeartbeatResponse> done) {
  done(MakeError(Reason::kUnsupported, "workers of this cluster have no heartbeat"));
}

void FakeCluster::GetStatus(Deadline, Callback<rpc::ClusterStatus> done) {
  rpc::ClusterStatus status;
  {
    MutexLock lock(mutex_);
    status.cluster_id = map_->cluster_id;
    status.map_version = map_->version;
    status.placement_leader = NodeId(1);
    for (const rpc::WorkerInfo& info : map_->workers) {
      status.workers.push_back({.info = info, .alive = true, .last_heartbeat_ms_ago = 5});
    }
  }
  done(std::move(status));
}

FakeCluster::Shard* FakeCluster::Find(NodeId node, const rpc::ShardRoute& route, bool is_write,
                                      Status* status) {
  const auto it = shards_.find(route.shard);
  const auto hosts = [&](const rpc::ShardReplica& replica) { return replica.node == node; };
  if (it == shards_.end() ||
      std::none_of(it->second.info.replicas.begin(), it->second.info.replicas.end(), hosts)) {
    *status = MakeError(Reason::kShardNotFound, "no such shard here");
    return nullptr;
  }
  if (it->second.info.epoch != route.epoch) {
    *status = MakeError(Reason::kStaleEpoch, "the shard has another epoch");
    return nullptr;
  }
  if (is_write && it->second.leader != node) {
    *status = NotLeader(GroupOf(route.shard), it->second.leader);
    return nullptr;
  }
  return &it->second;
}

const FakeCluster::State& FakeCluster::Reach(NodeId node, const rpc::ReadOptions& read,
                                             Shard* shard) {
  const auto held = shard->held.find(node);
  if (held == shard->held.end()) return shard->state;
  const bool is_enough = read.consistency == Consistency::kSession
                             ? LogIndex(held->second.index) >= read.min_index
                             : read.consistency == Consistency::kEventual;
  if (is_enough) return held->second;
  shard->held.erase(held);
  return shard->state;
}

StatusOr<WriteResult> FakeCluster::Apply(const rpc::WriteRequest& request, Shard* shard) {
  const std::pair<uint64_t, uint64_t> key(request.session.session, request.session.sequence);
  if (const auto it = shard->applied.find(key); it != shard->applied.end()) return it->second;
  WriteResult result{.index = LogIndex(++shard->state.index)};
  Status status = OkStatus();
  if (const auto* upsert = std::get_if<UpsertPoints>(&request.op)) {
    for (const Point& point : upsert->points) {
      shard->state.points[point.id] = {point, result.index.value()};
      ++result.changed_count;
    }
  } else if (const auto* remove = std::get_if<DeletePoints>(&request.op)) {
    for (const PointId& id : remove->ids) result.changed_count += shard->state.points.erase(id);
  } else if (const auto* overwrite = std::get_if<vectron::OverwritePayload>(&request.op)) {
    for (const PointId& id : overwrite->ids) {
      if (!shard->state.points.contains(id)) {
        status = MakeError(Reason::kPointNotFound, fmt::format("no point {}", id.ToString()));
      }
    }
    for (const PointId& id : overwrite->ids) {
      if (!status.ok()) break;
      shard->state.points.at(id).first.payload = overwrite->payload;
      ++result.changed_count;
    }
  } else {
    status = MakeError(Reason::kUnsupported, "not an operation of this cluster");
  }
  const StatusOr<WriteResult> answer = status.ok() ? StatusOr<WriteResult>(result) : status;
  shard->applied.emplace(key, answer);
  return answer;
}

}  // namespace vectron::gateway
