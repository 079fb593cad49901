#include "cmd/node.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "common/logging.h"
#include "common/random.h"
#include "common/thread.h"
#include "consensus/host.h"
#include "gateway/gateway.h"
#include "gateway/grpc_service.h"
#include "gateway/rest/rest_api.h"
#include "gateway/starting_gateway.h"
#include "placement/placement.h"
#include "rpc/grpc_server.h"
#include "rpc/service.h"
#include "worker/worker.h"

namespace vectron::cmd {
namespace {

// The only process of its cluster.
constexpr NodeId kSelf{1};

consensus::HostOptions HostOptionsOf(const ServeConfig& config, const DataDir& dir) {
  consensus::HostOptions options;
  options.self = kSelf;
  options.dir = dir.raft_path();
  options.apply_thread_count = UsableCores();
  options.disk_reserve_bytes = config.disk_reserve_bytes;
  options.seed = RandomSeed();
  return options;
}

placement::PlacementOptions PlacementOptionsOf(const DataDir& dir, const FileBudget& files) {
  placement::PlacementOptions options;
  options.dir = dir.placement_path();
  options.members = {{.replica = options.self, .node = kSelf}};
  options.replicas_per_worker_max = files.shard_count_max;
  options.seed = RandomSeed();
  return options;
}

worker::WorkerOptions WorkerOptionsOf(const ServeConfig& config, const DataDir& dir,
                                      const FileBudget& files) {
  worker::WorkerOptions options;
  options.node = kSelf;
  options.dir = dir.shards_path();
  options.labels = config.labels;
  options.disk_reserve_bytes = config.disk_reserve_bytes;
  options.limits = config.limits;
  options.store_open_files_max = files.store_open_files_max;
  options.search_concurrency = config.search_threads;
  options.index_thread_count = config.index_threads;
  return options;
}

}  // namespace

Node::Node(const ServeConfig& config)
    : config_(config),
      files_(FileBudget::Of(OpenFilesMax(), config.limits.connections_max)),
      metrics_(std::make_unique<MetricsRegistry>()),
      housekeeper_(std::make_unique<Housekeeper>(&SystemClock(), metrics_.get())),
      front_(std::make_unique<gateway::StartingGateway>()) {}

Node::~Node() = default;

StatusOr<std::unique_ptr<Node>> Node::Listen(const ServeConfig& config) {
  std::unique_ptr<Node> node(new Node(config));
  VECTRON_RETURN_IF_ERROR(node->ListenAll());
  return node;
}

Status Node::Open(const DataDir& dir) {
  const Clock* clock = &SystemClock();
  VECTRON_ASSIGN_OR_RETURN(host_,
                           consensus::Host::Open(HostOptionsOf(config_, dir),
                                                 {.clock = clock, .metrics = metrics_.get()}));
  VECTRON_ASSIGN_OR_RETURN(placement_,
                           placement::Placement::Start(
                               PlacementOptionsOf(dir, files_),
                               {.clock = clock, .host = host_.get(), .metrics = metrics_.get()}));
  VECTRON_ASSIGN_OR_RETURN(worker_, worker::Worker::Start(WorkerOptionsOf(config_, dir, files_),
                                                          {.clock = clock,
                                                           .host = host_.get(),
                                                           .placement = placement_.get(),
                                                           .metrics = metrics_.get()}));
  return OkStatus();
}

Status Node::Ready() {
  Status status = worker_->Settled();
  if (!status.ok()) front_->SetProgress(std::string(status.message()));
  return status;
}

void Node::Serve() {
  gateway_ = gateway::MakeGateway({
      .placement = placement_.get(),
      .clock = &SystemClock(),
      .metrics = metrics_.get(),
      .find_worker = [this](NodeId node) { return node == kSelf ? worker_.get() : nullptr; },
      .seed = RandomSeed(),
      .limits = config_.limits,
  });
  front_->Open(gateway_.get());
  grpc_server_->SetServing(true);
}

Status Node::ListenAll() {
  if (files_.connections_max < config_.limits.connections_max ||
      files_.shard_count_max < placement::PlacementOptions().replicas_per_worker_max) {
    VECTRON_LOG_WARN(
        "this process may have {} files open (ulimit -n): enough for {} connections of each "
        "interface and {} shards",
        OpenFilesMax(), files_.connections_max, files_.shard_count_max);
  }
  grpc_service_ = gateway::MakeGrpcService(
      {.gateway = front_.get(), .clock = &SystemClock(), .limits = config_.limits});
  rpc::GrpcServerOptions grpc_options;
  grpc_options.listen = config_.grpc_listen.ToString();
  grpc_options.message_bytes_max = config_.limits.request_bytes_max;
  grpc_options.connections_max = files_.connections_max;
  prometheus::Counter& refused = prometheus::BuildCounter()
                                     .Name("vectron_grpc_connections_refused_total")
                                     .Help("gRPC connections beyond --connections-max")
                                     .Register(*metrics_)
                                     .Add({});
  grpc_options.serving = false;
  grpc_options.on_connection_refused = [&refused] { refused.Increment(); };
  VECTRON_ASSIGN_OR_RETURN(grpc_server_,
                           rpc::GrpcServer::Start(grpc_options, {grpc_service_.get()}));
  gateway::rest::RestOptions rest_options;
  rest_options.http.listen = config_.http_listen.ToString();
  rest_options.http.drain_timeout = std::chrono::seconds(config_.drain_seconds);
  rest_options.limits = config_.limits;
  rest_options.limits.connections_max = files_.connections_max;
  rest_server_ = std::make_unique<gateway::rest::RestServer>(rest_options, front_.get(),
                                                             metrics_.get(), &SystemClock());
  return rest_server_->Start();
}

std::string Node::http_address() const {
  return ListenAddress{config_.http_listen.host, rest_server_->port()}.ToString();
}

std::string Node::grpc_address() const { return grpc_server_->address(); }

void Node::Stop(std::chrono::milliseconds grace) {
  if (stopped_) return;
  stopped_ = true;
  const Deadline deadline = SystemClock().Now() + grace;
  {
    // Both at once: one after the other, they could take the time twice.
    Thread grpc_stop("grpc-stop", ThreadPriority::kNormal, [this, grace] {
      if (grpc_server_ != nullptr) grpc_server_->Shutdown(grace);
    });
    if (rest_server_ != nullptr) rest_server_->Stop();
    grpc_stop.Join();
  }
  if (worker_ != nullptr) worker_->Stop(deadline);
  if (placement_ != nullptr) placement_->Stop();
  if (host_ != nullptr) host_->Stop();
}

}  // namespace vectron::cmd
