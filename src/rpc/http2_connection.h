#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/mutex.h"
#include "rpc/http2_session.h"
#include "rpc/owned_fd.h"

namespace vectron::rpc {

class ServerLoop;

struct Http2ConnectionOptions {
  Http2Session::Options session;
  std::chrono::milliseconds keepalive_interval{0};
  std::chrono::milliseconds keepalive_timeout{0};
  std::chrono::milliseconds handshake_timeout{0};
  std::chrono::milliseconds idle_timeout{0};
  std::chrono::milliseconds request_patience{0};
};

// A client's connection: its socket and its session. What is received belongs to the thread of
// its loop. What a call has to send is sent by the thread that brings it, so that an answer does
// not wait for the loop; on the loop's own thread it is sent when the loop has told its calls what
// it found, all at once. The loop is told when a socket that took no more has room again.
class Http2Connection : public std::enable_shared_from_this<Http2Connection> {
 public:
  // Outlive the connection: `options`, `loop`, `received_bytes` (of all connections).
  Http2Connection(const Http2ConnectionOptions& options, ServerLoop* loop, AdmittedSocket socket,
                  std::atomic<size_t>* received_bytes);

  int fd() const { return socket_.fd.get(); }

  // For the loop's thread. False: the connection is over, Close it ---------------------

  // `events` of epoll; `buffer` is for what is received.
  bool OnReady(uint32_t events, std::span<char> buffer);
  bool OnTick(TimePoint now);
  // Sends what was brought on this thread.
  bool Settle();
  // Takes no more calls; is over soon after those that it has.
  void Drain();
  void BreakCalls(const grpc::Status& status);
  void Close();
  // Whether it is among those that the loop is to settle: the loop's.
  bool is_unsettled = false;

  // For calls, on any thread: see ServerCall -------------------------------------------

  void Read(Http2Stream* stream, std::string* message);
  void Write(Http2Stream* stream, std::string message);
  void Finish(Http2Stream* stream, const grpc::Status& status);
  void WriteAndFinish(Http2Stream* stream, std::string message);

 private:
  // Acts on the session, sends what comes of it, now or when the loop settles it, then tells the
  // calls.
  template <typename Act>
  void With(Act&& act);
  // Sends until nothing is left, or the socket takes no more.
  void Flush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How many bytes the socket took; it may break.
  size_t SendSome(std::string_view bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells the loop what to wait for.
  void Await(bool room) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsOver() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Lingers();
  bool Receive(std::span<char> buffer);
  // Tells one who speaks something else what is spoken here.
  void Explain();
  // The session is over: ends our side, waits a little for the client to end its own, as closing
  // a socket with unread bytes would take back what was sent.
  bool Linger();

  const Http2ConnectionOptions& options_;
  ServerLoop& loop_;
  const AdmittedSocket socket_;

  Mutex mutex_;
  Http2Session session_ ABSL_GUARDED_BY(mutex_);
  std::string unsent_ ABSL_GUARDED_BY(mutex_);
  bool awaits_room_ ABSL_GUARDED_BY(mutex_) = false;
  bool awaits_bytes_ ABSL_GUARDED_BY(mutex_) = true;
  bool is_broken_ ABSL_GUARDED_BY(mutex_) = false;  // the socket
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool lingers_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the loop's thread.
  const TimePoint opened_at_;
  bool is_heard_ = false;  // since the last tick
  TimePoint heard_at_;     // at the tick after that
  TimePoint pinged_at_;
  bool is_pinged_ = false;  // since it was heard
  TimePoint idle_since_;
  TimePoint linger_until_;
};

}  // namespace vectron::rpc
