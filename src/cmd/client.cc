#include "cmd/client.h"

#include <fmt/format.h>

#include "google/rpc/error_details.pb.h"

namespace vectron::cmd {
namespace {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A server that restarts is back within a second; do not wait for longer.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Client::Client(const std::string& server)
    : server_(server), channel_(MakeChannel(server)), stub_(v1::Vectron::NewStub(channel_)) {}

Status Client::WaitConnected(std::chrono::milliseconds timeout) {
  if (channel_->WaitForConnected(std::chrono::system_clock::now() + timeout)) return OkStatus();
  return MakeError(Reason::kUnavailable,
                   fmt::format("no vectron server answers on {} (gRPC)", server_));
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& any : details.details()) {
      google::rpc::ErrorInfo info;
      if (!any.UnpackTo(&info)) continue;
      const Reason reason = ReasonFromName(info.reason());
      if (reason == Reason::kNone) continue;
      ErrorDetails pairs(info.metadata().begin(), info.metadata().end());
      return MakeError(reason, status.error_message(), std::move(pairs));
    }
  }
  return Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void SetTimeout(grpc::ClientContext* context, std::chrono::milliseconds timeout) {
  context->set_deadline(std::chrono::system_clock::now() + timeout);
}

}  // namespace vectron::cmd
