#include "rpc/grpc_server.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/thread.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "rpc/channel.h"
#include "rpc/testing/http2_peer.h"
#include "rpc/testing/raw_connection.h"

namespace vectron::rpc {
namespace {

namespace health = ::grpc::health::v1;
namespace reflection = ::grpc::reflection::v1;
using health::HealthCheckRequest;
using health::HealthCheckResponse;
using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using vectron::testing::Connect;
using vectron::testing::PortOf;

// Waits for the end of an operation; whether that went well.
bool Next(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue->Next(&tag, &ok));
  return ok;
}

// Answers with the request's service name, once Release was called if it is "held".
class EchoService final : public Service {
 public:
  using Call = UnaryCall<HealthCheckRequest, HealthCheckRequest>;

  EchoService() : Service("test.Echo") {
    AddUnary<HealthCheckRequest, HealthCheckRequest>("Echo", [this](Call* call) {
      call->response()->set_service(call->request().service());
      if (call->request().service() != "held") return call->Finish(grpc::Status::OK);
      MutexLock lock(mutex_);
      held_ = call;
      changed_.NotifyAll();
    });
  }

  void WaitHeld() {
    MutexLock lock(mutex_);
    while (held_ == nullptr) changed_.Wait(mutex_);
  }
  // Until the held call's client has gone.
  void WaitCancelled() {
    WaitHeld();
    MutexLock lock(mutex_);
    while (!held_->cancelled()) changed_.WaitFor(mutex_, milliseconds(1));
  }
  void Release() {
    MutexLock lock(mutex_);
    held_->Finish(grpc::Status::OK);
    held_ = nullptr;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  Call* held_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class ServedCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = GrpcServer::Start({.listen = "127.0.0.1:0",
                                     .thread_count = 2,
                                     .message_bytes_max = 1 << 20,
                                     .answers_bytes_max = 1 << 20},
                                    {&echo_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = MakeChannel(server_->address(), {.own_connection = true});
  }

  template <typename Response, typename Request>
  grpc::Status Call(const std::string& method, const Request& request, Response* response,
                    grpc::ClientContext* context) {
    grpc::TemplatedGenericStub<Request, Response> stub(channel_);
    grpc::CompletionQueue queue;
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto call = stub.PrepareUnaryCall(context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(response, &status, nullptr);
    Next(&queue);
    return status;
  }
  template <typename Response, typename Request>
  grpc::Status Call(const std::string& method, const Request& request, Response* response) {
    grpc::ClientContext context;
    return Call(method, request, response, &context);
  }

  grpc::Status Echo(const std::string& text, std::string* answer) {
    HealthCheckRequest request;
    request.set_service(text);
    HealthCheckRequest response;
    const grpc::Status status = Call("/test.Echo/Echo", request, &response);
    *answer = response.service();
    return status;
  }

  EchoService echo_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ServedCallsTest, ServesSmallAndLargeCallsFromManyClients) {
  std::vector<std::unique_ptr<Thread>> clients;
  for (int c = 0; c < 4; ++c) {
    clients.push_back(std::make_unique<Thread>("client", ThreadPriority::kNormal, [&, c] {
      for (int i = 0; i < 50; ++i) {
        // Every other one is long enough to be decoded on another thread.
        const std::string text(i % 2 == 0 ? 1 + i : 200'000 + i, static_cast<char>('a' + c));
        std::string answer;
        const grpc::Status status = Echo(text, &answer);
        ASSERT_TRUE(status.ok()) << status.error_message();
        ASSERT_TRUE(answer == text);
      }
    }));
  }
  for (auto& client : clients) client->Join();
}

TEST_F(ServedCallsTest, RefusesUnknownMethodsAndWhatIsNoMessage) {
  std::string text;
  HealthCheckRequest request;
  HealthCheckRequest response;
  const grpc::Status unknown = Call("/test.Echo/Other", request, &response);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(unknown.error_message(), HasSubstr("/test.Echo/Other"));
  EXPECT_EQ(ReasonOf(FromGrpcStatus(unknown)), Reason::kUnknownRoute);

  const grpc::Slice garbage("\xff\xff\xff");
  const grpc::ByteBuffer bytes(&garbage, 1);
  grpc::ByteBuffer answer;
  EXPECT_EQ(ReasonOf(FromGrpcStatus(Call("/test.Echo/Echo", bytes, &answer))),
            Reason::kInvalidArgument);

  request.set_service(std::string(2 << 20, 'x'));
  const grpc::Status large = Call("/test.Echo/Echo", request, &response);
  EXPECT_EQ(large.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(FromGrpcStatus(large)), Reason::kRequestTooLarge);
  EXPECT_TRUE(Echo("goes on", &text).ok());
}

// It could be thousands of times as long as what came, and is not looked at.
TEST_F(ServedCallsTest, RefusesCompressedMessages) {
  HealthCheckRequest request;
  request.set_service(std::string(100'000, 'x'));
  HealthCheckRequest response;
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    const grpc::Status status = Call("/test.Echo/Echo", request, &response, &context);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
    EXPECT_THAT(status.error_message(), HasSubstr("compressed"));
  }
}

TEST_F(ServedCallsTest, AnswersThatNobodyTakesAreBounded) {
  const std::string large(1'040'000, 'x');  // hardly less than all
  HealthCheckRequest request;
  request.set_service(large);
  // Its window stays as small as it begins.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto narrow =
      grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(), arguments);
  grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckRequest> stub(narrow);
  grpc::CompletionQueue queue;
  const auto next = [&queue] { return Next(&queue); };
  grpc::ClientContext context;
  const auto idle = stub.PrepareCall(&context, "/test.Echo/Echo", &queue);
  idle->StartCall(nullptr);
  ASSERT_TRUE(next());
  idle->WriteLast(request, {}, nullptr);
  ASSERT_TRUE(next());

  // Its answer fills the window and waits.
  std::string answer;
  grpc::Status refused;
  for (int i = 0; i < 1000 && refused.ok(); ++i) refused = Echo(large, &answer);
  EXPECT_EQ(ReasonOf(FromGrpcStatus(refused)), Reason::kOverloaded) << refused.error_message();
  EXPECT_TRUE(Echo("small", &answer).ok());
  EXPECT_TRUE(Echo(std::string(60'000, 'x'), &answer).ok());

  HealthCheckRequest response;
  idle->Read(&response, nullptr);
  ASSERT_TRUE(next());
  EXPECT_TRUE(response.service() == large);
  grpc::Status status;
  idle->Finish(&status, nullptr);
  ASSERT_TRUE(next());
  EXPECT_TRUE(status.ok());
  for (int i = 0; i < 1000; ++i) {
    status = Echo(large, &answer);
    if (status.ok()) break;
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(GrpcServerTest, CallsWhoseRequestDoesNotComeAreCancelled) {
  EchoService echo;
  const auto server =
      GrpcServer::Start({.listen = "127.0.0.1:0", .request_patience = milliseconds(200)}, {&echo});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto channel = MakeChannel((*server)->address(), {.own_connection = true});
  grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckRequest> stub(channel);
  grpc::CompletionQueue queue;
  const auto next = [&queue] { return Next(&queue); };
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto silent = stub.PrepareCall(&context, "/test.Echo/Echo", &queue);
  silent->StartCall(nullptr);
  ASSERT_TRUE(next());
  HealthCheckRequest response;
  silent->Read(&response, nullptr);
  EXPECT_FALSE(next());
  grpc::Status status;
  silent->Finish(&status, nullptr);
  ASSERT_TRUE(next());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED) << status.error_message();
}

TEST_F(ServedCallsTest, TellsACallThatItsClientHasGone) {
  grpc::ClientContext context;
  Thread client("client", ThreadPriority::kNormal, [&] {
    HealthCheckRequest request;
    request.set_service("held");
    HealthCheckRequest response;
    EXPECT_EQ(Call("/test.Echo/Echo", request, &response, &context).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  echo_.WaitHeld();
  context.TryCancel();
  echo_.WaitCancelled();
  client.Join();
  echo_.Release();
}

TEST_F(ServedCallsTest, AStopWaitsForCallsUnderWay) {
  std::string answer;
  Thread client("client", ThreadPriority::kNormal,
                [&] { EXPECT_TRUE(Echo("held", &answer).ok()); });
  echo_.WaitHeld();
  Thread stop("stop", ThreadPriority::kNormal, [&] { server_->Shutdown(milliseconds(20'000)); });
  echo_.Release();
  client.Join();
  stop.Join();
  EXPECT_EQ(answer, "held");
  EXPECT_FALSE(Echo("too late", &answer).ok());
}

// One that has no call under way, and does not close its connection when it is told to.
TEST_F(ServedCallsTest, AStopDoesNotWaitForPeersThatDoNotHangUp) {
  const OwnedFd mute = Connect(PortOf(server_->address()));
  // The preface and empty SETTINGS (RFC 9113, 3.4): a connection, and no more.
  constexpr std::string_view kHello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  ASSERT_EQ(send(mute.get(), kHello.data(), kHello.size(), 0), static_cast<ssize_t>(kHello.size()));
  char settings = 0;
  ASSERT_EQ(recv(mute.get(), &settings, 1, 0), 1);
  const TimePoint begin = SystemClock().Now();
  server_->Shutdown(milliseconds(60'000));
  EXPECT_LT(SystemClock().Now() - begin, milliseconds(30'000));
}

// Whoever takes the port for another.
TEST_F(ServedCallsTest, SaysWhatItSpeaks) {
  const OwnedFd stranger = Connect(PortOf(server_->address()));
  constexpr std::string_view kRequest = "GET /collections HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(send(stranger.get(), kRequest.data(), kRequest.size(), 0),
            static_cast<ssize_t>(kRequest.size()));
  std::string answer(1'000, '\0');
  const ssize_t bytes = recv(stranger.get(), answer.data(), answer.size(), MSG_WAITALL);
  ASSERT_GT(bytes, 0);
  answer.resize(static_cast<size_t>(bytes));
  EXPECT_THAT(answer, ::testing::StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer, HasSubstr("speaks gRPC"));
  const size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(answer.size() - body)));
}

// A client may wait for it before it says a word.
TEST_F(ServedCallsTest, SpeaksFirstIfNobodyElseDoes) {
  const OwnedFd silent = Connect(PortOf(server_->address()));
  char frame[9];
  ASSERT_EQ(recv(silent.get(), frame, sizeof(frame), MSG_WAITALL), 9);
  EXPECT_EQ(frame[3], 4) << "not SETTINGS";
}

// Connections that end in every way while their calls are served by other threads.
TEST_F(ServedCallsTest, ClientsMayGoAtAnyMoment) {
  constexpr int kRounds = 60;
  std::vector<std::unique_ptr<Thread>> clients;
  for (int c = 0; c < 4; ++c) {
    clients.push_back(std::make_unique<Thread>("client", ThreadPriority::kNormal, [&, c] {
      for (int i = 0; i < kRounds; ++i) {
        vectron::testing::Http2Peer peer;
        const OwnedFd fd = Connect(PortOf(server_->address()));
        HealthCheckRequest request;
        request.set_service(std::string(i % 3 == 0 ? 100'000 : 10, 'x'));
        const std::string message = vectron::testing::Framed(request.SerializeAsString());
        const auto headers = vectron::testing::Http2Peer::GrpcHeaders("/test.Echo/Echo");
        std::string bytes;
        for (int k = 0; k < 5; ++k) {
          const int32_t id = peer.Request(headers, message);
          bytes += peer.Take();
          if (k == i % 5) {
            peer.Reset(id);
            bytes += peer.Take();
          }
        }
        // Cut off anywhere, or all of it.
        bytes.resize(bytes.size() - (i % 2) * (bytes.size() * static_cast<size_t>(c) / 4));
        for (size_t sent = 0; sent < bytes.size();) {
          const ssize_t part =
              send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
          ASSERT_GT(part, 0);
          sent += static_cast<size_t>(part);
        }
        if (i % 4 != 0) continue;
        char answer[1024];
        ASSERT_GT(recv(fd.get(), answer, sizeof(answer), 0), 0);
      }
    }));
  }
  for (auto& client : clients) client->Join();
  std::string answer;
  EXPECT_TRUE(Echo("goes on", &answer).ok());
}

TEST_F(ServedCallsTest, ChecksAndWatchesHealth) {
  HealthCheckRequest request;
  HealthCheckResponse response;
  ASSERT_TRUE(Call("/grpc.health.v1.Health/Check", request, &response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  request.set_service("test.Echo");
  ASSERT_TRUE(Call("/grpc.health.v1.Health/Check", request, &response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  request.set_service("test.Other");
  EXPECT_EQ(Call("/grpc.health.v1.Health/Check", request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);

  request.set_service("test.Echo");
  grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckResponse> stub(channel_);
  grpc::CompletionQueue queue;
  const auto next = [&queue] { return Next(&queue); };
  grpc::ClientContext context;
  const auto watch = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  watch->StartCall(nullptr);
  ASSERT_TRUE(next());
  watch->WriteLast(request, {}, nullptr);
  ASSERT_TRUE(next());
  watch->Read(&response, nullptr);
  ASSERT_TRUE(next());
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  // Ends with the server.
  Thread stop("stop", ThreadPriority::kNormal, [&] { server_->Shutdown(milliseconds(20'000)); });
  watch->Read(&response, nullptr);
  EXPECT_FALSE(next());
  grpc::Status status;
  watch->Finish(&status, nullptr);
  next();
  EXPECT_FALSE(status.ok());
  stop.Join();
}

TEST_F(ServedCallsTest, DescribesItsServices) {
  using reflection::ServerReflectionRequest;
  using reflection::ServerReflectionResponse;
  for (const char* version : {"v1", "v1alpha"}) {
    const std::string method =
        std::string("/grpc.reflection.") + version + ".ServerReflection/ServerReflectionInfo";
    const auto ask = [&](const ServerReflectionRequest& request) {
      ServerReflectionResponse response;
      const grpc::Status status = Call(method, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      return response;
    };
    ServerReflectionRequest request;
    request.set_list_services("*");
    std::vector<std::string> names;
    const auto listed = ask(request);
    for (const auto& service : listed.list_services_response().service()) {
      names.push_back(service.name());
    }
    EXPECT_THAT(names, Contains("test.Echo"));
    EXPECT_THAT(names, Contains("grpc.health.v1.Health"));

    request.set_file_containing_symbol("grpc.health.v1.Health");
    const auto found = ask(request);
    ASSERT_EQ(found.file_descriptor_response().file_descriptor_proto_size(), 1);
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(found.file_descriptor_response().file_descriptor_proto(0)));
    EXPECT_EQ(file.package(), "grpc.health.v1");
    request.set_file_by_filename("no/such.proto");
    EXPECT_EQ(ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

}  // namespace
}  // namespace vectron::rpc
