#include "gateway/grpc_convert.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "gateway/uuid.h"

namespace vectron::gateway {
namespace {

using google::protobuf::RepeatedField;
using google::protobuf::RepeatedPtrField;

std::vector<float> ToFloats(const RepeatedField<float>& values) {
  return std::vector<float>(values.begin(), values.end());
}

void FillFloats(const std::vector<float>& values, RepeatedField<float>* out) {
  out->Add(values.begin(), values.end());
}

StatusOr<Metric> ToMetric(v1::Metric metric) {
  switch (metric) {
    case v1::METRIC_L2:
      return Metric::kL2;
    case v1::METRIC_COSINE:
      return Metric::kCosine;
    case v1::METRIC_DOT:
      return Metric::kDot;
    case v1::METRIC_UNSPECIFIED:
      return InvalidArgument(
          "metric is missing: METRIC_L2, METRIC_COSINE or METRIC_DOT, as the vectors were made "
          "for");
    default:
      return InvalidArgument(fmt::format("metric {} is not known", static_cast<int>(metric)));
  }
}

v1::Metric FromMetric(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return v1::METRIC_L2;
    case Metric::kCosine:
      return v1::METRIC_COSINE;
    case Metric::kDot:
      return v1::METRIC_DOT;
    case Metric::kManhattan:
      break;  // no collection has it: ValidateServedMetric
  }
  return v1::METRIC_UNSPECIFIED;
}

StatusOr<Quantization> ToQuantization(v1::Quantization quantization) {
  switch (quantization) {
    case v1::QUANTIZATION_UNSPECIFIED:
      return VectorConfig().quantization;
    case v1::QUANTIZATION_NONE:
      return Quantization::kNone;
    case v1::QUANTIZATION_SQ8:
      return Quantization::kSq8;
    default:
      return InvalidArgument(
          fmt::format("quantization {} is not known", static_cast<int>(quantization)));
  }
}

StatusOr<VectorConfig> ToVectorConfig(const v1::VectorConfig& message) {
  VectorConfig config{.name = message.name(), .dimension = message.dimension()};
  VECTRON_ASSIGN_OR_RETURN(config.metric, ToMetric(message.metric()));
  VECTRON_ASSIGN_OR_RETURN(config.quantization, ToQuantization(message.quantization()));
  const v1::HnswConfig& hnsw = message.hnsw();
  if (hnsw.m() != 0) config.hnsw.m = hnsw.m();
  if (hnsw.ef_construction() != 0) config.hnsw.ef_construction = hnsw.ef_construction();
  if (hnsw.ef_search() != 0) config.hnsw.ef_search = hnsw.ef_search();
  return config;
}

void FillVectorConfig(const VectorConfig& config, v1::VectorConfig* out) {
  out->set_name(config.name);
  out->set_dimension(config.dimension);
  out->set_metric(FromMetric(config.metric));
  out->set_quantization(config.quantization == Quantization::kNone ? v1::QUANTIZATION_NONE
                                                                   : v1::QUANTIZATION_SQ8);
  out->mutable_hnsw()->set_m(config.hnsw.m);
  out->mutable_hnsw()->set_ef_construction(config.hnsw.ef_construction);
  out->mutable_hnsw()->set_ef_search(config.hnsw.ef_search);
}

void FillRecord(Record record, v1::Record* out) {
  FillPointId(record.id, out->mutable_id());
  out->set_version(record.version);
  if (!record.payload.empty()) out->set_payload(std::move(record.payload));
  for (NamedVector& vector : record.vectors) {
    if (vector.name.empty()) {
      FillFloats(vector.values, out->mutable_vector());
    } else {
      v1::NamedVector* named = out->add_vectors();
      named->set_name(std::move(vector.name));
      FillFloats(vector.values, named->mutable_values());
    }
  }
}

void FillReplica(const rpc::ReplicaReport& replica, v1::ReplicaStatus* out) {
  out->set_shard_id(replica.shard.value());
  out->set_replica_id(replica.replica.value());
  out->set_is_leader(replica.is_leader);
  out->set_term(replica.term.value());
  out->set_applied_index(replica.stats.applied.value());
  out->set_failure(replica.failure);
  FillStats(replica.stats, out->mutable_stats());
}

}  // namespace

StatusOr<PointId> ToPointId(const v1::PointId& id) {
  switch (id.id_case()) {
    case v1::PointId::kNumber:
      return PointId(id.number());
    case v1::PointId::kText: {
      auto uuid = CanonicalUuid(id.text());
      return PointId(uuid.has_value() ? *std::move(uuid) : id.text());
    }
    case v1::PointId::ID_NOT_SET:
      break;
  }
  return InvalidArgument("the id is missing: it must be a number or a text");
}

StatusOr<PointId> ToScrollFrom(const v1::PointId& id) {
  if (id.id_case() == v1::PointId::kText) return PointId(id.text());
  return ToPointId(id);
}

StatusOr<std::vector<PointId>> ToPointIds(const RepeatedPtrField<v1::PointId>& ids) {
  std::vector<PointId> values;
  values.reserve(static_cast<size_t>(ids.size()));
  for (int i = 0; i < ids.size(); ++i) {
    StatusOr<PointId> id = ToPointId(ids[i]);
    if (!id.ok()) return Annotate(id.status(), fmt::format("point {}", i));
    values.push_back(*std::move(id));
  }
  return values;
}

StatusOr<UpsertPoints> ToUpsertPoints(const RepeatedPtrField<v1::Point>& points) {
  UpsertPoints op;
  op.points.resize(static_cast<size_t>(points.size()));
  for (int i = 0; i < points.size(); ++i) {
    const v1::Point& message = points[i];
    Point& point = op.points[static_cast<size_t>(i)];
    StatusOr<PointId> id = ToPointId(message.id());
    if (!id.ok()) return Annotate(id.status(), fmt::format("point {}", i));
    point.id = *std::move(id);
    point.payload = message.payload();
    point.vectors.reserve(static_cast<size_t>(message.vectors_size()) +
                          (message.vector().empty() ? 0 : 1));
    if (!message.vector().empty()) point.vectors.push_back({"", ToFloats(message.vector())});
    for (const v1::NamedVector& vector : message.vectors()) {
      point.vectors.push_back({vector.name(), ToFloats(vector.values())});
    }
  }
  return op;
}

std::vector<PointId> IdsOf(const RepeatedPtrField<v1::Point>& points) {
  std::vector<PointId> ids;
  ids.reserve(static_cast<size_t>(points.size()));
  for (const v1::Point& point : points) ids.push_back(*ToPointId(point.id()));
  return ids;
}

Select ToSelect(const v1::Select& select) {
  return {.payload = select.payload(),
          .vectors = select.vectors(),
          .vector_names = {select.vector_names().begin(), select.vector_names().end()}};
}

WriteSession ToWriteSession(const v1::WriteSession& session) {
  return {.session = session.session(),
          .sequence = session.sequence(),
          .acked_below = session.acked_below()};
}

Status ReadReadOptions(const v1::ReadOptions& read, RequestOptions* options) {
  switch (read.consistency()) {
    case v1::CONSISTENCY_UNSPECIFIED:
    case v1::CONSISTENCY_LINEARIZABLE:
      options->consistency = Consistency::kLinearizable;
      break;
    case v1::CONSISTENCY_SESSION:
      options->consistency = Consistency::kSession;
      break;
    case v1::CONSISTENCY_EVENTUAL:
      options->consistency = Consistency::kEventual;
      break;
    default:
      return InvalidArgument(
          fmt::format("consistency {} is not known", static_cast<int>(read.consistency())));
  }
  for (const v1::SessionToken::Shard& shard : read.session().shards()) {
    options->session.seen.emplace_back(ShardId(shard.shard_id()), LogIndex(shard.log_index()));
  }
  return OkStatus();
}

std::vector<SearchQuery> ToQueries(const RepeatedPtrField<v1::Query>& queries) {
  std::vector<SearchQuery> values(static_cast<size_t>(queries.size()));
  for (int i = 0; i < queries.size(); ++i) {
    const v1::Query& message = queries[i];
    SearchQuery& query = values[static_cast<size_t>(i)];
    query.vector_name = message.vector_name();
    query.vector = ToFloats(message.vector());
    query.k = message.k();
    query.ef = message.ef();
    query.exact = message.exact();
    if (message.has_score_threshold()) query.score_threshold = message.score_threshold();
  }
  return values;
}

StatusOr<CollectionConfig> ToCollectionConfig(const v1::CollectionConfig& message) {
  CollectionConfig config{.name = message.name(), .shard_count = message.shard_count()};
  if (message.replication_factor() != 0) config.replication_factor = message.replication_factor();
  for (const v1::VectorConfig& vector : message.vectors()) {
    StatusOr<VectorConfig> value = ToVectorConfig(vector);
    if (!value.ok()) return Annotate(value.status(), fmt::format("vector '{}'", vector.name()));
    config.vectors.push_back(*std::move(value));
  }
  return config;
}

void FillPointId(const PointId& id, v1::PointId* out) {
  if (id.is_number()) {
    out->set_number(id.number());
  } else {
    out->set_text(id.text());
  }
}

void FillToken(const SessionToken& token, v1::SessionToken* out) {
  for (const auto& [shard, index] : token.seen) {
    v1::SessionToken::Shard* seen = out->add_shards();
    seen->set_shard_id(shard.value());
    seen->set_log_index(index.value());
  }
}

void FillRecords(std::vector<Record> records, RepeatedPtrField<v1::Record>* out) {
  out->Reserve(static_cast<int>(records.size()));
  for (Record& record : records) FillRecord(std::move(record), out->Add());
}

void FillCollection(const rpc::CollectionInfo& info, v1::Collection* out) {
  out->set_id(info.id.value());
  out->set_created_at_ms(info.created_at_ms);
  v1::CollectionConfig* config = out->mutable_config();
  config->set_name(info.config.name);
  config->set_shard_count(info.config.shard_count);
  config->set_replication_factor(info.config.replication_factor);
  for (const VectorConfig& vector : info.config.vectors) {
    FillVectorConfig(vector, config->add_vectors());
  }
  for (const rpc::ShardInfo& shard : info.shards) {
    v1::Shard* message = out->add_shards();
    message->set_id(shard.id.value());
    message->set_hash_first(shard.range.first);
    message->set_hash_last(shard.range.last);
    message->mutable_epoch()->set_version(shard.epoch.version);
    message->mutable_epoch()->set_conf_version(shard.epoch.conf_version);
    for (const rpc::ShardReplica& replica : shard.replicas) {
      v1::Shard::Replica* peer = message->add_replicas();
      peer->set_replica_id(replica.replica.value());
      peer->set_node_id(replica.node.value());
    }
  }
}

void FillStats(const ShardStats& stats, v1::Stats* out) {
  out->set_point_count(stats.point_count);
  out->set_linked_count(stats.linked_count);
  out->set_pending_count(stats.pending_count);
  out->set_index_bytes(stats.index_bytes);
  out->set_store_bytes(stats.store_bytes);
}

void FillFailedShards(const CollectionReport& report, v1::GetCollectionResponse* out) {
  for (const auto& [shard, status] : report.failed_shards) {
    v1::FailedShard* failed = out->add_failed_shards();
    failed->set_shard_id(shard.value());
    failed->set_reason(std::string(ReasonName(ReasonOf(status))));
    failed->set_message(std::string(status.message()));
  }
}

void FillClusterStatus(const rpc::ClusterStatus& status, v1::ClusterStatusResponse* out) {
  out->set_cluster_id(status.cluster_id);
  out->set_map_version(status.map_version);
  if (status.placement_leader.has_value()) {
    out->set_placement_leader_node_id(status.placement_leader->value());
  }
  for (const rpc::ClusterStatus::Worker& worker : status.workers) {
    v1::WorkerStatus* message = out->add_workers();
    message->set_node_id(worker.info.node.value());
    message->set_internal_address(worker.info.internal_address);
    message->set_state(static_cast<v1::WorkerState>(worker.info.state));
    for (const auto& [key, value] : worker.info.labels) (*message->mutable_labels())[key] = value;
    message->set_alive(worker.alive);
    if (worker.last_heartbeat_ms_ago.has_value()) {
      message->set_last_heartbeat_ms_ago(*worker.last_heartbeat_ms_ago);
    }
    for (const rpc::ReplicaReport& replica : worker.replicas) {
      FillReplica(replica, message->add_replicas());
    }
  }
}

bool IsMixed(const WriteReport& report) {
  return (report.done.empty() ? 0 : 1) + (report.not_done.empty() ? 0 : 1) +
             (report.unknown.empty() ? 0 : 1) >
         1;
}

v1::WriteOutcome ToWriteOutcome(const WriteReport& report, const std::vector<PointId>& ids) {
  // Two bits each, in 8 KiB of trailers that are shared and sent in base64.
  constexpr size_t kCountMax = 16'384;
  absl::flat_hash_map<PointId, v1::WriteOutcome::PointOutcome> outcomes;
  outcomes.reserve(ids.size());
  for (const PointId& id : report.done) {
    outcomes.emplace(id, v1::WriteOutcome::POINT_OUTCOME_DONE);
  }
  for (const PointId& id : report.not_done) {
    outcomes.emplace(id, v1::WriteOutcome::POINT_OUTCOME_NOT_DONE);
  }
  for (const PointId& id : report.unknown) {
    outcomes.emplace(id, v1::WriteOutcome::POINT_OUTCOME_UNKNOWN);
  }
  v1::WriteOutcome message;
  uint64_t counts[4] = {};
  std::string packed((ids.size() + 3) / 4, '\0');
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto it = outcomes.find(ids[i]);
    const int outcome = it == outcomes.end() ? v1::WriteOutcome::POINT_OUTCOME_UNKNOWN : it->second;
    ++counts[outcome];
    packed[i / 4] = static_cast<char>(packed[i / 4] | (outcome << (2 * (i % 4))));
  }
  message.set_done_count(counts[v1::WriteOutcome::POINT_OUTCOME_DONE]);
  message.set_not_done_count(counts[v1::WriteOutcome::POINT_OUTCOME_NOT_DONE]);
  message.set_unknown_count(counts[v1::WriteOutcome::POINT_OUTCOME_UNKNOWN]);
  if (ids.size() <= kCountMax) message.set_outcomes(std::move(packed));
  return message;
}

void FillError(const Status& status, v1::Error* out) {
  out->set_code(status.raw_code());
  out->set_message(status.message().data(), status.message().size());
  out->set_reason(std::string(ReasonName(ReasonOf(status))));
  for (auto& [key, value] : DetailsOf(status)) (*out->mutable_metadata())[key] = value;
}

}  // namespace vectron::gateway
