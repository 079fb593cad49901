#include "rpc/grpc_server.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/thread.h"
#include "rpc/connection_acceptor.h"
#include "rpc/server_loop.h"

namespace vectron::rpc {
namespace {

// protobuf writes lines to stderr by itself, as of a text that is not UTF-8: of what a client sent,
// and as many as it sent.
void LogForProtobuf(google::protobuf::LogLevel /*level*/, const char* /*file*/, int /*line*/,
                    const std::string& message) {
  VECTRON_LOG_DEBUG("protobuf: {}", message);
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
  google::protobuf::SetLogHandler(LogForProtobuf);
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
      calls_(options.calls_max, options.answers_bytes_max),
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
  const ServerLoop::Environment environment{
      .methods = &methods_,
      .large = &large_,
      .calls = &calls_,
      .connections = {.session = {.message_bytes_max = options.message_bytes_max,
                                  .streams_max = options.streams_per_connection_max,
                                  .received_bytes_max = options.received_bytes_max},
                      .keepalive_interval = options.keepalive_interval,
                      .keepalive_timeout = options.keepalive_timeout,
                      .handshake_timeout = options.handshake_timeout,
                      .idle_timeout = options.idle_timeout,
                      .request_patience = options.request_patience}};
  const int thread_count = options.thread_count > 0 ? options.thread_count : DefaultThreadCount();
  for (int i = 0; i < thread_count; ++i) {
    loops_.push_back(std::make_unique<ServerLoop>(fmt::format("grpc-{}", i), environment));
    VECTRON_RETURN_IF_ERROR(loops_.back()->Start());
  }
  health_.SetServing(options.serving);
  acceptor_->Start([this](AdmittedSocket socket) {
    loops_[next_loop_++ % loops_.size()]->Add(std::move(socket));
  });
  return OkStatus();
}

const std::string& GrpcServer::address() const { return acceptor_->address(); }

GrpcServer::~GrpcServer() { Shutdown(std::chrono::milliseconds(0)); }

void GrpcServer::Shutdown(std::chrono::milliseconds grace) {
  if (acceptor_ == nullptr) return;
  acceptor_->Stop();
  health_.Shutdown();
  for (const auto& loop : loops_) loop->Drain();
  if (!calls_.live.WaitNone(grace)) {
    for (const auto& loop : loops_) loop->BreakCalls();
    calls_.live.WaitNone();
  }
  for (const auto& loop : loops_) loop->Stop();
  large_.Stop();
}

}  // namespace vectron::rpc
