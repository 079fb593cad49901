#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "cmd/config.h"
#include "cmd/data_dir.h"
#include "cmd/file_budget.h"
#include "cmd/housekeeper.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"

namespace vectron::consensus {
class Host;
}
namespace vectron::gateway {
class Gateway;
class StartingGateway;
}  // namespace vectron::gateway
namespace vectron::gateway::rest {
class RestServer;
}
namespace vectron::placement {
class Placement;
}
namespace vectron::rpc {
class GrpcServer;
class Service;
}  // namespace vectron::rpc
namespace vectron::worker {
class Worker;
}

namespace vectron::cmd {

// One process of the database with all three roles: owns them and their order.
//
//   Listen:  gRPC, REST; whoever asks is told that the node is starting
//   Open:    Raft host, placement, worker
//   Serve:   once Ready: the gateway, which answers from then on
//   Stop:    the interfaces, then the others, each waiting for what it has under way
//
// Not thread-safe: one thread starts, watches and stops it.
class Node {
 public:
  // Opens the public interfaces. UNAVAILABLE, naming the address that is taken.
  static StatusOr<std::unique_ptr<Node>> Listen(const ServeConfig& config);

  // Stops as if killed, unless Stop was called: nothing is flushed.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Opens the data and begins to run the groups. `dir` must outlive the node. CORRUPTION
  // (what and where), INCOMPATIBLE_FORMAT.
  Status Open(const DataDir& dir);

  // After Open. OK once every shard that was there before serves again, or waits for room on the
  // disk; else what is missing, which those who ask are told as well.
  Status Ready();

  // Once ready: answers requests from now on.
  void Serve();

  // HOST:PORT, with the ports that were taken.
  std::string http_address() const;
  std::string grpc_address() const;

  // Takes no new requests, lets those under way finish for `grace`, makes everything
  // durable so that the next start is quick. Idempotent.
  void Stop(std::chrono::milliseconds grace);

 private:
  explicit Node(const ServeConfig& config);

  Status ListenAll();

  const ServeConfig config_;
  const FileBudget files_;
  // In the order of their making; destroyed in the opposite one, so that what
  // answers a call outlives what waits for the answer.
  const std::unique_ptr<MetricsRegistry> metrics_;
  const std::unique_ptr<Housekeeper> housekeeper_;
  std::unique_ptr<consensus::Host> host_;
  std::unique_ptr<placement::Placement> placement_;
  std::unique_ptr<worker::Worker> worker_;
  std::unique_ptr<gateway::Gateway> gateway_;
  const std::unique_ptr<gateway::StartingGateway> front_;  // what the interfaces ask
  std::unique_ptr<rpc::Service> grpc_service_;
  std::unique_ptr<rpc::GrpcServer> grpc_server_;
  std::unique_ptr<gateway::rest::RestServer> rest_server_;
  bool stopped_ = false;
};

}  // namespace vectron::cmd
