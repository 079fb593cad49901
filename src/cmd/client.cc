#include "cmd/client.h"

#include <fmt/format.h>

#include "common/clock.h"
#include "rpc/channel.h"

namespace vectron::cmd {

Client::Client(const std::string& server)
    : server_(server),
      channel_(rpc::MakeChannel(server, {.own_connection = true})),
      stub_(v1::Vectron::NewStub(channel_)) {}

Status Client::WaitConnected(std::chrono::milliseconds timeout) {
  const gpr_timespec deadline =
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(static_cast<int64_t>(timeout.count()), GPR_TIMESPAN));
  if (channel_->WaitForConnected(deadline)) return OkStatus();
  return MakeError(Reason::kUnavailable,
                   fmt::format("no vectron server answers on {} (gRPC)", server_));
}

void SetTimeout(grpc::ClientContext* context, std::chrono::milliseconds timeout) {
  rpc::SetDeadline(SystemClock().Now() + timeout, SystemClock(), context);
}

}  // namespace vectron::cmd
