#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/mutex.h"
#include "gateway/rest/http/loop.h"
#include "gateway/rest/http/server.h"
#include "gateway/rest/http/types.h"

namespace vectron::gateway::rest {

// What all connections of a server share. Thread-safe.
struct HttpConnectionContext {
  HttpConnectionContext(HttpServerOptions options, HttpHandler handler, const Clock* clock)
      : options(std::move(options)), handler(std::move(handler)), clock(clock) {}

  // Called by a connection's destructor.
  void OnConnectionGone();
  // Waits until there are no connections, or `timeout` has passed.
  void WaitForConnections(Duration timeout);

  const HttpServerOptions options;
  const HttpHandler handler;
  const Clock* const clock;
  std::atomic<size_t> connection_count{0};
  std::atomic<size_t> bodies_bytes{0};
  std::atomic<size_t> answers_bytes{0};
  std::atomic<bool> draining{false};
  Mutex mutex;
  CondVar gone;
};

// One client's connection. Lives on its loop's thread; kept alive by the loop until it
// is closed, and by whatever operation is under way. It is always in one state, and in
// every state exactly one thing is awaited: bytes, the handler, or the end of a write.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::shared_ptr<HttpConnectionContext> context, HttpLoop* loop,
                 boost::asio::ip::tcp::socket socket);
  ~HttpConnection();

  void Start(std::shared_ptr<HttpLoop> loop);
  // Instead of Start, for a connection too many: answers 503 and closes.
  void Refuse(std::shared_ptr<HttpLoop> loop);
  // The answer to request number `request`; ignored unless that is being handled.
  void Answer(uint64_t request, HttpResponse response);
  // Finishes the request at hand, if there is one that has arrived, and closes.
  void Drain();
  void Close();

 private:
  enum class State { kIdle, kHeader, kBody, kHandling, kWriting, kLingering, kClosed };

  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using ErrorCode = boost::system::error_code;

  void AwaitRequest();
  void ReadHeader();
  void OnHeader(ErrorCode error);
  // Takes an empty line at the buffer's beginning away, once between two requests: old clients
  // end a body with one (RFC 9112, 2.2). False if there is none.
  bool SkipEmptyLine();
  // False after having refused the request for what its header says.
  bool AcceptHeader();
  void SendContinue();
  void ReadBody();
  void OnBody(ErrorCode error);
  void HandleRequest();
  // While a request is being answered: tells its exchange when the client goes.
  void WatchClient();
  void OnClientHeard(ErrorCode error);
  void OnReadError(ErrorCode error);
  // What was being read did not come in time.
  void OnReadTimeout();
  // Answers on the server's own account; the connection ends with it.
  void RefuseRequest(const Status& why);
  void Write(HttpResponse response);
  // Writes what is left of out_head_ and out_body_.
  void WriteMore();
  void OnWritten(ErrorCode error, size_t bytes);
  // Closes; after lingering, where the client may still be sending.
  void Finish();
  void Linger();
  void Discard();
  void Register(std::shared_ptr<HttpLoop> loop);

  // Cancels the socket's operation when `timeout`, or the shorter patience of a server that
  // drains, passes before the next SetTimer or StopTimer. Again and again, until one of them
  // is called: an operation whose end is queued already cannot be cancelled, and what follows
  // it would wait without a timer.
  void SetTimer(std::chrono::milliseconds timeout);
  void StopTimer();
  void AwaitTimer(std::chrono::milliseconds timeout);
  bool CountBody(size_t bytes);
  void UncountBody();
  // Whether there is room for an answer's body of so many bytes; it is counted.
  bool CountAnswer(size_t bytes);
  void UncountAnswer();

  const std::shared_ptr<HttpConnectionContext> context_;
  std::shared_ptr<HttpLoop> loop_;
  uint64_t number_ = 0;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  uint64_t timer_round_ = 0;
  bool timed_out_ = false;  // in this round

  State state_ = State::kIdle;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  size_t body_counted_bytes_ = 0;  // in context_->bodies_bytes
  size_t body_timer_bytes_ = 0;    // when the timer was last set
  uint64_t request_number_ = 0;
  std::weak_ptr<HttpExchange> exchange_;  // of the request being handled
  bool keep_alive_ = false;
  bool request_complete_ = false;
  bool skipped_empty_line_ = false;
  bool is_head_ = false;
  TimePoint received_at_;

  std::string out_head_;
  std::string out_body_;
  size_t out_written_bytes_ = 0;     // of both
  size_t answer_counted_bytes_ = 0;  // in context_->answers_bytes
  TimePoint write_until_;
  size_t lingered_bytes_ = 0;
  TimePoint linger_until_;
};

}  // namespace vectron::gateway::rest
