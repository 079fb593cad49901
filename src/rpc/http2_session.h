#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/container/inlined_vector.h>
#include <grpcpp/support/status.h>
#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/clock.h"
#include "common/error.h"
#include "rpc/grpc_wire.h"

namespace vectron::rpc {

class ServerCall;

// What the header of a call says.
struct CallHead {
  std::string method;  // "/package.Service/Method"
  // How long the caller waits; empty: as long as it takes.
  std::optional<Duration> timeout;
};

// A call's stream: what has arrived of its requests, what is still to be sent of its answers.
// Belongs to its ServerCall, is used by its session.
class Http2Stream {
 public:
  Http2Stream(ServerCall* call, int32_t id, size_t message_bytes_max)
      : call_(call), id_(id), assembler_(message_bytes_max), opened_at_(SystemClock().Now()) {}

 private:
  friend class Http2Session;

  static constexpr TimePoint kNever = TimePoint::max();

  ServerCall* const call_;
  const int32_t id_;
  bool is_open_ = true;  // HTTP/2 knows it

  // Requests. A message is put together when it is asked for, the first before that; what comes
  // meanwhile waits in pending_, and keeps the stream's window closed.
  MessageAssembler assembler_;
  std::string pending_;
  size_t pending_begin_ = 0;       // of what is left of it
  size_t counted_bytes_ = 0;       // of both, among those of all calls
  std::string* wanted_ = nullptr;  // the Read under way
  bool input_ended_ = false;
  bool discards_input_ = false;
  bool had_message_ = false;
  // When a tick first found the message in parts that is being put together now.
  TimePoint in_parts_since_ = kNever;
  std::string_view pending() const { return std::string_view(pending_).substr(pending_begin_); }

  // What is wrong with the input, and becomes the call's status.
  std::optional<grpc::Status> fault_;

  // Answers. A message goes behind its prefix.
  bool answers_ = false;  // the response's header was handed to HTTP/2
  bool writes_ = false;   // the Write under way
  bool finishes_ = false;
  bool is_over_ = false;  // its end was sent
  char prefix_[kMessagePrefixBytes] = {};
  std::string message_;
  size_t unsent_bytes_ = 0;  // of prefix and message
  grpc::Status status_;

  const TimePoint opened_at_;
  Deadline deadline_ = kNoDeadline;
};

// What a call is to be told.
struct CallEvent {
  enum class Kind {
    kAccepted,
    kRead,
    kReadFailed,
    kWritten,
    kWriteFailed,
    // The last of a stream, one of:
    kClosed,
    kBroken,  // before the call was answered in full
  };
  Kind kind;
  ServerCall* call;
};
using CallEvents = absl::InlinedVector<CallEvent, 4>;

// The server's end of an HTTP/2 connection that carries gRPC calls, without its socket: bytes
// go in and come out. HTTP/2 itself is nghttp2's; here is what gRPC makes of it. What comes of
// an operation for the calls is collected as events, to be told when no lock is held.
// Not thread-safe.
class Http2Session {
 public:
  struct Options {
    size_t message_bytes_max = 0;
    int streams_max = 0;
    // Of requests that have come and were not handed to their calls, of all sessions: beyond
    // it, a call to which more comes is OVERLOADED, unless it is small.
    size_t received_bytes_max = 0;
  };
  // Makes a call that has come; its stream. Null where there are too many: the client may make it
  // elsewhere.
  using Accept = std::function<Http2Stream*(int32_t id, CallHead head)>;

  // Not owned: `received_bytes`, which sessions share.
  Http2Session(const Options& options, std::atomic<size_t>* received_bytes, Accept accept);
  // All streams were closed.
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Bytes of the peer. False if it does not speak HTTP/2 at all.
  bool Receive(std::string_view bytes);
  // Says what a server says first although the client has said nothing yet: gRPC's C++ client may
  // send its first words only when it looks at the socket, and when it looks again its time is
  // over.
  void Begin() { may_begin_ = true; }
  // Appends what is to be sent, until `out` has `bytes_max` or little more.
  void Send(size_t bytes_max, std::string* out);
  // Nothing more will come of it, and nothing is left to be sent.
  bool IsOver() const;
  // The client makes us answer more than it takes: nothing more should be received.
  bool IsCongested() const;
  CallEvents TakeEvents() {
    CallEvents taken = std::move(events_);
    events_.clear();
    return taken;
  }

  // Of a call's stream: see ServerCall.
  void Read(Http2Stream* stream, std::string* message);
  void Write(Http2Stream* stream, std::string message);
  void Finish(Http2Stream* stream, grpc::Status status);
  void WriteAndFinish(Http2Stream* stream, std::string message);

  // Breaks calls that are due, and those whose first message, or one that has begun to come, is not
  // there after `patience`.
  void BreakLate(TimePoint now, Duration patience);
  void BreakAll(const grpc::Status& status);
  void Ping();
  // Takes no more calls; over when those that it has are.
  void GoAway();
  // The connection is gone.
  void Close();

  // The peer has said what must be said first.
  bool is_greeted() const { return is_greeted_; }
  size_t call_count() const { return streams_.size(); }

 private:
  struct Callbacks;
  struct Deleter {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };
  // A request's header while it comes; one at a time, as HTTP/2 has it.
  struct Head {
    std::string path;
    std::string verb;
    std::string content_type;
    std::optional<std::string> timeout;
    size_t bytes = 0;
  };

  void OnHeader(std::string_view name, std::string_view value);
  void OnHead(int32_t id);
  void RefuseHead(int32_t id, const char* http_status);
  void RefuseStream(int32_t id);
  void OnData(int32_t id, std::string_view bytes);
  void OnInputEnd(int32_t id);
  void OnStreamClosed(int32_t id);
  void OnEndSent(int32_t id);
  // nghttp2 could not send a header.
  void OnHeaderLost(int32_t id);
  ssize_t ReadAnswer(int32_t id, uint8_t* out, size_t bytes_max, uint32_t* flags);

  Http2Stream* Find(int32_t id) const;
  // Goes on with what has come: puts messages together, hands them over.
  void Advance(Http2Stream* stream);
  static bool WantsInput(const Http2Stream& stream);
  static bool IsMute(Http2Stream* stream, TimePoint now, Duration patience);
  void FeedPending(Http2Stream* stream);
  // Bytes for the assembler, of which the sender may now send as many more.
  size_t Feed(Http2Stream* stream, std::string_view bytes);
  void Fail(Http2Stream* stream, const Status& fault);
  void Count(Http2Stream* stream);
  void StopInput(Http2Stream* stream);
  void Answer(Http2Stream* stream, std::string message);
  void SubmitStatus(int32_t id, const grpc::Status& status, bool is_trailer);
  // Ends an answer whose messages were sent, from ReadAnswer.
  void SubmitEnd(int32_t id, const grpc::Status& status, uint32_t* flags);
  // Ends the stream at once, with the status unless a message was sent in part.
  void Break(Http2Stream* stream, const grpc::Status& status);
  // The stream is no longer HTTP/2's: tells the call.
  void Detach(Http2Stream* stream);
  void Tell(CallEvent::Kind kind, Http2Stream* stream) { events_.push_back({kind, stream->call_}); }

  const Options options_;
  std::atomic<size_t>& received_bytes_;
  const Accept accept_;
  std::unique_ptr<nghttp2_session, Deleter> http_;
  size_t opening_bytes_ = 0;  // of the client's first words
  bool may_begin_ = false;
  bool is_greeted_ = false;
  bool goes_away_ = false;
  bool is_failed_ = false;
  Head head_;
  absl::flat_hash_set<Http2Stream*> streams_;  // open ones
  // Of broken streams, which are only to be ended.
  absl::flat_hash_map<int32_t, grpc::Status> ends_;
  CallEvents events_;
};

}  // namespace vectron::rpc
