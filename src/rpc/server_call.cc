#include "rpc/server_call.h"

#include <fmt/format.h>

#include <utility>

#include "common/check.h"
#include "common/error.h"
#include "rpc/status.h"

namespace vectron::rpc {

void ServerCall::Await(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue,
                       Shared* shared) {
  auto* call = new ServerCall(shared);
  // Must be asked for before the call comes; is told only of calls that came.
  call->context_.AsyncNotifyWhenDone(&call->ended_);
  service->RequestCall(&call->context_, &call->stream_, queue, queue, &call->accepted_);
}

void ServerCall::Serve(std::shared_ptr<CallHandler> handler) {
  handler_ = std::move(handler);
  shared_.live.Enter();
  // Keeps the call while the handler begins, which may finish it.
  Begin();
  handler_->OnStart(this);
  End();
}

void ServerCall::Read(grpc::ByteBuffer* message) {
  Begin();
  message_ = message;
  stream_.Read(message, &read_);
}

void ServerCall::Write(const grpc::ByteBuffer& message) {
  Begin();
  stream_.Write(message, &written_);
}

void ServerCall::Finish(const grpc::Status& status) {
  VECTRON_CHECK(!finished_.exchange(true));
  stream_.Finish(status, &finish_);
}

void ServerCall::WriteAndFinish(const grpc::ByteBuffer& message) {
  const size_t bytes = message.Length();
  if (!shared_.untaken.TryAdd(bytes)) {
    return Finish(ToGrpcStatus(MakeError(
        Reason::kOverloaded, fmt::format("the answers that clients have not taken have more than "
                                         "{} bytes",
                                         shared_.untaken.bytes_max()))));
  }
  answer_bytes_ = bytes;
  VECTRON_CHECK(!finished_.exchange(true));
  stream_.WriteAndFinish(message, grpc::WriteOptions(), grpc::Status::OK, &finish_);
}

void ServerCall::OnEvent(Event::Kind kind, bool ok) {
  if (kind == Event::Kind::kWritten) handler_->OnWritten(ok);
  if (kind == Event::Kind::kFinished) shared_.untaken.Remove(answer_bytes_);
  if (kind == Event::Kind::kEnded && context_.IsCancelled()) handler_->OnCancelled();
  End();
}

void ServerCall::DeliverRead(bool ok, bool alone) {
  handler_->OnRead(ok, alone);
  End();
}

void ServerCall::End() {
  if (under_way_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const std::shared_ptr<CallHandler> handler = std::move(handler_);
  Shared& shared = shared_;
  delete this;
  handler->OnDone();
  shared.live.Leave();
}

}  // namespace vectron::rpc
