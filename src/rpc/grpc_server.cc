#include "rpc/grpc_server.h"

#include <absl/synchronization/mutex.h>
#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "common/logging.h"
#include "rpc/connection_acceptor.h"

namespace vectron::rpc {
namespace {

int ToInt(size_t value) {
  return static_cast<int>(std::min<size_t>(value, std::numeric_limits<int>::max()));
}

int ToInt(std::chrono::milliseconds value) { return static_cast<int>(value.count()); }

// gRPC writes its lines to stderr by itself, in a form of its own.
void LogForGrpc(gpr_log_func_args* line) {
  switch (line->severity) {
    case GPR_LOG_SEVERITY_DEBUG:
      return VECTRON_LOG_DEBUG("gRPC: {}", line->message);
    case GPR_LOG_SEVERITY_INFO:
      return VECTRON_LOG_INFO("gRPC: {}", line->message);
    case GPR_LOG_SEVERITY_ERROR:
      return VECTRON_LOG_ERROR("gRPC: {}", line->message);
  }
}

// For the process, before its first server is built.
void SetUpGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // The distribution builds abseil with its search for lock cycles, which every
    // lock that gRPC takes would pay for.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    gpr_set_log_function(LogForGrpc);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetLimits(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(ToInt(options.message_bytes_max));
  // What we send is bounded by what was asked for, not by this.
  builder->SetMaxSendMessageSize(-1);
  builder->SetResourceQuota(grpc::ResourceQuota("vectron").Resize(options.memory_bytes_max));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_per_connection_max);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ToInt(options.keepalive_interval));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ToInt(options.keepalive_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients may ping as often as every five seconds.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              ToInt(options.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, ToInt(options.idle_timeout));
}

}  // namespace

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerOptions& options, const std::vector<grpc::Service*>& services) {
  ConnectionAcceptorOptions listening;
  listening.listen = options.listen;
  listening.connections_max = options.connections_max;
  listening.unacknowledged_max = options.keepalive_timeout;
  listening.on_refused = options.on_connection_refused;
  VECTRON_ASSIGN_OR_RETURN(auto acceptor, ConnectionAcceptor::Listen(std::move(listening)));
  SetUpGrpc();
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  for (grpc::Service* service : services) builder.RegisterService(service);
  auto intake = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return Internal("gRPC did not start; its log says why");
  server->GetHealthCheckService()->SetServingStatus(true);
  return std::unique_ptr<GrpcServer>(
      new GrpcServer(std::move(acceptor), std::move(intake), std::move(server)));
}

GrpcServer::GrpcServer(std::unique_ptr<ConnectionAcceptor> acceptor, std::unique_ptr<Intake> intake,
                       std::unique_ptr<grpc::Server> server)
    : server_(std::move(server)), intake_(std::move(intake)), acceptor_(std::move(acceptor)) {
  acceptor_->Start([this](int fd) {
    Intake::NewConnectionParameters connection;
    connection.fd = fd;
    intake_->HandleNewConnection(&connection);
  });
}

const std::string& GrpcServer::address() const { return acceptor_->address(); }

GrpcServer::~GrpcServer() { Shutdown(std::chrono::milliseconds(0)); }

std::shared_ptr<grpc::Channel> GrpcServer::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

void GrpcServer::Shutdown(std::chrono::milliseconds grace) {
  acceptor_->Stop();
  server_->GetHealthCheckService()->Shutdown();
  server_->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(static_cast<int64_t>(grace.count()), GPR_TIMESPAN)));
  server_->Wait();
}

}  // namespace vectron::rpc
