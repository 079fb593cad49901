#include "gateway/rest/http/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/thread.h"
#include "gateway/rest/http/test_client.h"

namespace vectron::gateway::rest {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// A server that answers with what it was asked: "METHOD TARGET BODY". Some targets do
// something else; see Handle.
class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.on_refused = [this](int status) { last_refusal_ = status; };
    server_ = std::make_unique<HttpServer>(
        std::move(options), [this](const HttpExchangePtr& exchange) { Handle(exchange); },
        &SystemClock());
    ASSERT_TRUE(server_->Start().ok());
  }

  // Until no more than `count` are left; for 5 s at most.
  void WaitForConnections(size_t count) {
    for (int i = 0; i < 500 && server_->connection_count() > count; ++i) usleep(10'000);
    EXPECT_LE(server_->connection_count(), count);
  }

  void TearDown() override {
    if (server_ != nullptr) server_->Stop();
    MutexLock lock(mutex_);
    kept_.clear();
  }

  void Handle(const HttpExchangePtr& exchange) {
    const HttpRequest& request = exchange->request();
    if (request.target == "/throw") throw std::runtime_error("the handler threw");
    if (request.target == "/drop") return;
    if (request.target == "/keep") {
      MutexLock lock(mutex_);
      kept_.push_back(exchange);
      kept_changed_.NotifyAll();
      return;
    }
    if (request.target == "/block") SleepUntil(SystemClock().Now() + milliseconds(600));
    if (request.target == "/large") {
      return exchange->Respond({.body = std::string(32 << 20, 'x')});
    }
    exchange->Respond({.content_type = "text/plain",
                       .body = request.method + " " + request.target + " " + request.body});
  }

  HttpExchangePtr TakeKept() {
    MutexLock lock(mutex_);
    while (kept_.empty()) kept_changed_.Wait(mutex_);
    HttpExchangePtr exchange = kept_.back();
    kept_.pop_back();
    return exchange;
  }

  std::unique_ptr<TestClient> Connect() { return std::make_unique<TestClient>(server_->port()); }

  std::atomic<int> last_refusal_{0};
  std::unique_ptr<HttpServer> server_;
  Mutex mutex_;
  CondVar kept_changed_;
  std::vector<HttpExchangePtr> kept_;
};

TEST_F(HttpServerTest, KeepsConnectionsAlive) {
  Start();
  auto client = Connect();
  for (int i = 0; i < 100; ++i) {
    const auto response = client->Do("POST", fmt::format("/{}", i), "body");
    ASSERT_EQ(response.status, 200);
    ASSERT_EQ(response.body, fmt::format("POST /{} body", i));
  }
  EXPECT_EQ(server_->connection_count(), 1u);
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  auto client = Connect();
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += MakeRequest(i % 2 == 0 ? "GET" : "PUT", fmt::format("/{}", i), i % 2 == 0 ? "" : "b");
  }
  ASSERT_TRUE(client->Send(bytes));
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(client->Read().body, HasSubstr(fmt::format(" /{} ", i)));
  }
}

TEST_F(HttpServerTest, ReadsRequestsThatComeByteByByte) {
  Start();
  auto client = Connect();
  for (const char byte : MakeRequest("PUT", "/slow", "abc")) {
    ASSERT_TRUE(client->Send({&byte, 1}));
  }
  EXPECT_EQ(client->Read().body, "PUT /slow abc");
}

TEST_F(HttpServerTest, ReadsChunkedBodies) {
  Start();
  auto client = Connect();
  ASSERT_TRUE(
      client->Send("PUT /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n"));
  EXPECT_EQ(client->Read().body, "PUT /chunked abcdefg");
  EXPECT_EQ(client->Do("GET", "/next").body, "GET /next ");
}

TEST_F(HttpServerTest, SaysContinueToThoseWhoExpectIt) {
  Start();
  auto client = Connect();
  ASSERT_TRUE(client->Send(
      "PUT /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client->Read().status, 100);
  ASSERT_TRUE(client->Send("abc"));
  EXPECT_EQ(client->Read().body, "PUT /c abc");
  const auto refused = client->Do("GET", "/", "", "Expect: tea\r\n");
  EXPECT_EQ(refused.status, 417);
  EXPECT_THAT(refused.body, HasSubstr(R"("reason":"EXPECTATION_FAILED")"));
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  Start();
  auto client = Connect();
  const auto response = client->Do("HEAD", "/x");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Content-Length"), "8");
  EXPECT_EQ(client->Do("GET", "/y").body, "GET /y ");
}

TEST_F(HttpServerTest, ClosesWhenAskedTo) {
  Start();
  auto client = Connect();
  const auto response = client->Do("GET", "/x", "", "Connection: close\r\n");
  EXPECT_EQ(response.Header("Connection"), "close");
  EXPECT_TRUE(client->IsClosed());
  auto old = Connect();
  ASSERT_TRUE(old->Send("GET /old HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(old->Read().body, "GET /old ");
  EXPECT_TRUE(old->IsClosed());
}

TEST_F(HttpServerTest, RefusesABodyThatIsTooLargeSoThatTheClientReadsWhy) {
  Start({.body_bytes_max = 1 << 20});
  // By its length, before it is sent; and after all of it was sent.
  const std::string body(8 << 20, 'x');
  for (const bool send_body : {false, true}) {
    auto client = Connect();
    ASSERT_TRUE(client->Send(
        fmt::format("PUT /big HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.size())));
    if (send_body) client->Send(body);
    const auto response = client->Read();
    EXPECT_EQ(response.status, 413) << send_body;
    EXPECT_THAT(response.body, HasSubstr("the body is larger than 1048576 bytes"));
    EXPECT_THAT(response.body, HasSubstr(R"("reason":"REQUEST_TOO_LARGE")"));
    client->EndSending();
    EXPECT_TRUE(client->IsClosed());
  }
  auto chunked = Connect();
  ASSERT_TRUE(chunked->Send(
      "PUT /big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n"));
  chunked->Send(body);
  EXPECT_EQ(chunked->Read().status, 413);
  EXPECT_EQ(last_refusal_, 413);
  EXPECT_EQ(Connect()->Do("PUT", "/fits", std::string(1 << 20, 'y')).status, 200);
}

TEST_F(HttpServerTest, RefusesMoreBodiesThanFitTogether) {
  Start({.body_bytes_max = 1 << 20, .bodies_bytes_max = 1 << 20});
  auto first = Connect();
  ASSERT_TRUE(first->Send(MakeRequest("PUT", "/keep", std::string(600 << 10, 'x'))));
  const HttpExchangePtr kept = TakeKept();
  EXPECT_EQ(Connect()->Do("PUT", "/second", std::string(600 << 10, 'x')).status, 429);
  kept->Respond({.body = "done"});
  EXPECT_EQ(first->Read().body, "done");
  EXPECT_EQ(Connect()->Do("PUT", "/third", std::string(600 << 10, 'x')).status, 200);
}

TEST_F(HttpServerTest, RefusesAHeaderThatIsTooLarge) {
  Start({.header_bytes_max = 4 << 10});
  auto client = Connect();
  ASSERT_TRUE(
      client->Send("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(8 << 10, 'x') + "\r\n\r\n"));
  const auto response = client->Read();
  EXPECT_EQ(response.status, 431);
  EXPECT_THAT(response.body, HasSubstr(R"("reason":"HEADER_TOO_LARGE")"));
  auto target = Connect();
  ASSERT_TRUE(target->Send("GET /" + std::string(200 << 10, 'x') + " HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(target->Read().status, 431);
}

TEST_F(HttpServerTest, RefusesWhatIsNotHttp) {
  Start();
  for (const std::string bytes :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls\r\n\r\n"}) {
    auto client = Connect();
    ASSERT_TRUE(client->Send(bytes));
    EXPECT_EQ(client->Read().status, 400) << bytes;
    EXPECT_EQ(last_refusal_.exchange(0), 400);
  }
  auto compressed = Connect();
  EXPECT_EQ(compressed->Do("PUT", "/", "abc", "Content-Encoding: gzip\r\n").status, 415);
}

TEST_F(HttpServerTest, SaysWhichHeaderIsWrong) {
  Start();
  const auto error = [&](const std::string& headers) {
    auto client = Connect();
    EXPECT_TRUE(client->Send("PUT / HTTP/1.1\r\n" + headers + "\r\n0\r\n\r\n"));
    const auto response = client->Read();
    EXPECT_EQ(response.status, 400) << headers;
    return response.body;
  };
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  EXPECT_THAT(error(chunked), HasSubstr("no Host header"));
  EXPECT_THAT(error("Host: x\r\nHost: x\r\n" + chunked), HasSubstr("more than one Host header"));
  for (const std::string codings :
       {"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n"}) {
    EXPECT_THAT(error("Host: x\r\n" + codings), HasSubstr("understood is chunked")) << codings;
  }
}

TEST_F(HttpServerTest, SkipsAnEmptyLineBeforeARequest) {
  Start();
  auto client = Connect();
  for (const bool pipelined : {false, true}) {
    ASSERT_TRUE(client->Send("\r\n" + MakeRequest("PUT", "/1", "abc") +
                             (pipelined ? "\r\n" + MakeRequest("GET", "/2", "") : "")));
    EXPECT_EQ(client->Read().body, "PUT /1 abc");
    if (!pipelined) continue;
    EXPECT_EQ(client->Read().body, "GET /2 ");
  }
  ASSERT_TRUE(client->Send("\r\n\r\n" + MakeRequest("GET", "/3", "")));
  EXPECT_EQ(client->Read().status, 400);
}

TEST_F(HttpServerTest, AnEmptyLineBehindABodyIsNoRequest) {
  Start({.header_timeout = milliseconds(100)});
  for (const bool together : {true, false}) {
    auto client = Connect();
    const std::string request = MakeRequest("PUT", "/1", "abc");
    ASSERT_TRUE(client->Send(together ? request + "\r\n" : request));
    EXPECT_EQ(client->Read().body, "PUT /1 abc");
    ASSERT_TRUE(client->Send(together ? "" : "\r\n"));
    SleepUntil(SystemClock().Now() + milliseconds(300));
    EXPECT_EQ(client->Do("GET", "/2").body, "GET /2 ") << together;
    EXPECT_EQ(last_refusal_, 0);
  }
}

TEST_F(HttpServerTest, AnswersHalfARequest) {
  Start();
  for (const std::string bytes : {"GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n",
                                  "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"}) {
    auto client = Connect();
    ASSERT_TRUE(client->Send(bytes));
    client->EndSending();
    const auto response = client->Read();
    EXPECT_EQ(response.status, 400) << bytes;
    EXPECT_THAT(response.body, HasSubstr("ended before it was complete"));
    EXPECT_TRUE(client->IsClosed());
  }
}

TEST_F(HttpServerTest, GivesUpOnSlowClients) {
  Start({.idle_timeout = milliseconds(100),
         .header_timeout = milliseconds(100),
         .body_timeout = milliseconds(100)});
  auto silent = Connect();
  EXPECT_TRUE(silent->IsClosed());
  auto header = Connect();
  ASSERT_TRUE(header->Send("GET / HTTP/1.1\r\n"));
  EXPECT_EQ(header->Read().status, 408);
  auto body = Connect();
  ASSERT_TRUE(body->Send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
  const auto late = body->Read();
  EXPECT_EQ(late.status, 408);
  EXPECT_THAT(late.body, HasSubstr(R"("reason":"REQUEST_TIMEOUT")"));
  EXPECT_EQ(last_refusal_, 408);
}

TEST_F(HttpServerTest, TimeThatRunsOutWhileBytesAreTakenIsNoticed) {
  Start({.thread_count = 1,
         .body_bytes_max = 300 << 10,
         .header_timeout = milliseconds(300),
         .body_timeout = milliseconds(300)});
  // When the loop is free again it finds both the bytes, which are more than it reads at once,
  // and the time over.
  const auto status = [&](const std::string& begin, const std::string& rest) {
    auto client = Connect();
    EXPECT_TRUE(client->Send(begin));
    SleepUntil(SystemClock().Now() + milliseconds(20));
    auto other = Connect();
    EXPECT_TRUE(other->Send(MakeRequest("GET", "/block", "")));
    SleepUntil(SystemClock().Now() + milliseconds(20));
    EXPECT_TRUE(client->Send(rest));
    return client->Read().status;
  };
  const std::string put = "PUT / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(status(put + "X: ", std::string(4 << 10, 'x')), 408);
  EXPECT_EQ(status(put + "Content-Length: 250000\r\n\r\n", std::string(200'000, 'x')), 408);
  // What has come is looked at first.
  EXPECT_EQ(status(put + "Content-Length: 600\r\n\r\n", std::string(600, 'x')), 200);
  EXPECT_EQ(status(put + "Transfer-Encoding: chunked\r\n\r\n1\r\n", "a\r\nfffff\r\n"), 413);
}

TEST_F(HttpServerTest, ClosesOnClientsThatDoNotRead) {
  Start({.write_timeout = milliseconds(5)});
  auto client = Connect();
  ASSERT_EQ(client->Do("GET", "/").status, 200);
  ASSERT_EQ(server_->connection_count(), 1u);
  ASSERT_TRUE(client->Send(MakeRequest("GET", "/large", "")));
  for (int i = 0; i < 500 && server_->connection_count() > 0; ++i) usleep(10'000);
  EXPECT_EQ(server_->connection_count(), 0u);
}

TEST_F(HttpServerTest, ClosesAsSoonAsNothingIsTakenForTheTimeout) {
  // For all of the answer it would be 3.3 s.
  Start({.write_timeout = milliseconds(100)});
  auto client = Connect();
  ASSERT_TRUE(client->Send(MakeRequest("GET", "/large", "")));
  const TimePoint begin = SystemClock().Now();
  WaitForConnections(0);
  EXPECT_LT(SystemClock().Now() - begin, milliseconds(2'000));
}

TEST_F(HttpServerTest, AnswersThatNobodyTakesAreBoundedTogether) {
  Start({.answers_bytes_max = 48 << 20});  // one and a half of the large ones
  auto first = Connect();
  ASSERT_TRUE(first->Send(MakeRequest("GET", "/large", "")));
  ASSERT_TRUE(first->Peek());
  auto second = Connect();
  const auto refused = second->Do("GET", "/large");
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.body, HasSubstr(R"("reason":"OVERLOADED")"));
  EXPECT_EQ(refused.Header("Retry-After"), "1");
  EXPECT_EQ(last_refusal_, 429);
  // The connection goes on, and small answers are not held up.
  EXPECT_EQ(second->Do("GET", "/small").body, "GET /small ");
  EXPECT_EQ(first->Read().body.size(), 32u << 20);
  EXPECT_EQ(second->Do("GET", "/large").body.size(), 32u << 20);
  // Who leaves makes room too.
  ASSERT_TRUE(first->Send(MakeRequest("GET", "/large", "")));
  ASSERT_TRUE(first->Peek());
  first.reset();
  WaitForConnections(1);
  EXPECT_EQ(second->Do("GET", "/large").status, 200);
}

TEST_F(HttpServerTest, AnAnswerLargerThanAllMayBeIsSentAlone) {
  Start({.answers_bytes_max = 1 << 20});
  EXPECT_EQ(Connect()->Do("GET", "/large").body.size(), 32u << 20);
}

TEST_F(HttpServerTest, RefusesConnectionsBeyondTheLimit) {
  Start({.connections_max = 2});
  auto first = Connect();
  auto second = Connect();
  ASSERT_EQ(first->Do("GET", "/1").status, 200);
  ASSERT_EQ(second->Do("GET", "/2").status, 200);
  auto third = Connect();
  const auto response = third->Read();
  EXPECT_EQ(response.status, 503);
  EXPECT_THAT(response.body, HasSubstr("too many connections"));
  third.reset();
  first.reset();
  for (int i = 0; i < 500 && server_->connection_count() > 1; ++i) usleep(10'000);
  EXPECT_EQ(Connect()->Do("GET", "/4").status, 200);
  EXPECT_EQ(second->Do("GET", "/5").status, 200);
}

TEST_F(HttpServerTest, AnswersForHandlersThatThrowOrForget) {
  Start();
  auto client = Connect();
  const auto thrown = client->Do("GET", "/throw");
  EXPECT_EQ(thrown.status, 500);
  EXPECT_THAT(thrown.body, HasSubstr("the handler threw"));
  EXPECT_EQ(client->Do("GET", "/drop").status, 500);
  EXPECT_EQ(client->Do("GET", "/ok").status, 200);
}

TEST_F(HttpServerTest, TakesAnswersFromOtherThreads) {
  Start();
  auto client = Connect();
  ASSERT_TRUE(client->Send(MakeRequest("GET", "/keep", "")));
  HttpExchangePtr kept = TakeKept();
  Thread thread("answers", ThreadPriority::kNormal, [&] {
    kept->Respond({.body = "first"});
    kept->Respond({.body = "second"});
  });
  thread.Join();
  EXPECT_EQ(client->Read().body, "first");
  EXPECT_EQ(client->Do("GET", "/next").body, "GET /next ");
}

TEST_F(HttpServerTest, SurvivesClientsThatLeaveBeforeTheAnswer) {
  Start();
  auto client = Connect();
  ASSERT_TRUE(client->Send(MakeRequest("GET", "/keep", "")));
  const HttpExchangePtr kept = TakeKept();
  client.reset();
  kept->Respond({.body = std::string(1 << 20, 'x')});
  EXPECT_EQ(Connect()->Do("GET", "/ok").status, 200);
}

TEST_F(HttpServerTest, NoticesThatTheClientHasGone) {
  Start();
  auto leaves = Connect();
  leaves->Send(MakeRequest("PUT", "/keep", "x") + "\r\n");
  const HttpExchangePtr left = TakeKept();
  auto stays = Connect();
  stays->Send(MakeRequest("GET", "/keep", ""));
  const HttpExchangePtr waiting = TakeKept();
  EXPECT_FALSE(*left->client_gone());
  leaves.reset();
  const TimePoint until = SystemClock().Now() + std::chrono::seconds(10);
  while (!*left->client_gone() && SystemClock().Now() < until) {
    SleepUntil(SystemClock().Now() + milliseconds(1));
  }
  EXPECT_TRUE(*left->client_gone());
  // What it sends ahead is no leaving.
  stays->Send(MakeRequest("GET", "/next", ""));
  SleepUntil(SystemClock().Now() + milliseconds(50));
  EXPECT_FALSE(*waiting->client_gone());
  waiting->Respond({.body = "first"});
  EXPECT_EQ(stays->Read().body, "first");
  EXPECT_EQ(stays->Read().body, "GET /next ");
}

TEST_F(HttpServerTest, StopLetsRequestsFinish) {
  Start();
  auto busy = Connect();
  auto idle = Connect();
  ASSERT_EQ(idle->Do("GET", "/").status, 200);
  ASSERT_TRUE(busy->Send(MakeRequest("GET", "/keep", "")));
  const HttpExchangePtr kept = TakeKept();
  Thread stopper("stops", ThreadPriority::kNormal, [&] { server_->Stop(); });
  EXPECT_TRUE(idle->IsClosed());
  kept->Respond({.body = "finished"});
  const auto response = busy->Read();
  EXPECT_EQ(response.body, "finished");
  EXPECT_EQ(response.Header("Connection"), "close");
  busy.reset();
  stopper.Join();
}

TEST_F(HttpServerTest, StopGivesOnlyWholeRequestsTheirTime) {
  Start({.drain_patience = milliseconds(100)});
  const std::vector<std::string> halves = {
      "GET / HT",
      "PUT / HTTP/1.1\r\nHost: x\r\n",
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
      "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
      MakeRequest("GET", "/large", ""),
      MakeRequest("PUT", "/", "abc") + "GET /"};
  std::vector<std::unique_ptr<TestClient>> clients;
  for (const std::string& bytes : halves) {
    clients.push_back(Connect());
    ASSERT_TRUE(clients.back()->Send(bytes));
  }
  ASSERT_TRUE(clients[3]->Peek());
  ASSERT_TRUE(clients[5]->Peek());
  ASSERT_TRUE(clients[6]->Peek());
  // Its rest comes while the server drains.
  auto late = Connect();
  ASSERT_TRUE(late->Send("GET /late HTTP/1.1\r\n"));
  SleepUntil(SystemClock().Now() + milliseconds(50));
  const TimePoint begin = SystemClock().Now();
  Thread stopper("stops", ThreadPriority::kNormal, [&] { server_->Stop(); });
  SleepUntil(begin + milliseconds(20));
  ASSERT_TRUE(late->Send("Host: x\r\n\r\n"));
  EXPECT_EQ(late->Read().body, "GET /late ");
  stopper.Join();
  EXPECT_LT(SystemClock().Now() - begin, milliseconds(3'000));  // of ten seconds
}

TEST_F(HttpServerTest, StopDoesNotWaitForEver) {
  Start({.drain_timeout = milliseconds(50)});
  auto busy = Connect();
  ASSERT_TRUE(busy->Send(MakeRequest("GET", "/keep", "")));
  const HttpExchangePtr kept = TakeKept();
  server_->Stop();
  EXPECT_TRUE(busy->IsClosed());
  kept->Respond({.body = "too late"});
  kept->Run([] { FAIL() << "ran after the server stopped"; });
}

TEST(HttpServerStartTest, SaysWhyItCannotListen) {
  for (const std::string listen :
       {"", "localhost", ":80", "127.0.0.1:x", "127.0.0.1:70000", "::1", "[::1:80", "::1:80"}) {
    HttpServer server(
        {.listen = listen}, [](const HttpExchangePtr&) {}, &SystemClock());
    EXPECT_EQ(ReasonOf(server.Start()), Reason::kInvalidArgument) << listen;
  }
  HttpServer first(
      {.listen = "127.0.0.1:0"}, [](const HttpExchangePtr&) {}, &SystemClock());
  ASSERT_TRUE(first.Start().ok());
  const std::string taken = fmt::format("127.0.0.1:{}", first.port());
  HttpServer second(
      {.listen = taken}, [](const HttpExchangePtr&) {}, &SystemClock());
  const Status status = second.Start();
  EXPECT_EQ(ReasonOf(status), Reason::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot listen on " + taken));
}

}  // namespace
}  // namespace vectron::gateway::rest
