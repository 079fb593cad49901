#include "cmd/bench/rpc_baseline.h"

#include <fmt/format.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <vector>

#include "cmd/client.h"
#include "rpc/status.h"

namespace vectron::cmd {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
constexpr std::chrono::milliseconds kCallTimeout{10'000};
constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";

// One thread's connection. Calls are made without generated code: the request is
// empty, and the answer is not looked at.
class BaselineClient {
 public:
  explicit BaselineClient(const std::string& server) : client_(server), stub_(client_.channel()) {}
  ~BaselineClient() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  Status WaitConnected() { return client_.WaitConnected(kConnectTimeout); }

  Status Call() {
    grpc::ClientContext context;
    SetTimeout(&context, kCallTimeout);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub_.PrepareUnaryCall(&context, kHealthCheck, request_, &queue_);
    call->StartCall();
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return rpc::FromGrpcStatus(status);
  }

 private:
  Client client_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  const grpc::Slice empty_;
  const grpc::ByteBuffer request_{&empty_, 1};
};

}  // namespace

Status RunRpcBaseline(const RpcBaselineOptions& options) {
  std::vector<std::unique_ptr<BaselineClient>> clients;
  for (int i = 0; i < options.load.client_count; ++i) {
    clients.push_back(std::make_unique<BaselineClient>(options.server));
    VECTRON_RETURN_IF_ERROR(clients.back()->WaitConnected());
  }
  VECTRON_ASSIGN_OR_RETURN(const LoadResult result,
                           RunLoad(options.load, [&](int client, uint64_t) {
                             return clients[static_cast<size_t>(client)]->Call();
                           }));
  JsonWriter json;
  json.Field("method", kHealthCheck);
  WriteLoad(options.load, result, &json);
  fmt::print("{}", json.Finish());
  return result.FirstError();
}

}  // namespace vectron::cmd
