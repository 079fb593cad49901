#include "gateway/rest/http/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "common/logging.h"
#include "gateway/rest/http/response.h"

namespace vectron::gateway::rest {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

// Of a body, at once.
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kTimerStepBytes = 1 << 20;
// Between the attempts to cancel what has timed out.
constexpr std::chrono::milliseconds kCancelInterval{10};
// Answers that are sent whatever others wait to be taken: connections bound their sum, and
// who asks whether the server lives must not be told that it is busy.
constexpr size_t kSmallAnswerBytes = 64 << 10;
// How much of a request that was refused is read and thrown away, so that the client
// comes to reading the answer; for how long in all; and how long a silence ends it.
constexpr size_t kLingerBytesMax = 256 << 20;
constexpr std::chrono::seconds kLingerTimeMax{30};
constexpr std::chrono::milliseconds kLingerSilenceMax{2'000};

std::string_view ToStd(beast::string_view s) { return {s.data(), s.size()}; }

// The exchange of a request of one connection.
class ConnectionExchange final : public HttpExchange {
 public:
  ConnectionExchange(HttpRequest request, std::shared_ptr<HttpLoop> loop, uint64_t connection,
                     uint64_t number)
      : HttpExchange(std::move(request)),
        loop_(std::move(loop)),
        connection_(connection),
        number_(number) {}

  ~ConnectionExchange() override {
    if (answered_.exchange(true)) return;
    Send(MakeErrorResponse(Internal("the request was dropped without an answer"), 0));
  }

  void Run(absl::AnyInvocable<void()> task) override { loop_->Run(std::move(task)); }

  void Respond(HttpResponse response) override {
    if (answered_.exchange(true)) return;
    Send(std::move(response));
  }

 private:
  void Send(HttpResponse response) {
    loop_->Run([loop = loop_.get(), connection = connection_, number = number_,
                response = std::move(response)]() mutable {
      // The loop runs this, so it is there.
      if (HttpConnection* found = loop->Find(connection)) {
        found->Answer(number, std::move(response));
      }
    });
  }

  const std::shared_ptr<HttpLoop> loop_;
  const uint64_t connection_;
  const uint64_t number_;
  std::atomic<bool> answered_{false};
};

}  // namespace

void HttpConnectionContext::OnConnectionGone() {
  if (connection_count.fetch_sub(1) != 1) return;
  // Under the lock, so that a waiter cannot miss it between its look and its wait.
  MutexLock lock(mutex);
  gone.NotifyAll();
}

void HttpConnectionContext::WaitForConnections(Duration timeout) {
  const TimePoint until = clock->Now() + timeout;
  MutexLock lock(mutex);
  while (connection_count.load() > 0) {
    const TimePoint now = clock->Now();
    if (now >= until) return;
    gone.WaitFor(mutex, until - now);
  }
}

HttpConnection::HttpConnection(std::shared_ptr<HttpConnectionContext> context, HttpLoop* loop,
                               asio::ip::tcp::socket socket)
    : context_(std::move(context)),
      socket_(std::move(socket)),
      timer_(loop->io()),
      buffer_(context_->options.header_bytes_max + kReadBytes) {
  ErrorCode ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

HttpConnection::~HttpConnection() {
  UncountBody();
  UncountAnswer();
  context_->OnConnectionGone();
}

void HttpConnection::Register(std::shared_ptr<HttpLoop> loop) {
  loop_ = std::move(loop);
  number_ = loop_->Add(shared_from_this());
}

void HttpConnection::Start(std::shared_ptr<HttpLoop> loop) {
  Register(std::move(loop));
  AwaitRequest();
}

void HttpConnection::Refuse(std::shared_ptr<HttpLoop> loop) {
  Register(std::move(loop));
  RefuseRequest(MakeError(
      Reason::kTooManyConnections,
      fmt::format("too many connections, the limit is {}", context_->options.connections_max)));
}

void HttpConnection::SetTimer(std::chrono::milliseconds timeout) {
  ++timer_round_;
  timed_out_ = false;
  if (context_->draining.load()) timeout = std::min(timeout, context_->options.drain_patience);
  AwaitTimer(timeout);
}

void HttpConnection::AwaitTimer(std::chrono::milliseconds timeout) {
  timer_.expires_after(timeout);
  timer_.async_wait([self = shared_from_this(), round = timer_round_](ErrorCode error) {
    if (error || round != self->timer_round_) return;
    self->timed_out_ = true;
    ErrorCode ignored;
    self->socket_.cancel(ignored);
    self->AwaitTimer(kCancelInterval);
  });
}

void HttpConnection::StopTimer() {
  ++timer_round_;
  timed_out_ = false;
  timer_.cancel();
}

bool HttpConnection::CountBody(size_t bytes) {
  const size_t added = bytes - body_counted_bytes_;
  body_counted_bytes_ = bytes;
  return context_->bodies_bytes.fetch_add(added) + added <= context_->options.bodies_bytes_max;
}

void HttpConnection::UncountBody() {
  context_->bodies_bytes.fetch_sub(body_counted_bytes_);
  body_counted_bytes_ = 0;
}

bool HttpConnection::CountAnswer(size_t bytes) {
  const size_t others = context_->answers_bytes.fetch_add(bytes);
  answer_counted_bytes_ = bytes;
  return others == 0 || others + bytes <= context_->options.answers_bytes_max;
}

void HttpConnection::UncountAnswer() {
  context_->answers_bytes.fetch_sub(answer_counted_bytes_);
  answer_counted_bytes_ = 0;
}

void HttpConnection::AwaitRequest() {
  if (context_->draining.load()) return Finish();
  if (buffer_.size() > 0) return ReadHeader();
  state_ = State::kIdle;
  // A client that comes and goes for hours must not keep its largest header.
  buffer_.shrink_to_fit();
  SetTimer(context_->options.idle_timeout);
  socket_.async_wait(asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](ErrorCode error) {
                       if (self->state_ != State::kIdle) return;
                       if (error) return self->Close();
                       self->ReadHeader();
                     });
}

void HttpConnection::ReadHeader() {
  state_ = State::kHeader;
  request_complete_ = false;
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(context_->options.header_bytes_max));
  parser_->body_limit(context_->options.body_bytes_max);
  is_head_ = false;
  SetTimer(context_->options.header_timeout);
  http::async_read_header(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->OnHeader(error); });
}

void HttpConnection::OnHeader(ErrorCode error) {
  if (state_ != State::kHeader) return;
  if (error == http::error::bad_method && SkipEmptyLine()) {
    // It may have come behind the request that it belongs to.
    return buffer_.size() > 0 ? ReadHeader() : AwaitRequest();
  }
  if (error) return OnReadError(error);
  skipped_empty_line_ = false;
  StopTimer();
  received_at_ = context_->clock->Now();
  if (!AcceptHeader()) return;
  if (parser_->is_done()) return HandleRequest();
  state_ = State::kBody;
  body_timer_bytes_ = 0;
  SetTimer(context_->options.body_timeout);
  if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) return SendContinue();
  ReadBody();
}

bool HttpConnection::SkipEmptyLine() {
  constexpr std::string_view kEmptyLine = "\r\n";
  if (skipped_empty_line_ || buffer_.size() < kEmptyLine.size()) return false;
  if (std::memcmp(buffer_.data().data(), kEmptyLine.data(), kEmptyLine.size()) != 0) return false;
  buffer_.consume(kEmptyLine.size());
  skipped_empty_line_ = true;
  return true;
}

bool HttpConnection::AcceptHeader() {
  const auto& header = parser_->get();
  const size_t host_count = header.count(http::field::host);
  if (host_count > 1 || (host_count == 0 && header.version() >= 11)) {
    RefuseRequest(InvalidArgument(host_count > 1 ? "the request has more than one Host header"
                                                 : "the request has no Host header"));
    return false;
  }
  const auto expect = header[http::field::expect];
  if (!expect.empty() && !beast::iequals(expect, "100-continue")) {
    RefuseRequest(
        MakeError(Reason::kExpectationFailed, "the only expectation that is met is 100-continue"));
    return false;
  }
  const size_t coding_count = header.count(http::field::transfer_encoding);
  if (coding_count > 1 ||
      (coding_count == 1 && !beast::iequals(header[http::field::transfer_encoding], "chunked"))) {
    RefuseRequest(InvalidArgument("the only transfer encoding that is understood is chunked"));
    return false;
  }
  const auto encoding = header[http::field::content_encoding];
  if (!encoding.empty() && !beast::iequals(encoding, "identity")) {
    RefuseRequest(MakeError(Reason::kUnsupportedMediaType, "compressed bodies are not understood"));
    return false;
  }
  return true;
}

void HttpConnection::SendContinue() {
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(socket_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](ErrorCode error, size_t) {
                      if (self->state_ != State::kBody) return;
                      if (error) return self->OnReadError(error);
                      self->ReadBody();
                    });
}

void HttpConnection::ReadBody() {
  // What is read at once is what there is room for, but for 512 bytes.
  const uint64_t left = parser_->content_length_remaining().value_or(kReadBytes);
  buffer_.reserve(std::max<size_t>(buffer_.size(), std::min<uint64_t>(left, kReadBytes)));
  http::async_read_some(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

void HttpConnection::OnBody(ErrorCode error) {
  if (state_ != State::kBody) return;
  if (error) return OnReadError(error);
  const size_t bytes = parser_->get().body().size();
  if (!CountBody(bytes)) {
    return RefuseRequest(MakeError(Reason::kOverloaded,
                                   fmt::format("the requests being read have more than {} bytes",
                                               context_->options.bodies_bytes_max)));
  }
  if (parser_->is_done()) {
    StopTimer();
    return HandleRequest();
  }
  if (timed_out_) return OnReadTimeout();
  if (bytes >= body_timer_bytes_ + kTimerStepBytes) {
    body_timer_bytes_ = bytes;
    SetTimer(context_->options.body_timeout);
  }
  ReadBody();
}

void HttpConnection::OnReadTimeout() {
  StopTimer();
  // Half a request was not understood, and who sent it may never listen.
  if (context_->draining.load()) return Close();
  RefuseRequest(MakeError(Reason::kRequestTimeout, "the request took too long to arrive"));
}

void HttpConnection::OnReadError(ErrorCode error) {
  // An error that came while the timer ran out says what is wrong all the same.
  if (timed_out_ && error == asio::error::operation_aborted) return OnReadTimeout();
  StopTimer();
  if (error == http::error::end_of_stream) return Linger();
  if (error == http::error::body_limit) {
    return RefuseRequest(MakeError(
        Reason::kRequestTooLarge,
        fmt::format("the body is larger than {} bytes", context_->options.body_bytes_max)));
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return RefuseRequest(MakeError(
        Reason::kHeaderTooLarge,
        fmt::format("the header is larger than {} bytes", context_->options.header_bytes_max)));
  }
  if (error == http::error::partial_message) {
    return RefuseRequest(InvalidArgument("the request ended before it was complete"));
  }
  // The parser's errors have a category of their own; the rest is the network's.
  if (error.category() == http::make_error_code(http::error::bad_method).category()) {
    return RefuseRequest(
        InvalidArgument(fmt::format("not a valid HTTP request: {}", error.message())));
  }
  Close();
}

void HttpConnection::HandleRequest() {
  auto& message = parser_->get();
  state_ = State::kHandling;
  request_complete_ = true;
  // What an old client ends its body with is not its next request.
  SkipEmptyLine();
  keep_alive_ = message.keep_alive();
  is_head_ = message.method() == http::verb::head;
  HttpRequest request{
      .method = std::string(ToStd(message.method_string())),
      .target = std::string(ToStd(message.target())),
      .content_type = std::string(ToStd(message[http::field::content_type])),
      .session_token = std::string(ToStd(message["Vectron-Session"])),
      .body = std::move(message.body()),
      .received_at = received_at_,
  };
  auto exchange =
      std::make_shared<ConnectionExchange>(std::move(request), loop_, number_, ++request_number_);
  exchange_ = exchange;
  // The answer may come inside this call and close the connection.
  const auto self = shared_from_this();
  const uint64_t number = request_number_;
  try {
    context_->handler(exchange);
  } catch (const std::exception& error) {
    VECTRON_LOG_ERROR("a request's handler failed: {}", error.what());
    exchange->Respond(MakeErrorResponse(Internal(error.what()), 0));
  }
  exchange.reset();
  if (state_ == State::kHandling && request_number_ == number) WatchClient();
}

void HttpConnection::WatchClient() {
  if (buffer_.size() > 0) return;  // it has sent the next request already
  socket_.async_wait(asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this(), number = request_number_](ErrorCode error) {
                       if (self->state_ == State::kHandling && self->request_number_ == number) {
                         self->OnClientHeard(error);
                       }
                     });
}

void HttpConnection::OnClientHeard(ErrorCode error) {
  // Bytes are its next request; the end, or an error, is its leaving.
  char byte = 0;
  const ssize_t got = error ? -1 : recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0 || (got < 0 && !error && (errno == EAGAIN || errno == EWOULDBLOCK))) return;
  if (const auto exchange = exchange_.lock()) exchange->MarkClientGone();
}

void HttpConnection::Answer(uint64_t request, HttpResponse response) {
  if (state_ != State::kHandling || request != request_number_) return;
  Write(std::move(response));
}

void HttpConnection::RefuseRequest(const Status& why) {
  keep_alive_ = false;
  request_complete_ = false;
  HttpResponse response = MakeErrorResponse(why, 0);
  context_->options.on_refused(response.status);
  Write(std::move(response));
}

void HttpConnection::Write(HttpResponse response) {
  state_ = State::kWriting;
  UncountBody();
  parser_.reset();
  const bool has_room = CountAnswer(is_head_ ? 0 : response.body.size());
  if (!has_room && response.status == 200 && response.body.size() > kSmallAnswerBytes) {
    UncountAnswer();
    response = MakeErrorResponse(
        MakeError(Reason::kOverloaded,
                  fmt::format("the answers that clients have not taken have more than {} bytes",
                              context_->options.answers_bytes_max)),
        0);
    context_->options.on_refused(response.status);
  }
  if (context_->draining.load()) keep_alive_ = false;
  out_head_ = fmt::format("HTTP/1.1 {} {}\r\n", response.status, HttpStatusText(response.status));
  if (response.status != 204) {
    out_head_ += fmt::format("Content-Length: {}\r\nContent-Type: {}\r\n", response.body.size(),
                             response.content_type);
  }
  for (const auto& [name, value] : response.headers) {
    out_head_ += fmt::format("{}: {}\r\n", name, value);
  }
  out_head_ += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  out_body_ = is_head_ ? std::string() : std::move(response.body);
  out_written_bytes_ = 0;
  write_until_ =
      context_->clock->Now() + context_->options.write_timeout *
                                   static_cast<int64_t>(1 + out_body_.size() / kTimerStepBytes);
  WriteMore();
}

void HttpConnection::WriteMore() {
  using std::chrono::milliseconds;
  const auto left = std::chrono::duration_cast<milliseconds>(write_until_ - context_->clock->Now());
  SetTimer(std::clamp(left, milliseconds(0), context_->options.write_timeout));
  const size_t head_written = std::min(out_written_bytes_, out_head_.size());
  const std::array<asio::const_buffer, 2> buffers = {
      asio::buffer(out_head_) + head_written,
      asio::buffer(out_body_) + (out_written_bytes_ - head_written)};
  socket_.async_write_some(buffers, [self = shared_from_this()](ErrorCode error, size_t bytes) {
    self->OnWritten(error, bytes);
  });
}

void HttpConnection::OnWritten(ErrorCode error, size_t bytes) {
  if (state_ != State::kWriting) return;
  out_written_bytes_ += bytes;
  if (!error && out_written_bytes_ < out_head_.size() + out_body_.size()) return WriteMore();
  StopTimer();
  out_body_ = std::string();
  UncountAnswer();
  if (error) return Close();
  if (!keep_alive_) return Finish();
  AwaitRequest();
}

void HttpConnection::Finish() {
  ErrorCode ignored;
  const bool all_read = request_complete_ && buffer_.size() == 0 && socket_.available(ignored) == 0;
  all_read ? Close() : Linger();
}

void HttpConnection::Linger() {
  // Closing a socket with unread bytes resets it, and the reset can overtake the
  // answer: end our side, and read until the client has ended its own.
  state_ = State::kLingering;
  ErrorCode error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error) return Close();
  buffer_.clear();
  linger_until_ = context_->clock->Now() + kLingerTimeMax;
  Discard();
}

void HttpConnection::Discard() {
  SetTimer(kLingerSilenceMax);
  socket_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](ErrorCode error, size_t bytes) {
                            if (self->state_ != State::kLingering) return;
                            self->lingered_bytes_ += bytes;
                            if (error || self->lingered_bytes_ > kLingerBytesMax ||
                                self->context_->clock->Now() > self->linger_until_) {
                              return self->Close();
                            }
                            self->Discard();
                          });
}

void HttpConnection::Drain() {
  if (state_ == State::kIdle) return Close();
  // While its request is handled nothing is awaited of the client; when the answer is
  // written, the connection sees for itself that the server drains.
  if (state_ == State::kHandling || state_ == State::kClosed) return;
  SetTimer(context_->options.drain_patience);
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  StopTimer();
  if (const auto exchange = exchange_.lock()) exchange->MarkClientGone();
  ErrorCode ignored;
  socket_.close(ignored);
  if (loop_ == nullptr) return;
  // `this` may live only through the loop.
  const auto self = shared_from_this();
  loop_->Remove(number_);
}

}  // namespace vectron::gateway::rest
