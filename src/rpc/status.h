#pragma once

#include <grpcpp/support/status.h>

#include "common/error.h"

namespace google::protobuf {
class Message;
}

// How errors travel in gRPC: the code, the message, and a google.rpc.ErrorInfo (our
// reason and details, domain "vectron") among the status's details.

namespace vectron::rpc {

// `extra`, where given, is packed into the status's details beside the ErrorInfo.
// All of it goes into the trailers, for which clients take 8 KiB: messages longer
// than 1,024 bytes are cut, details that would make it too large are left out.
grpc::Status ToGrpcStatus(const Status& status, const google::protobuf::Message* extra = nullptr);

// The error a peer sent. Without an ErrorInfo of ours (a proxy, the transport) it
// is the code and the message, and its reason is kNone.
Status FromGrpcStatus(const grpc::Status& status);

// Reads the detail of `extra`'s type into it; false if there is none.
bool FindDetail(const grpc::Status& status, google::protobuf::Message* extra);

}  // namespace vectron::rpc
