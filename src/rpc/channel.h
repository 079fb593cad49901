#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/clock.h"

namespace vectron::rpc {

struct ChannelOptions {
  size_t message_bytes_max = 256 << 20;  // received
  std::chrono::milliseconds keepalive_interval{10'000};
  std::chrono::milliseconds keepalive_timeout{5'000};
  std::chrono::milliseconds reconnect_backoff_max{1'000};
  // A connection of its own instead of one that all channels to the address share.
  bool own_connection = false;
};

// A channel to HOST:PORT; connects when it is first used and again after losses.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const ChannelOptions& options = {});

// Hands `deadline` on to a request that is about to be made; kNoDeadline sets none.
void SetDeadline(Deadline deadline, const Clock& clock, grpc::ClientContext* context);

}  // namespace vectron::rpc
