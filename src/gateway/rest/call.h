#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/error.h"
#include "gateway/rest/http/types.h"

namespace vectron::gateway::rest {

class RouteMetrics;

// One request that was routed: what the route's handler works with, and answers. It is
// answered once, by the first of the Send* calls; kept alive by whoever still has to.
class Call {
 public:
  using QueryParams = std::vector<std::pair<std::string, std::string>>;

  // `metrics` and `clock` outlive the call.
  Call(HttpExchangePtr exchange, std::vector<std::string> params, QueryParams query,
       RouteMetrics* metrics, const Clock* clock)
      : exchange_(std::move(exchange)),
        params_(std::move(params)),
        query_(std::move(query)),
        metrics_(metrics),
        clock_(clock) {}

  const HttpRequest& request() const { return exchange_->request(); }
  HttpExchange& exchange() const { return *exchange_; }
  // The path's parameter number `index`, in the order of the route's pattern.
  const std::string& param(size_t index) const { return params_.at(index); }
  const QueryParams& query() const { return query_; }

  // `result` is JSON. `extra`: see MakeOkResponse.
  void SendOk(std::string result, std::string_view extra = {});
  // `result` is JSON that says more about the error.
  void SendError(const Status& status, std::string_view result = "null");
  void Send(HttpResponse response);
  // A header of the answer, whichever it will be.
  void AddHeader(std::string name, std::string value);

 private:
  double SecondsSinceReceived() const;

  const HttpExchangePtr exchange_;
  const std::vector<std::string> params_;
  const QueryParams query_;
  RouteMetrics* const metrics_;
  const Clock* const clock_;
  std::vector<std::pair<std::string, std::string>> headers_;
};

using CallPtr = std::shared_ptr<Call>;
using RouteHandler = std::function<void(const CallPtr&)>;

// Runs `body`; an exception (no memory, most likely) becomes the call's answer.
template <typename Body>
void Guarded(const CallPtr& call, Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    call->SendError(Internal(error.what()));
  }
}

// The callback for a Gateway call on behalf of `call`: hands what it brings to
// `next`(StatusOr<T>) on the connection's thread, not on the one that brought it; or to
// nobody, once the server has stopped.
template <typename T, typename Next>
Callback<T> ThenAlways(CallPtr call, Next next) {
  return [call = std::move(call), next = std::move(next)](StatusOr<T> result) mutable {
    HttpExchange& exchange = call->exchange();
    exchange.Run(
        [call = std::move(call), next = std::move(next), result = std::move(result)]() mutable {
          Guarded(call, [&] { next(std::move(result)); });
        });
  };
}

// The same where an error becomes the answer; a value goes to `next`(T).
template <typename T, typename Next>
Callback<T> Then(CallPtr call, Next next) {
  return ThenAlways<T>(call, [call, next = std::move(next)](StatusOr<T> result) mutable {
    if (!result.ok()) return call->SendError(result.status());
    next(*std::move(result));
  });
}

// For handlers: the value, or an answer with the error and a return.
#define VECTRON_ASSIGN_OR_SEND(call, lhs, expression) \
  VECTRON_ASSIGN_OR_SEND_IMPL(call, VECTRON_CONCAT(vectron_sent_, __LINE__), lhs, expression)
#define VECTRON_ASSIGN_OR_SEND_IMPL(call, statusor, lhs, expression)          \
  auto statusor = (expression);                                               \
  if (!statusor.ok()) return (call)->SendError(std::move(statusor).status()); \
  lhs = std::move(statusor).value()

}  // namespace vectron::gateway::rest
