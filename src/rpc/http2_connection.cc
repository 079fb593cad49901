#include "rpc/http2_connection.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "rpc/server_call.h"
#include "rpc/server_loop.h"

namespace vectron::rpc {
namespace {

// Of a session's frames, before they are sent: also what a client that takes nothing holds.
constexpr size_t kSendBytes = 64 << 10;
// Of one connection, before others have their turn.
constexpr int kReceivesPerTurn = 16;
constexpr std::chrono::seconds kLingerTimeMax{1};

constexpr std::string_view kNotHttp2 =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n"
    "Connection: close\r\n\r\n"
    "This port speaks gRPC (HTTP/2 without TLS). REST is on another.\n";

}  // namespace

Http2Connection::Http2Connection(const Http2ConnectionOptions& options, ServerLoop* loop,
                                 AdmittedSocket socket, std::atomic<size_t>* received_bytes)
    : options_(options),
      loop_(*loop),
      socket_(std::move(socket)),
      session_(options.session, received_bytes,
               [this](int32_t id, CallHead head) {
                 return ServerCall::Make(shared_from_this(), id, std::move(head),
                                         options_.session.message_bytes_max, loop_.shared_calls());
               }),
      opened_at_(SystemClock().Now()),
      heard_at_(opened_at_),
      idle_since_(opened_at_) {}

Http2Connection::~Http2Connection() = default;

template <typename Act>
bool Http2Connection::With(Act&& act) {
  CallEvents events;
  bool is_over = false;
  // A call that is told may be the last to hold the connection.
  ServerLoop& loop = loop_;
  {
    MutexLock lock(mutex_);
    act(session_);
    Flush();
    is_over = IsOver();
    // So that the loop comes to end it.
    if (is_over && !loop.IsThisThread() && !std::exchange(is_end_told_, true)) AwaitRoom(true);
    events = session_.TakeEvents();
  }
  loop.Tell(events);
  return !is_over;
}

bool Http2Connection::IsOver() { return is_broken_ || (session_.IsOver() && unsent_.empty()); }

void Http2Connection::Flush() {
  if (is_closed_ || is_broken_) return;
  thread_local std::string frames;
  for (;;) {
    if (!unsent_.empty()) {
      unsent_.erase(0, SendSome(unsent_));
      if (!unsent_.empty()) return AwaitRoom(true);
    }
    frames.clear();
    session_.Send(kSendBytes, &frames);
    if (frames.empty()) return AwaitRoom(false);
    const size_t sent = SendSome(frames);
    if (sent < frames.size()) unsent_.assign(frames, sent);
    if (is_broken_) return;
  }
}

size_t Http2Connection::SendSome(std::string_view bytes) {
  const ssize_t sent =
      send(socket_.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return static_cast<size_t>(sent);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) return 0;
  // Lets the loop know, which will close it.
  is_broken_ = true;
  shutdown(socket_.fd.get(), SHUT_RDWR);
  return 0;
}

void Http2Connection::AwaitRoom(bool wanted) {
  if (std::exchange(awaits_room_, wanted) != wanted) loop_.Watch(this, wanted);
}

bool Http2Connection::OnReady(uint32_t events, std::span<char> buffer) {
  if (events & (EPOLLERR | EPOLLHUP)) {
    // What came before the end may still be answered, but nobody would take it.
    return false;
  }
  if (events & EPOLLIN) {
    if (!Receive(buffer)) return false;
  } else if (!lingers_ && !With([](Http2Session&) {})) {
    return Linger();
  }
  return true;
}

bool Http2Connection::Receive(std::span<char> buffer) {
  for (int i = 0; i < kReceivesPerTurn; ++i) {
    const ssize_t got = recv(socket_.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (!lingers_) {
      is_heard_ = true;
      bool is_http2 = true;
      const bool goes_on = With([&](Http2Session& session) {
        is_http2 = session.Receive({buffer.data(), static_cast<size_t>(got)});
        if (!is_http2) session.Close();
      });
      if (!is_http2) Explain();
      if ((!is_http2 || !goes_on) && !Linger()) return false;
    }
    // The rest would be told of again.
    if (static_cast<size_t>(got) < buffer.size()) return true;
  }
  return true;
}

void Http2Connection::Explain() {
  MutexLock lock(mutex_);
  SendSome(kNotHttp2);
}

bool Http2Connection::Linger() {
  if (lingers_) return true;
  lingers_ = true;
  linger_until_ = SystemClock().Now() + kLingerTimeMax;
  MutexLock lock(mutex_);
  is_end_told_ = true;
  AwaitRoom(false);
  return !is_broken_ && shutdown(socket_.fd.get(), SHUT_WR) == 0;
}

bool Http2Connection::OnTick(TimePoint now) {
  if (lingers_) return now < linger_until_;
  if (std::exchange(is_heard_, false)) {
    heard_at_ = now;
    is_pinged_ = false;
  }
  bool is_late = false;
  const bool goes_on = With([&](Http2Session& session) {
    session.BreakLate(now, options_.request_patience);
    if (session.call_count() > 0) idle_since_ = now;
    if (!session.is_greeted()) {
      is_late = now - opened_at_ >= options_.handshake_timeout;
    } else if (is_pinged_) {
      is_late = now - pinged_at_ >= options_.keepalive_timeout;
    } else if (now - heard_at_ >= options_.keepalive_interval) {
      session.Ping();
      is_pinged_ = true;
      pinged_at_ = now;
    }
    if (now - idle_since_ >= options_.idle_timeout) session.GoAway();
  });
  if (is_late) return false;
  return goes_on || Linger();
}

bool Http2Connection::Drain() {
  if (lingers_) return true;
  return With([](Http2Session& session) { session.GoAway(); }) || Linger();
}

bool Http2Connection::BreakCalls(const grpc::Status& status) {
  if (lingers_) return true;
  return With([&](Http2Session& session) { session.BreakAll(status); }) || Linger();
}

void Http2Connection::Close() {
  {
    MutexLock lock(mutex_);
    is_closed_ = true;
    is_end_told_ = true;
    // The socket lives until its last call ends, and the client should not wait for that.
    shutdown(socket_.fd.get(), SHUT_RDWR);
  }
  With([](Http2Session& session) { session.Close(); });
}

void Http2Connection::Read(Http2Stream* stream, std::string* message) {
  With([&](Http2Session& session) { session.Read(stream, message); });
}

void Http2Connection::Write(Http2Stream* stream, std::string message) {
  With([&](Http2Session& session) { session.Write(stream, std::move(message)); });
}

void Http2Connection::Finish(Http2Stream* stream, const grpc::Status& status) {
  With([&](Http2Session& session) { session.Finish(stream, status); });
}

void Http2Connection::WriteAndFinish(Http2Stream* stream, std::string message) {
  With([&](Http2Session& session) { session.WriteAndFinish(stream, std::move(message)); });
}

void Http2Connection::Break(Http2Stream* stream, const grpc::Status& status) {
  With([&](Http2Session& session) { session.Break(stream, status); });
}

}  // namespace vectron::rpc
