#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/error.h"
#include "vectron/v1/vectron.grpc.pb.h"

namespace vectron::cmd {

// A connection of its own to a server's public gRPC interface (channels to the
// same address share nothing), for one thread. Connects at the first call.
class Client {
 public:
  // `server` is HOST:PORT.
  explicit Client(const std::string& server);

  v1::Vectron::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // UNAVAILABLE, naming the address, unless the server accepts within `timeout`.
  Status WaitConnected(std::chrono::milliseconds timeout);

 private:
  const std::string server_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Vectron::Stub> stub_;
};

// Gives up the call `timeout` from now.
void SetTimeout(grpc::ClientContext* context, std::chrono::milliseconds timeout);

}  // namespace vectron::cmd
