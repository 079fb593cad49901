#include "rpc/channel.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>

#include <mutex>

#include "common/logging.h"

namespace vectron::rpc {
namespace {

// gRPC writes its lines to stderr by itself, in a form of its own.
void LogForGrpc(gpr_log_func_args* line) {
  switch (line->severity) {
    case GPR_LOG_SEVERITY_DEBUG:
      return VECTRON_LOG_DEBUG("gRPC: {}", line->message);
    case GPR_LOG_SEVERITY_INFO:
      return VECTRON_LOG_INFO("gRPC: {}", line->message);
    case GPR_LOG_SEVERITY_ERROR:
      return VECTRON_LOG_ERROR("gRPC: {}", line->message);
  }
}

// For the process, before its first channel.
void SetUpGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // The distribution builds abseil with its search for lock cycles, which every
    // lock that gRPC takes would pay for.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    gpr_set_log_function(LogForGrpc);
  });
}

}  // namespace

using std::chrono::milliseconds;
using std::chrono::system_clock;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const ChannelOptions& options) {
  SetUpGrpc();
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
void SetDeadline(Deadline deadline, const Clock& clock, grpc::ClientContext* context) {
  if (deadline == kNoDeadline) return;
  const system_clock::time_point now{milliseconds(clock.WallTimeMs())};
  context->set_deadline(now +
                        std::chrono::duration_cast<system_clock::duration>(deadline - clock.Now()));
}

}  // namespace vectron::rpc
