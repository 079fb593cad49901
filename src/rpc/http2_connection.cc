#include "rpc/http2_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "rpc/server_call.h"
#include "rpc/server_loop.h"

namespace vectron::rpc {
namespace {

// Of a session's frames, before they are sent: also what a client that takes nothing holds.
constexpr size_t kSendBytes = 64 << 10;
// Of one connection, before others have their turn.
constexpr int kReceivesPerTurn = 16;
constexpr std::chrono::seconds kLingerTimeMax{1};

// What is said to one who speaks something else, and said it before the first tick: nothing was
// said by us until then.
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

template <typename Act>
void Http2Connection::With(Act&& act) {
  CallEvents events;
  // A call that is told may be the last to hold the connection.
  ServerLoop& loop = loop_;
  const bool is_here = loop.IsThisThread();
  bool is_closed = false;
  {
    MutexLock lock(mutex_);
    act(session_);
    if (!is_here) Flush();
    events = session_.TakeEvents();
    is_closed = is_closed_;
  }
  // The loop does not know one that it has closed.
  if (is_here && !is_closed) loop.SettleLater(this);
  loop.Tell(events);
}

bool Http2Connection::Settle() {
  CallEvents events;
  bool is_over = false;
  {
    MutexLock lock(mutex_);
    Flush();
    is_over = IsOver();
    events = session_.TakeEvents();
  }
  loop_.Tell(events);
  return !is_over || Linger();
}

bool Http2Connection::IsOver() const {
  return is_broken_ || (session_.IsOver() && unsent_.empty());
}

bool Http2Connection::Lingers() {
  MutexLock lock(mutex_);
  return lingers_;
}

void Http2Connection::Flush() {
  if (is_closed_ || is_broken_ || lingers_) return;
  thread_local std::string frames;
  for (;;) {
    if (!unsent_.empty()) {
      unsent_.erase(0, SendSome(unsent_));
      if (!unsent_.empty()) return Await(/*room=*/true);
    }
    frames.clear();
    session_.Send(kSendBytes, &frames);
    if (frames.empty()) break;
    const size_t sent = SendSome(frames);
    if (sent < frames.size()) unsent_.assign(frames, sent);
    if (is_broken_) return;
  }
  // There is room, so that the loop comes at once, to end what is over.
  Await(IsOver() && !loop_.IsThisThread());
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

void Http2Connection::Await(bool room) {
  const bool bytes = !room || !session_.IsCongested();
  if (room == awaits_room_ && bytes == awaits_bytes_) return;
  awaits_room_ = room;
  awaits_bytes_ = bytes;
  loop_.Watch(this, bytes, room);
}

bool Http2Connection::OnReady(uint32_t events, std::span<char> buffer) {
  // What came before the end may still be answered, but nobody would take it.
  if (events & (EPOLLERR | EPOLLHUP)) return false;
  if (events & EPOLLOUT) loop_.SettleLater(this);
  return !(events & EPOLLIN) || Receive(buffer);
}

bool Http2Connection::Receive(std::span<char> buffer) {
  const bool lingers = Lingers();
  for (int i = 0; i < kReceivesPerTurn; ++i) {
    const ssize_t got = recv(socket_.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    is_heard_ = true;
    bool is_http2 = true;
    bool may_go_on = true;
    if (!lingers) {
      With([&](Http2Session& session) {
        is_http2 = session.Receive({buffer.data(), static_cast<size_t>(got)});
        if (!is_http2) session.Close();
        may_go_on = !session.IsOver() && !session.IsCongested();
      });
    }
    if (!is_http2) Explain();
    // The rest would be told of again.
    if (!may_go_on || static_cast<size_t>(got) < buffer.size()) return true;
  }
  return true;
}

void Http2Connection::Explain() {
  MutexLock lock(mutex_);
  SendSome(kNotHttp2);
}

bool Http2Connection::Linger() {
  MutexLock lock(mutex_);
  if (lingers_) return true;
  lingers_ = true;
  linger_until_ = SystemClock().Now() + kLingerTimeMax;
  Await(/*room=*/false);
  return !is_broken_ && shutdown(socket_.fd.get(), SHUT_WR) == 0;
}

bool Http2Connection::OnTick(TimePoint now) {
  if (Lingers()) return now < linger_until_;
  if (std::exchange(is_heard_, false)) {
    heard_at_ = now;
    is_pinged_ = false;
  }
  bool is_late = false;
  With([&](Http2Session& session) {
    session.Begin();
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
  return !is_late;
}

void Http2Connection::Drain() {
  With([](Http2Session& session) { session.GoAway(); });
}

void Http2Connection::BreakCalls(const grpc::Status& status) {
  With([&](Http2Session& session) { session.BreakAll(status); });
}

void Http2Connection::Close() {
  CallEvents events;
  {
    MutexLock lock(mutex_);
    is_closed_ = true;
    // The socket lives until its last call ends, and the client should not wait for that.
    shutdown(socket_.fd.get(), SHUT_RDWR);
    session_.Close();
    events = session_.TakeEvents();
  }
  loop_.Tell(events);
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

}  // namespace vectron::rpc
