#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>

namespace vectron::gateway {

// The reactor of a unary call whose client may stop waiting: knows whether it did.
// Deletes itself when the call is over.
class ReadReactor final : public grpc::ServerUnaryReactor {
 public:
  // Valid until Finish.
  const std::atomic<bool>* cancelled() const { return &cancelled_; }

  void OnCancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  void OnDone() override { delete this; }
  // Neither of them does more than that, so they may run where the event is found:
  // handing them to gRPC's executor would cost more than a small read.
  bool InternalInlineable() override { return true; }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace vectron::gateway
