#pragma once

#include <memory>

#include "common/clock.h"
#include "common/limits.h"
#include "gateway/gateway.h"

namespace vectron::rpc {
class Service;
}

namespace vectron::gateway {

struct GrpcServiceOptions {
  // Not owned; outlive the service.
  Gateway* gateway = nullptr;
  const Clock* clock = nullptr;
  Limits limits;
  // Messages of one StoreVectors stream that are written at the same time.
  size_t stream_writes_max = 8;
};

// The service vectron.v1.Vectron (proto/vectron/v1/vectron.proto): turns messages
// into calls of the gateway and back. To be served by an rpc::GrpcServer, whose
// message_bytes_max is Limits::request_bytes_max.
std::unique_ptr<rpc::Service> MakeGrpcService(const GrpcServiceOptions& options);

}  // namespace vectron::gateway
