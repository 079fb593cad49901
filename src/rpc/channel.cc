#include "rpc/channel.h"

namespace vectron::rpc {

using std::chrono::milliseconds;
using std::chrono::system_clock;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
  arguments.SetMaxSendMessageSize(-1);  // the server's limit decides
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(options.keepalive_interval.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(options.keepalive_timeout.count()));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // Despite its name how long one attempt may take, handshake included: a busy
  // machine needs more than a moment for it.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(options.reconnect_backoff_max.count()));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, options.own_connection ? 1 : 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// gRPC tells deadlines in wall time; what counts is how far away they are.
Deadline DeadlineOf(const grpc::ServerContextBase& context, const Clock& clock) {
  const system_clock::time_point deadline = context.deadline();
  if (deadline == system_clock::time_point::max()) return kNoDeadline;
  const system_clock::time_point now{milliseconds(clock.WallTimeMs())};
  // Years away is never: adding it to the clock might overflow.
  if (deadline - now > std::chrono::hours(24 * 365)) return kNoDeadline;
  return clock.Now() + std::chrono::duration_cast<Duration>(deadline - now);
}

void SetDeadline(Deadline deadline, const Clock& clock, grpc::ClientContext* context) {
  if (deadline == kNoDeadline) return;
  const system_clock::time_point now{milliseconds(clock.WallTimeMs())};
  context->set_deadline(now +
                        std::chrono::duration_cast<system_clock::duration>(deadline - clock.Now()));
}

}  // namespace vectron::rpc
