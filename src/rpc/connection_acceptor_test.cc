#include "rpc/connection_acceptor.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <sstream>

#include "common/mutex.h"
#include "rpc/channel.h"
#include "rpc/grpc_server.h"
#include "rpc/status.h"
#include "rpc/testing/raw_connection.h"

namespace vectron::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using vectron::testing::Connect;
using vectron::testing::PortOf;

// All that the server sends until it closes.
std::string ReadAll(int fd) {
  std::string all;
  char bytes[4096];
  for (ssize_t got = 0; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
    all.append(bytes, static_cast<size_t>(got));
  }
  return all;
}

size_t OpenFileCount() {
  DIR* dir = opendir("/proc/self/fd");
  size_t count = 0;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

bool Eventually(const std::function<bool()>& holds) {
  const TimePoint until = SystemClock().Now() + seconds(20);
  while (!holds()) {
    if (SystemClock().Now() > until) return false;
    SleepUntil(SystemClock().Now() + milliseconds(5));
  }
  return true;
}

// The sockets that an acceptor handed on.
class Taken {
 public:
  ConnectionAcceptor::TakeSocket Taker() {
    return [this](AdmittedSocket socket) {
      MutexLock lock(mutex_);
      sockets_.push_back(std::move(socket));
    };
  }
  size_t count() const {
    MutexLock lock(mutex_);
    return sockets_.size();
  }
  void CloseOne() {
    MutexLock lock(mutex_);
    sockets_.pop_back();
  }

 private:
  mutable Mutex mutex_;
  std::vector<AdmittedSocket> sockets_;
};

TEST(ConnectionAcceptorTest, HandsOnAsManyAsItMayAndTakesMoreWhenSomeWereClosed) {
  Taken taken;
  std::atomic<int> refused = 0;
  ConnectionAcceptorOptions options;
  options.listen = "127.0.0.1:0";
  options.connections_max = 3;
  options.on_refused = [&] { ++refused; };
  auto acceptor = ConnectionAcceptor::Listen(std::move(options));
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  const uint16_t port = PortOf((*acceptor)->address());
  (*acceptor)->Start(taken.Taker());
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect(port));
  ASSERT_TRUE(Eventually([&] { return taken.count() == 3; }));

  const OwnedFd fourth = Connect(port);
  // It asks for nothing, and is told in the end all the same.
  EXPECT_THAT(ReadAll(fourth.get()), HasSubstr("too many connections, the limit is 3"));
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(taken.count(), 3u);

  taken.CloseOne();
  const OwnedFd fifth = Connect(port);
  EXPECT_TRUE(Eventually([&] { return taken.count() == 3; }));
  EXPECT_EQ(refused, 1);
  (*acceptor)->Stop();
  EXPECT_FALSE(Connect(port));
}

TEST(ConnectionAcceptorTest, ListensOnEveryKindOfAddress) {
  for (const std::string host : {"127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::1]"}) {
    ConnectionAcceptorOptions options;
    options.listen = host + ":0";
    auto acceptor = ConnectionAcceptor::Listen(std::move(options));
    if (!acceptor.ok() && host.front() == '[') continue;  // a machine without IPv6
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    const std::string address = (*acceptor)->address();
    EXPECT_EQ(address.substr(0, host.size() + 1), host + ":");
    EXPECT_NE(PortOf(address), 0);
    if (host != "[::1]") {
      EXPECT_TRUE(Connect(PortOf(address))) << address;
    }
    // Nobody else gets the port.
    ConnectionAcceptorOptions second;
    second.listen = address;
    const auto taken = ConnectionAcceptor::Listen(std::move(second));
    EXPECT_EQ(ReasonOf(taken.status()), Reason::kUnavailable);
    EXPECT_THAT(std::string(taken.status().message()), HasSubstr(address));
    EXPECT_THAT(std::string(taken.status().message()), HasSubstr("in use"));
  }
}

TEST(ConnectionAcceptorTest, RefusesWhatIsNoAddress) {
  for (const char* listen :
       {"nowhere", "", ":1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:5", "[::1:5"}) {
    ConnectionAcceptorOptions options;
    options.listen = listen;
    EXPECT_EQ(ReasonOf(ConnectionAcceptor::Listen(std::move(options)).status()),
              Reason::kInvalidArgument)
        << listen;
  }
  ConnectionAcceptorOptions options;
  options.listen = "no-such-host.invalid:1";
  EXPECT_EQ(ReasonOf(ConnectionAcceptor::Listen(std::move(options)).status()),
            Reason::kUnavailable);
}

TEST(ConnectionAcceptorTest, WaitsWhenThereAreNoDescriptors) {
  Taken taken;
  ConnectionAcceptorOptions options;
  options.listen = "127.0.0.1:0";
  auto acceptor = ConnectionAcceptor::Listen(std::move(options));
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  (*acceptor)->Start(taken.Taker());
  const OwnedFd client = Connect(PortOf((*acceptor)->address()));
  ASSERT_TRUE(Eventually([&] { return taken.count() == 1; }));

  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  OwnedFd waiting(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Every descriptor below the limit is taken.
  std::vector<OwnedFd> fill;
  do {
    fill.emplace_back(dup(waiting.get()));
  } while (fill.back().get() < waiting.get());
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(fill.back().get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(PortOf((*acceptor)->address()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(waiting.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  const std::clock_t cpu_before = std::clock();
  SleepUntil(SystemClock().Now() + milliseconds(400));
  const double cpu_seconds = static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(cpu_seconds, 0.1);
  EXPECT_TRUE(Eventually([&] { return taken.count() == 2; }));
}

// The status of an empty call to a service that every server has.
grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  SetDeadline(SystemClock().Now() + seconds(10), SystemClock(), &context);
  grpc::CompletionQueue queue;
  const grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

TEST(GrpcServerTest, CallsOfAConnectionTooManyFailWithTheReason) {
  std::atomic<int> refused = 0;
  auto server = GrpcServer::Start(
      {.listen = "127.0.0.1:0", .connections_max = 2, .on_connection_refused = [&] { ++refused; }},
      {});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto connect = [&] { return MakeChannel((*server)->address(), {.own_connection = true}); };
  auto first = connect();
  auto second = connect();
  EXPECT_TRUE(Check(first).ok());
  EXPECT_TRUE(Check(second).ok());

  const auto third = connect();
  const TimePoint begin = SystemClock().Now();
  const grpc::Status status = Check(third);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "too many connections, the limit is 2");
  EXPECT_EQ(ReasonOf(FromGrpcStatus(status)), Reason::kTooManyConnections);
  EXPECT_LT(SystemClock().Now() - begin, seconds(5));
  EXPECT_EQ(refused, 1);
  EXPECT_TRUE(Check(first).ok());

  second.reset();
  EXPECT_TRUE(Eventually([&] { return Check(third).ok(); }));
}

TEST(GrpcServerTest, ConnectionsThatComeAndGoLeaveNothingBehind) {
  auto server = GrpcServer::Start({.listen = "127.0.0.1:0", .connections_max = 64}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Check(MakeChannel((*server)->address(), {.own_connection = true})).ok());
  const uint16_t port = PortOf((*server)->address());
  const size_t files_before = OpenFileCount();
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(Connect(port));
  EXPECT_TRUE(Eventually([&] { return OpenFileCount() <= files_before; }));
  EXPECT_TRUE(Eventually(
      [&] { return Check(MakeChannel((*server)->address(), {.own_connection = true})).ok(); }));
}

TEST(GrpcServerTest, WhatGrpcLogsGoesToOurLog) {
  ASSERT_TRUE(GrpcServer::Start({.listen = "127.0.0.1:0"}, {}).ok());
  std::ostringstream lines;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
  gpr_log(GPR_ERROR, "it went %s", "wrong");
  spdlog::set_default_logger(before);
  EXPECT_THAT(lines.str(), HasSubstr("gRPC: it went wrong"));
}

TEST(GrpcServerTest, AConnectionThatSaysNothingIsClosed) {
  auto server =
      GrpcServer::Start({.listen = "127.0.0.1:0", .handshake_timeout = milliseconds(200)}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  const OwnedFd silent = Connect(PortOf((*server)->address()));
  const TimePoint begin = SystemClock().Now();
  ReadAll(silent.get());
  EXPECT_LT(SystemClock().Now() - begin, seconds(5));
}

TEST(GrpcServerTest, AnIdleConnectionIsClosed) {
  auto server = GrpcServer::Start({.listen = "127.0.0.1:0", .idle_timeout = milliseconds(300)}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto channel = MakeChannel((*server)->address(), {.own_connection = true});
  ASSERT_TRUE(Check(channel).ok());
  EXPECT_TRUE(Eventually(
      [&] { return channel->GetState(false) != grpc_connectivity_state::GRPC_CHANNEL_READY; }));
}

}  // namespace
}  // namespace vectron::rpc
