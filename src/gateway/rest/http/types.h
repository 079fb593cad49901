#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"

namespace vectron::gateway::rest {

struct HttpRequest {
  std::string method;  // "GET", as sent
  std::string target;  // path and query, as sent
  std::string content_type;
  std::string session_token;  // the Vectron-Session header
  std::string body;
  TimePoint received_at;  // when its header was complete
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // besides those of the message
};

// One request that waits for its response. Owned by whoever answers it; dropping it
// unanswered answers 500. Thread-safe.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  const HttpRequest& request() const { return request_; }

  // Whether the client has closed its end since; valid as long as the exchange. Known only
  // while the thread of the connection is not busy.
  const std::atomic<bool>* client_gone() const { return &client_gone_; }
  void MarkClientGone() { client_gone_.store(true, std::memory_order_relaxed); }

  // Runs `task` on the thread of the connection, at once if this is that thread. For
  // work that must not burden the thread that brings an answer. Dropped, unrun, when
  // the server has stopped.
  virtual void Run(absl::AnyInvocable<void()> task) = 0;

  // The first call counts. After the client has gone it does nothing.
  virtual void Respond(HttpResponse response) = 0;

 protected:
  explicit HttpExchange(HttpRequest request) : request_(std::move(request)) {}

 private:
  const HttpRequest request_;
  std::atomic<bool> client_gone_{false};
};

using HttpExchangePtr = std::shared_ptr<HttpExchange>;

// Called on a server thread, which it must not block.
using HttpHandler = std::function<void(HttpExchangePtr)>;

// "OK" for 200, and so on; "Unknown" for a code we never send.
std::string_view HttpStatusText(int status);

}  // namespace vectron::gateway::rest
