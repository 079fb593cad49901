#pragma once

#include <memory>

#include "gateway/grpc_service.h"
#include "rpc/server_call.h"

namespace vectron::gateway {

// Serves one StoreVectors call.
std::shared_ptr<rpc::CallHandler> MakeStoreStream(const GrpcServiceOptions& options);

}  // namespace vectron::gateway
