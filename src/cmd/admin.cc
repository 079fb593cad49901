#include "cmd/admin.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "cmd/client.h"
#include "cmd/exit_codes.h"
#include "cmd/json_writer.h"
#include "cmd/table.h"
#include "rpc/status.h"

namespace vectron::cmd {
namespace {

struct AdminOptions {
  std::string server = "127.0.0.1:6334";
  double timeout_seconds = 10;
  bool json = false;

  std::chrono::milliseconds timeout() const {
    return std::chrono::milliseconds(static_cast<int64_t>(timeout_seconds * 1000));
  }
};

struct CollectionRow {
  v1::Collection collection;
  v1::Stats stats;
};

std::string StateName(v1::WorkerState state) {
  switch (state) {
    case v1::WORKER_STATE_UP:
      return "up";
    case v1::WORKER_STATE_DRAINING:
      return "draining";
    case v1::WORKER_STATE_REMOVED:
      return "removed";
    default:
      return "unknown";
  }
}

std::string MetricText(v1::Metric metric) {
  switch (metric) {
    case v1::METRIC_L2:
      return "l2";
    case v1::METRIC_COSINE:
      return "cosine";
    case v1::METRIC_DOT:
      return "dot";
    default:
      return "unknown";
  }
}

std::string VectorsText(const v1::CollectionConfig& config) {
  std::string text;
  for (const v1::VectorConfig& vector : config.vectors()) {
    if (!text.empty()) text += ", ";
    if (!vector.name().empty()) text += vector.name() + ": ";
    text += fmt::format("{} {}", vector.dimension(), MetricText(vector.metric()));
  }
  return text;
}

StatusOr<v1::ClusterStatusResponse> FetchStatus(const AdminOptions& options, Client* client) {
  VECTRON_RETURN_IF_ERROR(client->WaitConnected(options.timeout()));
  grpc::ClientContext context;
  SetTimeout(&context, options.timeout());
  v1::ClusterStatusResponse response;
  VECTRON_RETURN_IF_ERROR(rpc::FromGrpcStatus(
      client->stub().ClusterStatus(&context, v1::ClusterStatusRequest(), &response)));
  return response;
}

StatusOr<std::vector<CollectionRow>> FetchCollections(const AdminOptions& options, Client* client) {
  VECTRON_RETURN_IF_ERROR(client->WaitConnected(options.timeout()));
  v1::ListCollectionsResponse list;
  {
    grpc::ClientContext context;
    SetTimeout(&context, options.timeout());
    VECTRON_RETURN_IF_ERROR(rpc::FromGrpcStatus(
        client->stub().ListCollections(&context, v1::ListCollectionsRequest(), &list)));
  }
  std::vector<CollectionRow> rows;
  for (const v1::Collection& collection : list.collections()) {
    v1::GetCollectionRequest request;
    request.set_name(collection.config().name());
    grpc::ClientContext context;
    SetTimeout(&context, options.timeout());
    v1::GetCollectionResponse response;
    const Status status =
        rpc::FromGrpcStatus(client->stub().GetCollection(&context, request, &response));
    // Dropped since it was listed.
    if (ReasonOf(status) == Reason::kCollectionNotFound) continue;
    VECTRON_RETURN_IF_ERROR(status);
    rows.push_back({response.collection(), response.stats()});
  }
  return rows;
}

void WriteStats(const v1::Stats& stats, JsonWriter* json) {
  json->Field("points", uint64_t{stats.point_count()});
  json->Field("indexed_vectors", uint64_t{stats.linked_count()});
  json->Field("pending_vectors", uint64_t{stats.pending_count()});
  json->Field("index_bytes", uint64_t{stats.index_bytes()});
  json->Field("store_bytes", uint64_t{stats.store_bytes()});
}

std::string StatusJson(const v1::ClusterStatusResponse& status) {
  JsonWriter json;
  json.Field("cluster_id", status.cluster_id());
  json.Field("map_version", uint64_t{status.map_version()});
  if (status.has_placement_leader_node_id()) {
    json.Field("placement_leader_node_id", uint64_t{status.placement_leader_node_id()});
  }
  json.BeginArray("workers");
  for (const v1::WorkerStatus& worker : status.workers()) {
    json.BeginElement();
    json.Field("node_id", uint64_t{worker.node_id()});
    json.Field("internal_address", worker.internal_address());
    json.Field("state", StateName(worker.state()));
    json.Field("alive", worker.alive());
    if (worker.has_last_heartbeat_ms_ago()) {
      json.Field("last_heartbeat_ms_ago", int64_t{worker.last_heartbeat_ms_ago()});
    }
    json.BeginObject("labels");
    for (const auto& [key, value] : worker.labels()) json.Field(key, value);
    json.End();
    json.BeginArray("replicas");
    for (const v1::ReplicaStatus& replica : worker.replicas()) {
      json.BeginElement();
      json.Field("shard_id", uint64_t{replica.shard_id()});
      json.Field("replica_id", uint64_t{replica.replica_id()});
      json.Field("leader", replica.is_leader());
      json.Field("term", uint64_t{replica.term()});
      json.Field("applied_index", uint64_t{replica.applied_index()});
      WriteStats(replica.stats(), &json);
      if (!replica.failure().empty()) json.Field("failure", replica.failure());
      json.End();
    }
    json.End();
    json.End();
  }
  json.End();
  return json.Finish();
}

std::string StatusText(const v1::ClusterStatusResponse& status) {
  const std::string leader = status.has_placement_leader_node_id()
                                 ? std::to_string(status.placement_leader_node_id())
                                 : "none";
  std::string text = fmt::format("cluster {}, placement led by node {}, metadata version {}\n\n",
                                 status.cluster_id(), leader, status.map_version());
  Table table({"NODE", "STATE", "ALIVE", "HEARTBEAT", "SHARDS", "FAILED", "LEADS", "POINTS",
               "MEMORY", "DISK"});
  std::string failures;
  for (const v1::WorkerStatus& worker : status.workers()) {
    uint64_t failed = 0, leads = 0, points = 0, memory = 0, disk = 0;
    for (const v1::ReplicaStatus& replica : worker.replicas()) {
      if (!replica.failure().empty()) {
        ++failed;
        failures += fmt::format("shard {} on node {} cannot serve: {}\n", replica.shard_id(),
                                worker.node_id(), replica.failure());
      }
      leads += replica.is_leader();
      points += replica.stats().point_count();
      memory += replica.stats().index_bytes();
      disk += replica.stats().store_bytes();
    }
    table.Add({std::to_string(worker.node_id()), StateName(worker.state()),
               worker.alive() ? "yes" : "no",
               worker.has_last_heartbeat_ms_ago()
                   ? fmt::format("{} ms ago", worker.last_heartbeat_ms_ago())
                   : "never",
               std::to_string(worker.replicas_size()), std::to_string(failed),
               std::to_string(leads), std::to_string(points),
               HumanBytes(static_cast<double>(memory)), HumanBytes(static_cast<double>(disk))});
  }
  text += table.Render();
  return failures.empty() ? text : text + "\n" + failures;
}

std::string CollectionsJson(const std::vector<CollectionRow>& rows) {
  JsonWriter json;
  json.BeginArray("collections");
  for (const CollectionRow& row : rows) {
    const v1::CollectionConfig& config = row.collection.config();
    json.BeginElement();
    json.Field("name", config.name());
    json.Field("id", uint64_t{row.collection.id()});
    json.Field("created_at_ms", int64_t{row.collection.created_at_ms()});
    json.Field("shards", row.collection.shards_size());
    json.Field("replication_factor", uint32_t{config.replication_factor()});
    json.BeginArray("vectors");
    for (const v1::VectorConfig& vector : config.vectors()) {
      json.BeginElement();
      json.Field("name", vector.name());
      json.Field("dimension", uint32_t{vector.dimension()});
      json.Field("metric", MetricText(vector.metric()));
      json.Field("quantization", vector.quantization() == v1::QUANTIZATION_NONE ? "none" : "sq8");
      json.Field("m", uint32_t{vector.hnsw().m()});
      json.Field("ef_construction", uint32_t{vector.hnsw().ef_construction()});
      json.Field("ef_search", uint32_t{vector.hnsw().ef_search()});
      json.End();
    }
    json.End();
    WriteStats(row.stats, &json);
    json.End();
  }
  json.End();
  return json.Finish();
}

std::string CollectionsText(const std::vector<CollectionRow>& rows) {
  Table table({"NAME", "VECTORS", "SHARDS", "POINTS", "INDEXED", "PENDING", "MEMORY", "DISK"});
  for (const CollectionRow& row : rows) {
    table.Add({row.collection.config().name(), VectorsText(row.collection.config()),
               std::to_string(row.collection.shards_size()),
               std::to_string(row.stats.point_count()), std::to_string(row.stats.linked_count()),
               std::to_string(row.stats.pending_count()),
               HumanBytes(static_cast<double>(row.stats.index_bytes())),
               HumanBytes(static_cast<double>(row.stats.store_bytes()))});
  }
  return table.Render();
}

Status RunStatus(const AdminOptions& options) {
  Client client(options.server);
  VECTRON_ASSIGN_OR_RETURN(const auto status, FetchStatus(options, &client));
  fmt::print("{}", options.json ? StatusJson(status) : StatusText(status));
  return OkStatus();
}

Status RunCollections(const AdminOptions& options) {
  Client client(options.server);
  VECTRON_ASSIGN_OR_RETURN(const auto rows, FetchCollections(options, &client));
  fmt::print("{}", options.json ? CollectionsJson(rows) : CollectionsText(rows));
  return OkStatus();
}

void AddCommand(CLI::App* admin, const std::string& name, const std::string& help,
                Status (*run)(const AdminOptions&), int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* command = admin->add_subcommand(name, help);
  command->add_option("--server", options->server, "gRPC address of any process")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  command->add_option("--timeout", options->timeout_seconds, "seconds")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  command->add_flag("--json", options->json, "as JSON");
  command->callback([options, run, exit_code] {
    const Status status = run(*options);
    if (!status.ok()) *exit_code = ReportError(status);
  });
}

}  // namespace

void AddAdminCommand(CLI::App* app, int* exit_code) {
  CLI::App* admin = app->add_subcommand("admin", "Look at a running cluster, over gRPC");
  admin->require_subcommand(1);
  AddCommand(admin, "status", "Workers and what they hold", RunStatus, exit_code);
  AddCommand(admin, "collections", "Collections and their sizes", RunCollections, exit_code);
}

}  // namespace vectron::cmd
