#include <atomic>
#include <memory>
#include <utility>

#include "common/check.h"
#include "fuzz_target.h"
#include "rpc/http2_session.h"
#include "rpc/testing/http2_peer.h"

// What a client sends to the gRPC port, cut into pieces. Each call is served as it comes:
// messages are sent back, and its end ends it. Whatever was sent, every call is told of its
// end once, and nothing of its requests stays counted.

namespace {

using vectron::rpc::CallEvent;
using vectron::rpc::Http2Session;
using vectron::rpc::Http2Stream;
using vectron::testing::Framed;
using vectron::testing::Http2Peer;

constexpr size_t kMessageBytesMax = 1 << 16;
constexpr size_t kReceivedBytesMax = 1 << 18;

// Stands for a ServerCall, which sessions only hand back.
struct Call {
  explicit Call(int32_t id)
      : stream(reinterpret_cast<vectron::rpc::ServerCall*>(this), id, kMessageBytesMax) {}

  Http2Stream stream;
  std::string message;
  bool reads = false;
  bool writes = false;
  bool input_ended = false;
  bool finished = false;
  bool closed = false;
};

class Server {
 public:
  ~Server() {
    session_.Close();
    Serve();
    for (const auto& call : calls_) {
      VECTRON_CHECK(call->closed && call->finished && !call->reads && !call->writes);
    }
    VECTRON_CHECK(received_bytes_.load() == 0);
  }

  void Receive(std::string_view bytes) {
    if (!session_.Receive(bytes)) return session_.Close();
    Serve();
    std::string out;
    session_.Send(1 << 20, &out);
    Serve();
    VECTRON_CHECK(received_bytes_.load() <= kReceivedBytesMax + bytes.size());
  }

 private:
  void Serve() {
    for (;;) {
      const auto events = session_.TakeEvents();
      if (events.empty()) return;
      for (const CallEvent& event : events) Serve(event.kind, reinterpret_cast<Call*>(event.call));
    }
  }

  void Serve(CallEvent::Kind kind, Call* call) {
    switch (kind) {
      case CallEvent::Kind::kAccepted:
        VECTRON_CHECK(!call->closed);
        return Read(call);
      case CallEvent::Kind::kRead:
        VECTRON_CHECK(std::exchange(call->reads, false));
        VECTRON_CHECK(call->message.size() <= kMessageBytesMax);
        call->writes = true;
        return session_.Write(&call->stream, call->message);
      case CallEvent::Kind::kReadFailed:
        VECTRON_CHECK(std::exchange(call->reads, false));
        call->input_ended = true;
        break;
      case CallEvent::Kind::kWritten:
        VECTRON_CHECK(std::exchange(call->writes, false));
        if (!call->finished) Read(call);
        break;
      case CallEvent::Kind::kWriteFailed:
        VECTRON_CHECK(std::exchange(call->writes, false));
        break;
      case CallEvent::Kind::kClosed:
        VECTRON_CHECK(call->finished && !std::exchange(call->closed, true));
        return;
      case CallEvent::Kind::kBroken:
        VECTRON_CHECK(!std::exchange(call->closed, true));
        call->input_ended = true;
        break;
    }
    if (!call->input_ended || call->writes || call->finished) return;
    call->finished = true;
    session_.Finish(&call->stream, grpc::Status::OK);
  }

  void Read(Call* call) {
    call->reads = true;
    session_.Read(&call->stream, &call->message);
  }

  std::atomic<size_t> received_bytes_{0};
  std::vector<std::unique_ptr<Call>> calls_;
  Http2Session session_{{.message_bytes_max = kMessageBytesMax,
                         .streams_max = 16,
                         .received_bytes_max = kReceivedBytesMax},
                        &received_bytes_,
                        [this](int32_t id, vectron::rpc::CallHead) {
                          calls_.push_back(std::make_unique<Call>(id));
                          return &calls_.back()->stream;
                        }};
};

}  // namespace

void FuzzOne(std::string_view input) {
  Server server;
  // How it is cut, which must make no difference, is the input's too.
  size_t step = 1 + input.size();
  if (!input.empty()) step = 1 + static_cast<unsigned char>(input.back()) * 4;
  for (size_t at = 0; at < input.size(); at += step) server.Receive(input.substr(at, step));
}

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  const auto headers = Http2Peer::GrpcHeaders("/vectron.v1.Vectron/Search");
  {
    Http2Peer peer;
    peer.Request(headers, Framed(std::string(40, 'x')));
    seeds.push_back(peer.Take());
  }
  {
    Http2Peer peer;
    const int32_t id = peer.Request(headers, Framed("a") + Framed("") + Framed("b"), true);
    std::string bytes = peer.Take();
    peer.Send(id, Framed(std::string(2'000, 'y')));
    peer.Request(headers, Framed("second"));
    bytes += peer.Take();
    const int32_t third = peer.Request(headers, Framed("third"), true);
    bytes += peer.Take();
    peer.Reset(third);
    peer.OpenWindow(id, 10'000);
    seeds.push_back(bytes + peer.Take());
  }
  {
    Http2Peer peer;
    auto others = headers;
    others.emplace_back("grpc-timeout", "5S");
    others.emplace_back("grpc-encoding", "gzip");
    others.emplace_back("user-agent", "fuzz");
    peer.Request(others, std::string("\1\0\0\0\3abc", 8));
    others[0].second = "GET";
    peer.Request(others, "");
    seeds.push_back(peer.Take());
  }
  {
    Http2Peer peer(3);
    const int32_t id = peer.Request(headers, Framed("a") + Framed("bc"));
    std::string bytes = peer.Take();
    for (const int window : {1, 5, 2, 100}) {
      peer.OpenWindow(id, window);
      bytes += peer.Take();
    }
    seeds.push_back(bytes);
  }
  seeds.emplace_back("GET / HTTP/1.1\r\n\r\n");
  return seeds;
}
