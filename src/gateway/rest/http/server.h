#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "gateway/rest/http/types.h"

namespace vectron::gateway::rest {

class HttpAcceptor;
class HttpLoop;
struct HttpConnectionContext;

struct HttpServerOptions {
  std::string listen = "127.0.0.1:6333";  // HOST:PORT, [V6]:PORT; port 0: any free one
  int thread_count = 0;                   // 0: by the number of cores

  size_t connections_max = 4'096;       // more are answered 503 and closed
  size_t header_bytes_max = 16 << 10;   // 431
  size_t body_bytes_max = 64 << 20;     // 413
  size_t bodies_bytes_max = 512 << 20;  // of all requests being read or handled: 429
  // Of all answers that clients have not taken yet: a large one (over 64 KiB) beyond it is
  // replaced by 429, unless there is no other. Errors are sent in any case: they may tell
  // what became of a write.
  size_t answers_bytes_max = 512 << 20;

  // A connection without a request is closed after this.
  std::chrono::milliseconds idle_timeout{75'000};
  // From a request's first byte to the end of its header: 408.
  std::chrono::milliseconds header_timeout{10'000};
  // For each megabyte of a body to arrive: 408.
  std::chrono::milliseconds body_timeout{30'000};
  // A client that takes nothing of its response for so long is hung up on; so is one that
  // takes longer than this for each megabyte of it.
  std::chrono::milliseconds write_timeout{30'000};
  // How long Stop waits for requests that are being answered.
  std::chrono::milliseconds drain_timeout{10'000};
  // What each of the timeouts above is at most once Stop was called: a request of which
  // half is there, or an answer that nobody reads, does not hold it up.
  std::chrono::milliseconds drain_patience{1'000};

  // Told of every response that the server gives on its own, without the handler or in
  // place of its answer (400, 408, 413, 417, 429, 431, 503). Called on server threads.
  std::function<void(int status)> on_refused = [](int) {};
};

// An HTTP/1.1 server: a few threads with an event loop each; a connection belongs to
// one of them for life and has one request at a time (what a client pipelines waits its
// turn). Every limit has an answer in JSON; a connection that cannot go on is shut down
// so that the client can still read why. Start and Stop from one thread, once each.
class HttpServer {
 public:
  HttpServer(HttpServerOptions options, HttpHandler handler, const Clock* clock);
  // Stops, if that was not done.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // UNAVAILABLE if the address cannot be listened on, INVALID_ARGUMENT if it is none.
  Status Start();
  // The port that is listened on, after Start.
  uint16_t port() const { return port_; }
  size_t connection_count() const;

  // Accepts no more, closes idle connections, lets requests finish until the drain
  // timeout, closes the rest, joins the threads. A request is one that has arrived whole:
  // who sends or reads too slowly for the drain patience is hung up on. Exchanges may
  // outlive it.
  void Stop();

 private:
  const std::shared_ptr<HttpConnectionContext> context_;
  std::vector<std::shared_ptr<HttpLoop>> loops_;
  std::shared_ptr<HttpAcceptor> acceptor_;
  uint16_t port_ = 0;
};

}  // namespace vectron::gateway::rest
