#include "gateway/rest/testing/fake_gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "common/check.h"
#include "common/json_object.h"
#include "common/validation.h"

namespace vectron::gateway::rest {
namespace {

float Score(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 0, bb = 0, distance = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
    distance += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  if (metric == Metric::kL2) return static_cast<float>(std::sqrt(distance));
  if (metric == Metric::kDot) return static_cast<float>(dot);
  return aa == 0 || bb == 0 ? 0 : static_cast<float>(dot / std::sqrt(aa * bb));
}

}  // namespace

FakeGateway::FakeGateway() : pool_({.name = "fake", .thread_count = 1}) {}

FakeGateway::~FakeGateway() { Release(); }

template <typename T, typename Make>
void FakeGateway::Answer(Callback<T> done, Make make) {
  StatusOr<T> result = Internal("no answer");
  {
    MutexLock lock(mutex_);
    result = failure_.ok() ? make() : StatusOr<T>(failure_);
  }
  auto shared =
      std::make_shared<std::pair<Callback<T>, StatusOr<T>>>(std::move(done), std::move(result));
  VECTRON_CHECK(pool_.TrySubmit([this, shared] {
    {
      MutexLock lock(mutex_);
      while (held_) released_.Wait(mutex_);
    }
    shared->first(std::move(shared->second));
  }));
}

void FakeGateway::FailWith(Status status) {
  MutexLock lock(mutex_);
  failure_ = std::move(status);
}

void FakeGateway::ShowInGets(SessionToken token) {
  MutexLock lock(mutex_);
  shown_in_gets_ = std::move(token);
}

void FakeGateway::ReportWrites(WriteReport report) {
  MutexLock lock(mutex_);
  write_report_ = std::move(report);
}

void FakeGateway::Hold() {
  MutexLock lock(mutex_);
  held_ = true;
}

void FakeGateway::Release() {
  MutexLock lock(mutex_);
  held_ = false;
  released_.NotifyAll();
}

RequestOptions FakeGateway::last_options() {
  MutexLock lock(mutex_);
  return last_options_;
}

std::vector<SearchQuery> FakeGateway::last_queries() {
  MutexLock lock(mutex_);
  return last_queries_;
}

SessionToken FakeGateway::Token() const {
  return {.seen = {{kFirstShardId, LogIndex(write_count_)}}};
}

StatusOr<FakeGateway::Collection*> FakeGateway::Find(const std::string& name) {
  const auto it = collections_.find(name);
  if (it != collections_.end()) return &it->second;
  return MakeError(Reason::kCollectionNotFound, fmt::format("there is no collection '{}'", name));
}

void FakeGateway::CreateCollection(CollectionConfig config, Deadline,
                                   Callback<rpc::CollectionInfo> done) {
  Answer<rpc::CollectionInfo>(std::move(done), [&]() -> StatusOr<rpc::CollectionInfo> {
    VECTRON_RETURN_IF_ERROR(ValidateCollectionConfig(config));
    if (collections_.contains(config.name)) {
      return MakeError(Reason::kCollectionExists,
                       fmt::format("collection '{}' exists", config.name));
    }
    Collection& created = collections_[config.name];
    if (config.shard_count == 0) config.shard_count = 1;
    created.info.shards.resize(config.shard_count);
    created.info.config = config;
    return created.info;
  });
}

void FakeGateway::DropCollection(std::string name, Deadline, Callback<bool> done) {
  Answer<bool>(std::move(done), [&]() -> StatusOr<bool> { return collections_.erase(name) > 0; });
}

void FakeGateway::ListCollections(Deadline, Callback<std::vector<rpc::CollectionInfo>> done) {
  using Infos = std::vector<rpc::CollectionInfo>;
  Answer<Infos>(std::move(done), [&]() -> StatusOr<Infos> {
    Infos infos;
    for (const auto& [name, collection] : collections_) infos.push_back(collection.info);
    return infos;
  });
}

void FakeGateway::GetCollection(std::string name, Deadline, Callback<CollectionReport> done) {
  Answer<CollectionReport>(std::move(done), [&]() -> StatusOr<CollectionReport> {
    VECTRON_ASSIGN_OR_RETURN(const Collection* collection, Find(name));
    CollectionReport report;
    report.info = collection->info;
    report.stats.point_count = collection->points.size();
    report.stats.linked_count = collection->points.size();
    return report;
  });
}

void FakeGateway::FindCollection(std::string name, Deadline, Callback<rpc::CollectionInfo> done) {
  Answer<rpc::CollectionInfo>(std::move(done), [&]() -> StatusOr<rpc::CollectionInfo> {
    VECTRON_ASSIGN_OR_RETURN(const Collection* collection, Find(name));
    return collection->info;
  });
}

StatusOr<uint64_t> FakeGateway::Apply(Collection* collection, const WriteOp& op) {
  auto& points = collection->points;
  const auto change_payloads = [&](const std::vector<PointId>& ids, auto change) -> Status {
    for (const PointId& id : ids) {
      if (points.contains(id)) continue;
      return MakeError(Reason::kPointNotFound, fmt::format("there is no point {}", id.ToString()));
    }
    for (const PointId& id : ids) {
      VECTRON_ASSIGN_OR_RETURN(points[id].payload, change(points[id].payload));
    }
    return OkStatus();
  };
  if (const auto* upsert = std::get_if<UpsertPoints>(&op)) {
    for (const Point& point : upsert->points) {
      points[point.id] = point;
      collection->versions[point.id] = write_count_;
    }
    return upsert->points.size();
  }
  if (const auto* remove = std::get_if<DeletePoints>(&op)) {
    uint64_t count = 0;
    for (const PointId& id : remove->ids) count += points.erase(id);
    return count;
  }
  if (const auto* set = std::get_if<SetPayload>(&op)) {
    VECTRON_RETURN_IF_ERROR(change_payloads(set->ids, [&](const std::string& payload) {
      return MergeJsonObjects(payload, set->payload);
    }));
    return set->ids.size();
  }
  if (const auto* overwrite = std::get_if<OverwritePayload>(&op)) {
    VECTRON_RETURN_IF_ERROR(change_payloads(
        overwrite->ids,
        [&](const std::string&) -> StatusOr<std::string> { return overwrite->payload; }));
    return overwrite->ids.size();
  }
  if (const auto* keys = std::get_if<DeletePayloadKeys>(&op)) {
    VECTRON_RETURN_IF_ERROR(change_payloads(keys->ids, [&](const std::string& payload) {
      return RemoveJsonKeys(payload, keys->keys);
    }));
    return keys->ids.size();
  }
  const auto& clear = std::get<ClearPayload>(op);
  VECTRON_RETURN_IF_ERROR(change_payloads(
      clear.ids, [](const std::string&) -> StatusOr<std::string> { return std::string(); }));
  return clear.ids.size();
}

void FakeGateway::Write(std::string collection, WriteOp op, RequestOptions options,
                        Callback<WriteReport> done) {
  Answer<WriteReport>(std::move(done), [&]() -> StatusOr<WriteReport> {
    last_options_ = options;
    VECTRON_ASSIGN_OR_RETURN(Collection * found, Find(collection));
    VECTRON_RETURN_IF_ERROR(ValidateWrite(found->info.config, op, Limits{}));
    if (write_report_.has_value()) return *write_report_;
    ++write_count_;
    WriteReport report;
    VECTRON_ASSIGN_OR_RETURN(report.changed_count, Apply(found, op));
    report.token = Token();
    return report;
  });
}

Record FakeGateway::MakeRecord(const Collection& collection, const Point& point,
                               const Select& select) {
  Record record{.id = point.id, .version = collection.versions.at(point.id)};
  if (select.payload) record.payload = point.payload;
  if (!select.vectors) return record;
  for (const NamedVector& vector : point.vectors) {
    const auto& names = select.vector_names;
    if (names.empty() || std::find(names.begin(), names.end(), vector.name) != names.end()) {
      record.vectors.push_back(vector);
    }
  }
  return record;
}

StatusOr<std::vector<ScoredRecord>> FakeGateway::SearchOne(const Collection& collection,
                                                           const SearchQuery& query,
                                                           const Select& select) {
  VECTRON_RETURN_IF_ERROR(ValidateSearch(collection.info.config, query, Limits{}));
  VECTRON_ASSIGN_OR_RETURN(const VectorConfig* config,
                           FindVectorConfig(collection.info.config, query.vector_name));
  std::vector<ScoredRecord> hits;
  for (const auto& [id, point] : collection.points) {
    for (const NamedVector& vector : point.vectors) {
      if (vector.name != query.vector_name) continue;
      const float score = Score(config->metric, query.vector, vector.values);
      if (query.score_threshold.has_value() &&
          IsBetterScore(config->metric, *query.score_threshold, score)) {
        continue;
      }
      hits.push_back({MakeRecord(collection, point, select), score});
    }
  }
  std::stable_sort(hits.begin(), hits.end(), [&](const auto& a, const auto& b) {
    return IsBetterScore(config->metric, a.score, b.score);
  });
  if (hits.size() > query.k) hits.resize(query.k);
  return hits;
}

void FakeGateway::Search(std::string collection, std::vector<SearchQuery> queries, Select select,
                         RequestOptions options, Callback<SearchReport> done) {
  Answer<SearchReport>(std::move(done), [&]() -> StatusOr<SearchReport> {
    last_options_ = options;
    last_queries_ = queries;
    VECTRON_ASSIGN_OR_RETURN(const Collection* found, Find(collection));
    SearchReport report;
    for (const SearchQuery& query : queries) {
      VECTRON_ASSIGN_OR_RETURN(report.results.emplace_back(), SearchOne(*found, query, select));
    }
    if (options.allow_partial) report.missing_shards.push_back(ShardId(99));
    report.token = Token();
    return report;
  });
}

void FakeGateway::Get(std::string collection, std::vector<PointId> ids, Select select,
                      RequestOptions options, Callback<RecordsReport> done) {
  Answer<RecordsReport>(std::move(done), [&]() -> StatusOr<RecordsReport> {
    last_options_ = options;
    VECTRON_ASSIGN_OR_RETURN(const Collection* found, Find(collection));
    RecordsReport report;
    for (const PointId& id : ids) {
      const auto it = found->points.find(id);
      if (it != found->points.end()) {
        report.records.push_back(MakeRecord(*found, it->second, select));
      }
    }
    report.token = Token();
    for (const auto& seen : shown_in_gets_.seen) report.token.seen.push_back(seen);
    return report;
  });
}

void FakeGateway::Scroll(std::string collection, ScrollQuery query, Select select,
                         RequestOptions options, Callback<RecordsReport> done) {
  Answer<RecordsReport>(std::move(done), [&]() -> StatusOr<RecordsReport> {
    last_options_ = options;
    VECTRON_ASSIGN_OR_RETURN(const Collection* found, Find(collection));
    VECTRON_RETURN_IF_ERROR(ValidateScroll(query, Limits{}));
    RecordsReport report;
    auto it =
        query.from.has_value() ? found->points.lower_bound(*query.from) : found->points.begin();
    for (; it != found->points.end(); ++it) {
      if (report.records.size() == query.limit) {
        report.next = it->first;
        break;
      }
      report.records.push_back(MakeRecord(*found, it->second, select));
    }
    return report;
  });
}

void FakeGateway::Count(std::string collection, RequestOptions options, Callback<uint64_t> done) {
  Answer<uint64_t>(std::move(done), [&]() -> StatusOr<uint64_t> {
    last_options_ = options;
    VECTRON_ASSIGN_OR_RETURN(const Collection* found, Find(collection));
    return found->points.size();
  });
}

void FakeGateway::ClusterStatus(Deadline, Callback<rpc::ClusterStatus> done) {
  Answer<rpc::ClusterStatus>(std::move(done), []() -> StatusOr<rpc::ClusterStatus> {
    return rpc::ClusterStatus{.cluster_id = "fake"};
  });
}

}  // namespace vectron::gateway::rest
