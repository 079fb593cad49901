#pragma once

#include <grpcpp/grpcpp.h>

#include "gateway/grpc_service.h"
#include "vectron/v1/vectron.grpc.pb.h"

namespace vectron::gateway {

// Serves one StoreVectors call; owns itself until it is done.
grpc::ServerBidiReactor<v1::StoreVectorsRequest, v1::StoreVectorsResponse>* StartStoreStream(
    const GrpcServiceOptions& options, const grpc::CallbackServerContext& context);

}  // namespace vectron::gateway
