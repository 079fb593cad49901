#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/string_map.h"
#include "common/thread_pool.h"
#include "rpc/health_service.h"
#include "rpc/reflection_service.h"
#include "rpc/server_call.h"
#include "rpc/service.h"

namespace vectron::rpc {

class ConnectionAcceptor;
class ServerLoop;

struct GrpcServerOptions {
  std::string listen;  // HOST:PORT; port 0 takes a free one
  // Threads that read requests and send answers; 0: one for each four cores.
  int thread_count = 0;
  // More are told so, and closed.
  size_t connections_max = 4'096;
  std::function<void()> on_connection_refused = [] {};
  size_t message_bytes_max = 64 << 20;
  // Requests that have come in part, or are not taken yet: beyond it, a call to which more comes
  // is OVERLOADED.
  size_t received_bytes_max = 1 << 30;
  // Answers that clients have not taken yet: beyond it a call is OVERLOADED.
  size_t answers_bytes_max = 512 << 20;
  int streams_per_connection_max = 1024;
  // Calls under way, of all connections: more are refused, to be made elsewhere.
  size_t calls_max = 32'768;
  // A peer that does not answer a ping is given up: its requests are cancelled.
  std::chrono::milliseconds keepalive_interval{30'000};
  std::chrono::milliseconds keepalive_timeout{10'000};
  // A connection that does not finish its handshake, or has no request for so long,
  // is closed.
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds idle_timeout{3'600'000};
  // A call whose first message has not come whole after so long, or a little more, is cancelled.
  std::chrono::milliseconds request_patience{120'000};
  // What the health service says at first.
  bool serving = true;
};

// A gRPC server, on nghttp2 (docs/adr/0019), with the standard health service (one status for ""
// and every service) and server reflection. Its calls are served by few threads (ServerLoop).
// Thread-safe.
class GrpcServer {
 public:
  // Listens and serves `services`, which must outlive the server. UNAVAILABLE if the
  // address cannot be listened on (its message says which).
  static StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                     const std::vector<Service*>& services);

  // Shuts down at once, if that was not done.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // What the health service says from now on.
  void SetServing(bool serving) { health_.SetServing(serving); }

  // HOST:PORT, with the port that was taken.
  const std::string& address() const;

  // Reports NOT_SERVING, takes no new requests, lets those under way finish for
  // `grace`, then cancels them. Returns when all are answered and the connections closed;
  // one without a request is given a second to do so itself. Idempotent.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  GrpcServer(const GrpcServerOptions& options, const std::vector<Service*>& services);

  Status Build(const GrpcServerOptions& options);
  void AddMethods(const Service& service);

  HealthService health_;
  ReflectionService reflection_;
  StringMap<const Service::MakeHandler*> methods_;
  ServerCall::Shared calls_;
  // Decodes and serves large requests, so that small ones do not wait behind them.
  ThreadPool large_;

  // Each uses those above it.
  std::vector<std::unique_ptr<ServerLoop>> loops_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;
  size_t next_loop_ = 0;  // of the acceptor
};

}  // namespace vectron::rpc
