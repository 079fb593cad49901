#include "rpc/http2_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "rpc/status.h"
#include "rpc/testing/http2_peer.h"

// A session against a client of nghttp2's, in memory.

namespace vectron::rpc {
namespace {

using ::testing::HasSubstr;
using vectron::testing::Framed;
using vectron::testing::Http2Peer;
using Kind = CallEvent::Kind;

constexpr size_t kMessageBytesMax = 4 << 20;
constexpr char kEcho[] = "/test.Echo/Echo";

// What stands for a ServerCall: sessions only hand it back.
struct Call {
  Call(int32_t id, CallHead call_head)
      : head(std::move(call_head)),
        stream(reinterpret_cast<ServerCall*>(this), id, kMessageBytesMax) {}

  const CallHead head;
  Http2Stream stream;
  std::string message;  // that was read
  std::vector<Kind> told;
};

class Http2SessionTest : public ::testing::Test {
 protected:
  explicit Http2SessionTest(uint32_t window_bytes = 65'535) : peer_(window_bytes) {}
  ~Http2SessionTest() override {
    session_.Close();
    Tell();
    for (const auto& call : calls_) {
      const auto ends = [](Kind kind) { return kind == Kind::kClosed || kind == Kind::kBroken; };
      EXPECT_EQ(std::count_if(call->told.begin(), call->told.end(), ends), 1);
    }
    EXPECT_EQ(received_bytes_.load(), 0u);
  }

  void Tell() {
    for (const CallEvent& event : session_.TakeEvents()) {
      reinterpret_cast<Call*>(event.call)->told.push_back(event.kind);
    }
  }
  // Until neither has anything to say.
  void Exchange() {
    for (;;) {
      const std::string requests = peer_.Take();
      EXPECT_TRUE(session_.Receive(requests));
      std::string answers;
      session_.Send(1 << 20, &answers);
      if (!answers.empty()) peer_.Receive(answers);
      Tell();
      if (requests.empty() && answers.empty()) return;
    }
  }
  Call& Accepted(size_t i = 0) {
    EXPECT_LT(i, calls_.size());
    return *calls_.at(i);
  }
  // Of the call's next message.
  std::string Read(Call* call) {
    session_.Read(&call->stream, &call->message);
    Tell();
    EXPECT_EQ(call->told.back(), Kind::kRead);
    return call->message;
  }

  std::atomic<size_t> received_bytes_{0};
  std::vector<std::unique_ptr<Call>> calls_;
  Http2Session session_{
      {.message_bytes_max = kMessageBytesMax, .streams_max = 8, .received_bytes_max = 8 << 20},
      &received_bytes_,
      [this](int32_t id, CallHead head) {
        calls_.push_back(std::make_unique<Call>(id, std::move(head)));
        return &calls_.back()->stream;
      }};
  Http2Peer peer_;
};

TEST_F(Http2SessionTest, ServesACall) {
  auto headers = Http2Peer::GrpcHeaders(kEcho);
  headers.emplace_back("grpc-timeout", "1500m");
  const int32_t id = peer_.Request(headers, Framed("hello"));
  Exchange();
  Call& call = Accepted();
  EXPECT_EQ(call.head.method, kEcho);
  EXPECT_EQ(call.head.timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(Read(&call), "hello");
  session_.WriteAndFinish(&call.stream, "answer");
  Exchange();
  const Http2Peer::Answer& answer = peer_.answer(id);
  EXPECT_EQ(answer.headers.at(":status"), "200");
  EXPECT_EQ(answer.headers.at("content-type"), "application/grpc");
  EXPECT_EQ(answer.body, Framed("answer"));
  EXPECT_EQ(answer.headers.at("grpc-status"), "0");
  EXPECT_TRUE(answer.closed);
  EXPECT_EQ(answer.error, 0u);
  EXPECT_EQ(call.told.back(), Kind::kClosed);
  EXPECT_EQ(session_.call_count(), 0u);
}

TEST_F(Http2SessionTest, StreamsMessagesBothWays) {
  const int32_t id =
      peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("1") + Framed("2") + Framed(""), true);
  Exchange();
  Call& call = Accepted();
  EXPECT_EQ(Read(&call), "1");
  session_.Write(&call.stream, "one");
  Exchange();
  EXPECT_EQ(call.told.back(), Kind::kWritten);
  EXPECT_EQ(peer_.answer(id).body, Framed("one"));
  EXPECT_EQ(Read(&call), "2");
  EXPECT_EQ(Read(&call), "");
  // The next is not there yet.
  session_.Read(&call.stream, &call.message);
  Exchange();
  EXPECT_EQ(call.told.back(), Kind::kRead);
  const size_t told = call.told.size();
  peer_.Send(id, Framed("three"));
  Exchange();
  ASSERT_EQ(call.told.size(), told + 1);
  EXPECT_EQ(call.message, "three");
  session_.Read(&call.stream, &call.message);
  Tell();
  EXPECT_EQ(call.told.back(), Kind::kReadFailed);
  session_.Write(&call.stream, "two");
  Exchange();
  session_.Finish(&call.stream, {grpc::StatusCode::ABORTED, "enough \xc3\xa9"});
  Exchange();
  EXPECT_EQ(peer_.answer(id).body, Framed("one") + Framed("two"));
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "10");
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-message"), "enough %C3%A9");
  EXPECT_EQ(call.told.back(), Kind::kClosed);
}

TEST_F(Http2SessionTest, ACallMayEndBeforeItsRequest) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("1"), true);
  Exchange();
  Call& call = Accepted();
  session_.Finish(&call.stream, {grpc::StatusCode::NOT_FOUND, "no such thing"});
  Exchange();
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "5");
  EXPECT_EQ(call.told.back(), Kind::kClosed);
  // The client need not send the rest.
  EXPECT_TRUE(peer_.answer(id).closed);
  EXPECT_EQ(peer_.answer(id).error, static_cast<uint32_t>(NGHTTP2_NO_ERROR));
}

TEST_F(Http2SessionTest, WhatIsNoGrpcIsRefused) {
  const auto with = [](const std::string& name, const std::string& value) {
    auto headers = Http2Peer::GrpcHeaders(kEcho);
    for (auto& [key, old] : headers) {
      if (key == name) old = value;
    }
    return headers;
  };
  const int32_t html = peer_.Request(with("content-type", "text/html"), "");
  const int32_t web = peer_.Request(with("content-type", "application/grpc-web"), "");
  const int32_t get = peer_.Request(with(":method", "GET"), "");
  auto long_headers = Http2Peer::GrpcHeaders(kEcho);
  long_headers.emplace_back("x", std::string(20'000, 'x'));
  const int32_t large = peer_.Request(long_headers, "");
  const int32_t proto = peer_.Request(with("content-type", "application/grpc+proto"), "");
  Exchange();
  EXPECT_EQ(peer_.answer(html).headers.at(":status"), "415");
  EXPECT_EQ(peer_.answer(web).headers.at(":status"), "415");
  EXPECT_EQ(peer_.answer(get).headers.at(":status"), "405");
  EXPECT_EQ(peer_.answer(large).headers.at(":status"), "431");
  EXPECT_FALSE(peer_.answer(proto).ended);
  ASSERT_EQ(calls_.size(), 1u);
}

TEST_F(Http2SessionTest, SaysWhatIsWrongWithAMessage) {
  const auto status_of = [&](std::string body) {
    const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), std::move(body));
    Exchange();
    Call& call = *calls_.back();
    session_.Read(&call.stream, &call.message);
    Tell();
    EXPECT_EQ(call.told.back(), Kind::kReadFailed);
    session_.Finish(&call.stream, {grpc::StatusCode::OK, ""});
    Exchange();
    const auto& headers = peer_.answer(id).headers;
    return headers.at("grpc-status") + " " + headers.at("grpc-message");
  };
  EXPECT_THAT(status_of(std::string("\0\x7f\0\0\0", 5) + "x"), HasSubstr("8 the message has"));
  EXPECT_THAT(status_of(std::string("\1\0\0\0\1x", 6)), HasSubstr("12 compressed messages"));
  EXPECT_THAT(status_of(std::string("\0\0\0\0\2x", 6)), HasSubstr("3 the request ends within"));
}

TEST_F(Http2SessionTest, ARequestMayBeEmpty) {
  peer_.Request(Http2Peer::GrpcHeaders(kEcho), "");
  Exchange();
  Call& call = Accepted();
  session_.Read(&call.stream, &call.message);
  Tell();
  EXPECT_EQ(call.told.back(), Kind::kReadFailed);
}

TEST_F(Http2SessionTest, WhatACallDoesNotReadStaysWithItsClient) {
  std::string body;
  for (int i = 0; i < 64; ++i) body += Framed(std::string(100'000, static_cast<char>('a' + i)));
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), body, true);
  const int32_t other = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("small"));
  Exchange();
  // A window's bytes, and the message that is ready.
  EXPECT_LT(received_bytes_.load(), 1'400'000u);
  EXPECT_GT(peer_.unsent_bytes(id), 4'000'000u);
  // Another is not held up by it.
  EXPECT_EQ(Read(&Accepted(1)), "small");
  session_.WriteAndFinish(&Accepted(1).stream, "");
  Exchange();
  EXPECT_TRUE(peer_.answer(other).closed);
  for (int i = 0; i < 64; ++i) {
    ASSERT_EQ(Read(&Accepted()), std::string(100'000, static_cast<char>('a' + i))) << i;
    Exchange();
  }
  EXPECT_EQ(peer_.unsent_bytes(id), 0u);
  EXPECT_EQ(received_bytes_.load(), 0u);
}

TEST_F(Http2SessionTest, ManySmallMessagesMayWait) {
  std::string body;
  constexpr int kCount = 150'000;
  for (int i = 0; i < kCount; ++i) body += Framed("");
  peer_.Request(Http2Peer::GrpcHeaders(kEcho), body);
  Exchange();
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(Read(&Accepted()), "");
    Accepted().told.pop_back();
  }
  session_.Read(&Accepted().stream, &Accepted().message);
  Tell();
  EXPECT_EQ(Accepted().told.back(), Kind::kReadFailed);
}

TEST_F(Http2SessionTest, BoundsWhatAllRequestsHold) {
  std::vector<int32_t> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed(std::string(3 << 20, 'x'))));
  }
  Exchange();
  EXPECT_LE(received_bytes_.load(), size_t{9} << 20);
  int refused = 0;
  for (int i = 0; i < 4; ++i) {
    Call& call = Accepted(static_cast<size_t>(i));
    session_.Read(&call.stream, &call.message);
    Tell();
    session_.Finish(&call.stream, grpc::Status::OK);
    Exchange();
    const std::string& status = peer_.answer(ids[static_cast<size_t>(i)]).headers.at("grpc-status");
    if (call.told[1] == Kind::kReadFailed) {
      ++refused;
      EXPECT_EQ(status, "8");
    } else {
      EXPECT_EQ(status, "0");
    }
  }
  EXPECT_GE(refused, 1);
  EXPECT_LE(refused, 3);
}

TEST_F(Http2SessionTest, TellsACallThatItsClientGaveUp) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"), true);
  Exchange();
  Call& call = Accepted();
  EXPECT_EQ(Read(&call), "x");
  session_.Read(&call.stream, &call.message);
  peer_.Reset(id);
  Exchange();
  EXPECT_EQ(call.told,
            (std::vector<Kind>{Kind::kAccepted, Kind::kRead, Kind::kReadFailed, Kind::kBroken}));
  // It is finished nevertheless, and what it does meanwhile fails.
  session_.Write(&call.stream, "x");
  session_.Read(&call.stream, &call.message);
  session_.Finish(&call.stream, grpc::Status::OK);
  Exchange();
  EXPECT_THAT(call.told, ::testing::IsSupersetOf({Kind::kWriteFailed, Kind::kReadFailed}));
}

TEST_F(Http2SessionTest, TheLastCallOfAConnectionIsToldOfItsEnd) {
  peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"), true);
  Exchange();
  session_.Close();
  Tell();
  EXPECT_EQ(Accepted().told.back(), Kind::kBroken);
  EXPECT_TRUE(session_.IsOver());
  session_.Finish(&Accepted().stream, grpc::Status::OK);
  session_.Ping();
  session_.GoAway();
  std::string out;
  session_.Send(1'000, &out);
  EXPECT_EQ(out, "");
}

TEST_F(Http2SessionTest, BreaksCallsThatAreLate) {
  auto headers = Http2Peer::GrpcHeaders(kEcho);
  headers.emplace_back("grpc-timeout", "10S");
  const int32_t due = peer_.Request(headers, Framed("x"));
  const int32_t mute = peer_.Request(Http2Peer::GrpcHeaders(kEcho), "\0\0", true);
  const int32_t fine = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"), true);
  Exchange();
  const TimePoint now = SystemClock().Now();
  session_.BreakLate(now + std::chrono::seconds(8), std::chrono::seconds(60));
  Exchange();
  EXPECT_EQ(session_.call_count(), 3u);
  session_.BreakLate(now + std::chrono::seconds(20), std::chrono::seconds(15));
  Exchange();
  EXPECT_EQ(peer_.answer(due).headers.at("grpc-status"), "4");
  EXPECT_EQ(peer_.answer(mute).headers.at("grpc-status"), "1");
  EXPECT_EQ(Accepted(0).told.back(), Kind::kBroken);
  EXPECT_EQ(Accepted(1).told.back(), Kind::kBroken);
  EXPECT_FALSE(peer_.answer(fine).ended);
}

TEST_F(Http2SessionTest, GoesAwayWhenItsCallsAreDone) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
  Exchange();
  session_.GoAway();
  // Made before it is heard.
  const int32_t late = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
  Exchange();
  EXPECT_TRUE(peer_.told_to_go());
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_FALSE(session_.IsOver());
  session_.WriteAndFinish(&Accepted().stream, "done");
  Exchange();
  EXPECT_EQ(peer_.answer(id).body, Framed("done"));
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "0");
  EXPECT_TRUE(peer_.answer(late).closed);
  EXPECT_FALSE(peer_.answer(late).headers.contains("grpc-status"));
  EXPECT_TRUE(session_.IsOver());
}

TEST_F(Http2SessionTest, RefusesStreamsBeyondItsLimit) {
  Exchange();
  std::vector<int32_t> ids;
  for (int i = 0; i < 12; ++i) {
    ids.push_back(peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"), true));
  }
  Exchange();
  EXPECT_EQ(session_.call_count(), 8u);
}

TEST_F(Http2SessionTest, SomethingElseIsNoHttp2) {
  EXPECT_FALSE(session_.Receive("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
}

TEST_F(Http2SessionTest, ABrokenRuleEndsTheConnection) {
  Exchange();
  // DATA on a stream that is not there (RFC 9113, 5.1).
  EXPECT_TRUE(session_.Receive(std::string("\0\0\1\0\0\0\0\0\x63x", 10)));
  Exchange();
  EXPECT_TRUE(peer_.told_to_go());
  EXPECT_TRUE(session_.IsOver());
}

TEST_F(Http2SessionTest, PutsTogetherOnlyWhatIsAskedFor) {
  const std::string large = Framed(std::string(3 << 20, 'x'));
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("1"), true);
  Exchange();
  EXPECT_EQ(Read(&Accepted()), "1");
  peer_.Send(id, large, true);
  Exchange();
  EXPECT_LE(received_bytes_.load(), size_t{1} << 20);
  session_.Read(&Accepted().stream, &Accepted().message);
  Exchange();
  EXPECT_EQ(Accepted().message.size(), size_t{3} << 20);
  // What comes behind the end is not kept either.
  session_.WriteAndFinish(&Accepted().stream, "x");
  peer_.Send(id, large, true);
  Exchange();
  EXPECT_EQ(received_bytes_.load(), 0u);
  EXPECT_EQ(Accepted().told.back(), Kind::kClosed);
}

TEST_F(Http2SessionTest, AMessageThatStaysInPartsIsLate) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("1"), true);
  Exchange();
  EXPECT_EQ(Read(&Accepted()), "1");
  session_.Read(&Accepted().stream, &Accepted().message);
  const TimePoint now = SystemClock().Now();
  const std::chrono::seconds patience(60);
  // Between messages a stream may be silent for as long as it likes.
  session_.BreakLate(now + std::chrono::hours(1), patience);
  peer_.Send(id, Framed("second").substr(0, 7), true);
  Exchange();
  session_.BreakLate(now + std::chrono::hours(2), patience);
  session_.BreakLate(now + std::chrono::hours(2) + patience / 2, patience);
  Exchange();
  EXPECT_EQ(session_.call_count(), 1u);
  session_.BreakLate(now + std::chrono::hours(2) + patience, patience);
  Exchange();
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "1");
  EXPECT_EQ(Accepted().told.back(), Kind::kBroken);
}

TEST_F(Http2SessionTest, ABrokenStreamSaysWhyBehindItsMessages) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("1"), true);
  Exchange();
  EXPECT_EQ(Read(&Accepted()), "1");
  session_.Write(&Accepted().stream, "one");
  Exchange();
  session_.BreakAll({grpc::StatusCode::UNAVAILABLE, "stops"});
  Exchange();
  EXPECT_EQ(peer_.answer(id).body, Framed("one"));
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "14");
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-message"), "stops");
  EXPECT_TRUE(peer_.answer(id).closed);
}

TEST_F(Http2SessionTest, ChecksTheTimeout) {
  const auto with = [](const std::string& timeout) {
    auto headers = Http2Peer::GrpcHeaders(kEcho);
    headers.emplace_back("grpc-timeout", timeout);
    return headers;
  };
  const int32_t none = peer_.Request(with("-5m"), Framed("x"));
  const int32_t over = peer_.Request(with("0m"), Framed("x"));
  const int32_t far = peer_.Request(with("99999999H"), Framed("x"));
  Exchange();
  EXPECT_EQ(peer_.answer(none).headers.at("grpc-status"), "3");
  EXPECT_EQ(peer_.answer(over).headers.at("grpc-status"), "4");
  EXPECT_FALSE(peer_.answer(far).ended);
  ASSERT_EQ(calls_.size(), 1u);
  EXPECT_EQ(Accepted().head.timeout, std::nullopt);
}

TEST_F(Http2SessionTest, ALongStatusIsCut) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
  Exchange();
  session_.Finish(&Accepted().stream, {grpc::StatusCode::ABORTED, std::string(100'000, '%'),
                                       std::string(100'000, 'd')});
  Exchange();
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "10");
  EXPECT_LT(peer_.answer(id).headers.at("grpc-message").size(), 8'000u);
  EXPECT_FALSE(peer_.answer(id).headers.contains("grpc-status-details-bin"));
}

// Each request is answered at once, and the client takes nothing.
TEST_F(Http2SessionTest, SeesThatItsAnswersAreNotTaken) {
  EXPECT_TRUE(session_.Receive(peer_.Take()));
  EXPECT_FALSE(session_.IsCongested());
  std::string requests;
  for (uint32_t id = 1; id < 12'000; id += 2) {
    // HEADERS with END_HEADERS and three fields of HPACK's table: POST http /.
    std::string frame("\0\0\3\1\4\0\0\0\0\x83\x86\x84", 12);
    frame[7] = static_cast<char>(id >> 8);
    frame[8] = static_cast<char>(id & 0xff);
    requests += frame;
  }
  EXPECT_TRUE(session_.Receive(requests));
  EXPECT_TRUE(session_.IsCongested());
  std::string out;
  session_.Send(10 << 20, &out);
  EXPECT_FALSE(session_.IsCongested());
}

class NarrowHttp2SessionTest : public Http2SessionTest {
 protected:
  NarrowHttp2SessionTest() : Http2SessionTest(1'000) {}
};

TEST_F(NarrowHttp2SessionTest, AnAnswerWaitsForItsClient) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
  Exchange();
  Call& call = Accepted();
  session_.WriteAndFinish(&call.stream, std::string(3'000, 'y'));
  Exchange();
  EXPECT_EQ(peer_.answer(id).body.size(), 1'000u);
  EXPECT_FALSE(peer_.answer(id).ended);
  EXPECT_EQ(call.told.back(), Kind::kAccepted);
  peer_.OpenWindow(id, 5'000);
  Exchange();
  EXPECT_EQ(peer_.answer(id).body, Framed(std::string(3'000, 'y')));
  EXPECT_EQ(peer_.answer(id).headers.at("grpc-status"), "0");
  EXPECT_EQ(call.told.back(), Kind::kClosed);
}

// The prefix of a message may be cut as well.
TEST(TinyWindowTest, AnAnswerGoesByteByByte) {
  for (uint32_t window = 1; window <= 7; ++window) {
    std::atomic<size_t> received_bytes{0};
    std::unique_ptr<Call> call;
    Http2Session session({.message_bytes_max = 100, .streams_max = 1, .received_bytes_max = 1'000},
                         &received_bytes, [&](int32_t stream, CallHead head) {
                           call = std::make_unique<Call>(stream, std::move(head));
                           return &call->stream;
                         });
    Http2Peer peer(window);
    const int32_t id = peer.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
    ASSERT_TRUE(session.Receive(peer.Take()));
    session.WriteAndFinish(&call->stream, "the answer");
    for (int i = 0; i < 40 && !peer.answer(id).closed; ++i) {
      std::string out;
      session.Send(1'000, &out);
      peer.Receive(out);
      peer.OpenWindow(id, static_cast<int>(window));
      ASSERT_TRUE(session.Receive(peer.Take()));
    }
    EXPECT_EQ(peer.answer(id).body, Framed("the answer")) << window;
    EXPECT_EQ(peer.answer(id).headers.at("grpc-status"), "0");
    session.Close();
  }
}

TEST_F(NarrowHttp2SessionTest, AnAnswerThatIsNotTakenMayBeBroken) {
  const int32_t id = peer_.Request(Http2Peer::GrpcHeaders(kEcho), Framed("x"));
  Exchange();
  Call& call = Accepted();
  session_.WriteAndFinish(&call.stream, std::string(3'000, 'y'));
  Exchange();
  session_.BreakAll({grpc::StatusCode::UNAVAILABLE, "stops"});
  Exchange();
  EXPECT_EQ(call.told.back(), Kind::kBroken);
  EXPECT_TRUE(peer_.answer(id).closed);
  EXPECT_EQ(peer_.answer(id).error, static_cast<uint32_t>(NGHTTP2_CANCEL));
}

}  // namespace
}  // namespace vectron::rpc
