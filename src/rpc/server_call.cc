#include "rpc/server_call.h"

#include <fmt/format.h>

#include <utility>

#include "common/check.h"
#include "common/error.h"
#include "rpc/http2_connection.h"
#include "rpc/status.h"

namespace vectron::rpc {

Http2Stream* ServerCall::Make(std::shared_ptr<Http2Connection> connection, int32_t id,
                              CallHead head, size_t message_bytes_max, Shared* shared) {
  if (!shared->live.TryEnter(shared->calls_max)) return nullptr;
  auto* call =
      new ServerCall(std::move(connection), id, std::move(head), message_bytes_max, shared);
  return &call->stream_;
}

ServerCall::ServerCall(std::shared_ptr<Http2Connection> connection, int32_t id, CallHead head,
                       size_t message_bytes_max, Shared* shared)
    : shared_(*shared),
      head_(std::move(head)),
      connection_(std::move(connection)),
      stream_(this, id, message_bytes_max) {}

void ServerCall::Serve(std::shared_ptr<CallHandler> handler) {
  handler_ = std::move(handler);
  // Keeps the call while the handler begins, which may finish it.
  Begin();
  handler_->OnStart(this);
  End();
}

void ServerCall::Read(std::string* message) {
  Begin();
  message_ = message;
  connection_->Read(&stream_, message);
}

void ServerCall::Write(std::string message) {
  Begin();
  connection_->Write(&stream_, std::move(message));
}

void ServerCall::Finish(const grpc::Status& status) {
  VECTRON_CHECK(!finished_.exchange(true));
  connection_->Finish(&stream_, status);
  End();
}

void ServerCall::WriteAndFinish(std::string message) {
  const size_t bytes = message.size();
  if (!shared_.untaken.TryAdd(bytes)) {
    return Finish(ToGrpcStatus(MakeError(
        Reason::kOverloaded, fmt::format("the answers that clients have not taken have more than "
                                         "{} bytes",
                                         shared_.untaken.bytes_max()))));
  }
  answer_bytes_ = bytes;
  VECTRON_CHECK(!finished_.exchange(true));
  connection_->WriteAndFinish(&stream_, std::move(message));
  End();
}

void ServerCall::DeliverRead(bool ok, bool alone) {
  handler_->OnRead(ok, alone);
  End();
}

void ServerCall::OnWritten(bool ok) {
  handler_->OnWritten(ok);
  End();
}

void ServerCall::OnBroken() {
  handler_->OnCancelled();
  End();
}

void ServerCall::End() {
  if (under_way_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  shared_.untaken.Remove(answer_bytes_);
  Shared& shared = shared_;
  delete this;
  shared.live.Leave();
}

}  // namespace vectron::rpc
