#include "placement/catalog_codec.h"

#include <fmt/format.h>

#include "common/check.h"
#include "vectron/internal/placement.pb.h"

namespace vectron::placement {
namespace {

namespace pb = ::vectron::internal::placement;

Status Malformed(std::string_view what) {
  return Corruption(fmt::format("the catalogue's {} is malformed", what));
}

std::string Serialize(const google::protobuf::MessageLite& message) {
  std::string bytes;
  VECTRON_CHECK(message.SerializeToString(&bytes));
  return bytes;
}

template <typename Message>
StatusOr<Message> Parse(std::string_view bytes, std::string_view what) {
  Message message;
  if (bytes.size() > INT32_MAX ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Malformed(what);
  }
  return message;
}

void ToProto(const CollectionConfig& config, pb::CollectionSettings* out) {
  out->set_name(config.name);
  for (const VectorConfig& vector : config.vectors) {
    pb::Vector* v = out->add_vectors();
    v->set_name(vector.name);
    v->set_dimension(vector.dimension);
    v->set_metric(static_cast<uint32_t>(vector.metric));
    v->set_quantization(static_cast<uint32_t>(vector.quantization));
    v->set_hnsw_m(vector.hnsw.m);
    v->set_hnsw_ef_construction(vector.hnsw.ef_construction);
    v->set_hnsw_ef_search(vector.hnsw.ef_search);
  }
  out->set_shard_count(config.shard_count);
  out->set_replication_factor(config.replication_factor);
}

StatusOr<CollectionConfig> FromProto(const pb::CollectionSettings& in) {
  CollectionConfig config;
  config.name = in.name();
  for (const pb::Vector& v : in.vectors()) {
    VectorConfig vector;
    vector.name = v.name();
    vector.dimension = v.dimension();
    vector.metric = static_cast<Metric>(v.metric());
    vector.quantization = static_cast<Quantization>(v.quantization());
    // A value of a later version must not be taken for one of ours.
    if (v.metric() < 1 || v.metric() > 3 || v.quantization() < 1 || v.quantization() > 2) {
      return Malformed("metric or quantization");
    }
    vector.hnsw = {v.hnsw_m(), v.hnsw_ef_construction(), v.hnsw_ef_search()};
    config.vectors.push_back(std::move(vector));
  }
  config.shard_count = in.shard_count();
  config.replication_factor = in.replication_factor();
  return config;
}

using Labels = std::vector<std::pair<std::string, std::string>>;
using ProtoLabels = google::protobuf::RepeatedPtrField<pb::Label>;

void ToProto(const Labels& labels, ProtoLabels* out) {
  for (const auto& [key, value] : labels) {
    pb::Label* label = out->Add();
    label->set_key(key);
    label->set_value(value);
  }
}

Labels FromProto(const ProtoLabels& in) {
  Labels labels;
  for (const pb::Label& label : in) labels.emplace_back(label.key(), label.value());
  return labels;
}

void ToProto(const rpc::CollectionInfo& info, pb::Collection* out) {
  out->set_id(info.id.value());
  ToProto(info.config, out->mutable_settings());
  for (const rpc::ShardInfo& shard : info.shards) {
    pb::Shard* s = out->add_shards();
    s->set_id(shard.id.value());
    s->set_first(shard.range.first);
    s->set_last(shard.range.last);
    s->set_version(shard.epoch.version);
    s->set_conf_version(shard.epoch.conf_version);
    for (const rpc::ShardReplica& replica : shard.replicas) {
      pb::Replica* r = s->add_replicas();
      r->set_replica(replica.replica.value());
      r->set_node(replica.node.value());
    }
  }
  out->set_created_at_ms(info.created_at_ms);
}

StatusOr<rpc::CollectionInfo> FromProto(const pb::Collection& in) {
  rpc::CollectionInfo info;
  info.id = CollectionId(in.id());
  VECTRON_ASSIGN_OR_RETURN(info.config, FromProto(in.settings()));
  VECTRON_RETURN_IF_ERROR(
      Annotate(ValidateCollectionConfig(info.config), "a stored collection is malformed"));
  info.created_at_ms = in.created_at_ms();
  uint64_t expected_first = 0;
  for (const pb::Shard& s : in.shards()) {
    rpc::ShardInfo shard;
    shard.id = ShardId(s.id());
    shard.collection = info.id;
    shard.range = {s.first(), s.last()};
    shard.epoch = {s.version(), s.conf_version()};
    for (const pb::Replica& r : s.replicas()) {
      shard.replicas.push_back({ReplicaId(r.replica()), NodeId(r.node())});
    }
    if (s.first() != expected_first || s.last() < s.first()) return Malformed("shard range");
    expected_first = s.last() + 1;  // 0 after the last one
    info.shards.push_back(std::move(shard));
  }
  if (info.shards.empty() || expected_first != 0) return Malformed("list of shards");
  return info;
}

void ToProto(const Catalog& catalog, pb::Catalog* out) {
  out->set_cluster_id(catalog.cluster_id);
  out->set_map_version(catalog.map_version);
  out->set_next_node(catalog.next_node.value());
  out->set_next_collection(catalog.next_collection.value());
  out->set_next_shard(catalog.next_shard.value());
  out->set_next_replica(catalog.next_replica.value());
  for (const auto& [name, info] : catalog.collections) ToProto(info, out->add_collections());
  for (const auto& [node, info] : catalog.workers) {
    pb::Worker* worker = out->add_workers();
    worker->set_node(node.value());
    worker->set_internal_address(info.internal_address);
    worker->set_state(static_cast<uint32_t>(info.state));
    ToProto(info.labels, worker->mutable_labels());
  }
}

StatusOr<Catalog> FromProto(const pb::Catalog& in) {
  Catalog catalog;
  catalog.cluster_id = in.cluster_id();
  catalog.map_version = in.map_version();
  catalog.next_node = NodeId(in.next_node());
  catalog.next_collection = CollectionId(in.next_collection());
  catalog.next_shard = ShardId(in.next_shard());
  catalog.next_replica = ReplicaId(in.next_replica());
  for (const pb::Collection& collection : in.collections()) {
    VECTRON_ASSIGN_OR_RETURN(rpc::CollectionInfo info, FromProto(collection));
    std::string name = info.config.name;
    if (!catalog.collections.emplace(std::move(name), std::move(info)).second) {
      return Malformed("list of collections");
    }
  }
  for (const pb::Worker& worker : in.workers()) {
    if (worker.state() < 1 || worker.state() > 3) return Malformed("worker's state");
    rpc::WorkerInfo info;
    info.node = NodeId(worker.node());
    info.internal_address = worker.internal_address();
    info.state = static_cast<rpc::WorkerState>(worker.state());
    info.labels = FromProto(worker.labels());
    catalog.workers.emplace(info.node, std::move(info));
  }
  return catalog;
}

}  // namespace

std::string EncodeCommand(const Command& command) {
  pb::Command out;
  out.set_time_ms(command.time_ms);
  if (const auto* init = std::get_if<InitCluster>(&command.body)) {
    out.mutable_init_cluster()->set_cluster_id(init->cluster_id);
    out.mutable_init_cluster()->set_reserved_node_count(init->reserved_node_count);
  } else if (const auto* worker = std::get_if<RegisterWorker>(&command.body)) {
    pb::RegisterWorker* body = out.mutable_register_worker();
    body->set_node(worker->node.value());
    body->set_cluster_id(worker->cluster_id);
    body->set_internal_address(worker->internal_address);
    ToProto(worker->labels, body->mutable_labels());
  } else if (const auto* create = std::get_if<CreateCollection>(&command.body)) {
    pb::CreateCollection* body = out.mutable_create_collection();
    ToProto(create->config, body->mutable_settings());
    for (const std::vector<NodeId>& nodes : create->placements) {
      pb::ShardPlacement* placement = body->add_placements();
      for (const NodeId node : nodes) placement->add_nodes(node.value());
    }
  } else {
    out.mutable_drop_collection()->set_name(std::get<DropCollection>(command.body).name);
  }
  return Serialize(out);
}

StatusOr<Command> DecodeCommand(std::string_view bytes) {
  VECTRON_ASSIGN_OR_RETURN(const pb::Command in, Parse<pb::Command>(bytes, "command"));
  Command command;
  command.time_ms = in.time_ms();
  switch (in.command_case()) {
    case pb::Command::kInitCluster:
      command.body =
          InitCluster{in.init_cluster().cluster_id(), in.init_cluster().reserved_node_count()};
      return command;
    case pb::Command::kRegisterWorker: {
      const pb::RegisterWorker& body = in.register_worker();
      command.body = RegisterWorker{NodeId(body.node()), body.cluster_id(), body.internal_address(),
                                    FromProto(body.labels())};
      return command;
    }
    case pb::Command::kCreateCollection: {
      CreateCollection create;
      VECTRON_ASSIGN_OR_RETURN(create.config, FromProto(in.create_collection().settings()));
      for (const pb::ShardPlacement& placement : in.create_collection().placements()) {
        std::vector<NodeId>& nodes = create.placements.emplace_back();
        for (const uint64_t node : placement.nodes()) nodes.push_back(NodeId(node));
      }
      command.body = std::move(create);
      return command;
    }
    case pb::Command::kDropCollection:
      command.body = DropCollection{in.drop_collection().name()};
      return command;
    case pb::Command::COMMAND_NOT_SET:
      break;
  }
  return Malformed("command (of a later version?)");
}

std::string EncodeResult(const CommandResult& result) {
  pb::CommandResult out;
  out.set_id(result.id);
  out.set_map_version(result.map_version);
  return Serialize(out);
}

StatusOr<CommandResult> DecodeResult(std::string_view bytes) {
  VECTRON_ASSIGN_OR_RETURN(const pb::CommandResult in, Parse<pb::CommandResult>(bytes, "result"));
  return CommandResult{in.id(), in.map_version()};
}

std::string EncodeCheckpoint(const CheckpointState& state) {
  pb::Checkpoint out;
  out.set_applied_index(state.applied.value());
  ToProto(state.catalog, out.mutable_catalog());
  for (const consensus::SessionChange& change : state.sessions) {
    VECTRON_CHECK(change.value.has_value());
    pb::SessionEntry* entry = out.add_sessions();
    entry->set_key(change.key);
    entry->set_value(*change.value);
  }
  return Serialize(out);
}

StatusOr<CheckpointState> DecodeCheckpoint(std::string_view bytes) {
  VECTRON_ASSIGN_OR_RETURN(const pb::Checkpoint in, Parse<pb::Checkpoint>(bytes, "checkpoint"));
  CheckpointState state;
  state.applied = LogIndex(in.applied_index());
  VECTRON_ASSIGN_OR_RETURN(state.catalog, FromProto(in.catalog()));
  for (const pb::SessionEntry& entry : in.sessions()) {
    state.sessions.push_back({entry.key(), entry.value()});
  }
  return state;
}

}  // namespace vectron::placement
