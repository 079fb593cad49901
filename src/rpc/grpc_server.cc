#include "rpc/grpc_server.h"

#include <absl/synchronization/mutex.h>
#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "common/logging.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "rpc/connection_acceptor.h"
#include "rpc/server_loop.h"

namespace vectron::rpc {
namespace {

// How long a peer without calls has to close its connection when the server stops.
constexpr std::chrono::seconds kHangUpPatience{1};

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
    // It would bring threads of its own to wait at the server; see ServerLoop.
    grpc::EnableDefaultHealthCheckService(false);
  });
}

void SetLimits(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(ToInt(options.message_bytes_max));
  // What we send is bounded by what was asked for, not by this.
  builder->SetMaxSendMessageSize(-1);
  // Nobody is told beforehand what a compressed message comes to: a few megabytes may be gigabytes,
  // which are there before the limit is looked at. They are refused (UNIMPLEMENTED).
  builder->AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                              1 << GRPC_COMPRESS_NONE);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
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

std::vector<std::string> NamesOf(const std::vector<Service*>& services) {
  std::vector<std::string> names;
  names.reserve(services.size());
  for (const Service* service : services) names.push_back(service->name());
  return names;
}

// One for each four cores.
int DefaultThreadCount() { return std::max(1, UsableCores() / 4); }

}  // namespace

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                        const std::vector<Service*>& services) {
  std::unique_ptr<GrpcServer> server(new GrpcServer(options, services));
  VECTRON_RETURN_IF_ERROR(server->Build(options));
  return server;
}

GrpcServer::GrpcServer(const GrpcServerOptions& options, const std::vector<Service*>& services)
    : health_(NamesOf(services)),
      reflection_([&] {
        std::vector<std::string> names = NamesOf(services);
        names.push_back(health_.name());
        return names;
      }()),
      calls_{.live = {}, .untaken = UntakenAnswers(options.answers_bytes_max)},
      large_({.name = "grpc-large", .thread_count = DefaultThreadCount()}) {
  for (const Service* service : services) AddMethods(*service);
  AddMethods(health_);
  AddMethods(reflection_);
}

void GrpcServer::AddMethods(const Service& service) {
  for (const auto& [path, make] : service.methods()) methods_.emplace(path, &make);
}

Status GrpcServer::Build(const GrpcServerOptions& options) {
  ConnectionAcceptorOptions listening;
  listening.listen = options.listen;
  listening.connections_max = options.connections_max;
  listening.unacknowledged_max = options.keepalive_timeout;
  listening.on_refused = options.on_connection_refused;
  VECTRON_ASSIGN_OR_RETURN(acceptor_, ConnectionAcceptor::Listen(std::move(listening)));
  SetUpGrpc();
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  builder.RegisterAsyncGenericService(&generic_);
  const int thread_count = options.thread_count > 0 ? options.thread_count : DefaultThreadCount();
  for (int i = 0; i < thread_count; ++i) {
    loops_.push_back(std::make_unique<ServerLoop>(
        fmt::format("grpc-{}", i),
        ServerLoop::Environment{&generic_, &methods_, &large_, &calls_, options.request_patience},
        builder.AddCompletionQueue()));
  }
  intake_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return Internal("gRPC did not start; its log says why");
  for (const auto& loop : loops_) loop->Start();
  health_.SetServing(options.serving);
  acceptor_->Start([this](int fd) {
    Intake::NewConnectionParameters connection;
    connection.fd = fd;
    intake_->HandleNewConnection(&connection);
  });
  return OkStatus();
}

const std::string& GrpcServer::address() const { return acceptor_->address(); }

GrpcServer::~GrpcServer() { Shutdown(std::chrono::milliseconds(0)); }

void GrpcServer::Shutdown(std::chrono::milliseconds grace) {
  if (server_ == nullptr) return;
  acceptor_->Stop();
  health_.Shutdown();
  // gRPC waits for connections as it does for calls: those that have none under way, and
  // do not hang up when they are told to, would take the whole of the grace.
  Mutex mutex;
  CondVar changed;
  bool closed = false;
  Thread cutter("grpc-stop", ThreadPriority::kNormal, [&] {
    if (!calls_.live.WaitNone(grace)) return;
    const TimePoint until = SystemClock().Now() + kHangUpPatience;
    MutexLock lock(mutex);
    while (!closed && SystemClock().Now() < until) {
      changed.WaitFor(mutex, until - SystemClock().Now());
    }
    if (!closed) grpc_server_cancel_all_calls(server_->c_server());
  });
  server_->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(static_cast<int64_t>(grace.count()), GPR_TIMESPAN)));
  {
    MutexLock lock(mutex);
    closed = true;
    changed.NotifyAll();
  }
  cutter.Join();
  server_->Wait();
  for (const auto& loop : loops_) loop->Stop();
  large_.Stop();
}

}  // namespace vectron::rpc
