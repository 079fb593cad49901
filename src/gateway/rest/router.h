#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "gateway/rest/call.h"
#include "gateway/rest/http/types.h"
#include "gateway/rest/rest_metrics.h"

namespace vectron::gateway::rest {

enum class RouteBody { kNone, kJson };

// Finds the handler of a request. Routes are added before the first request; from then
// on it is read only, and thread-safe.
class Router {
 public:
  // Both outlive the router.
  Router(MetricsRegistry* registry, const Clock* clock);
  ~Router();

  // `pattern`: "/collections/{name}/points"; a segment in braces matches any one, a
  // literal one is preferred to it. With kJson, other content types are refused.
  void Add(std::string_view method, std::string_view pattern, RouteBody body, RouteHandler handler);
  // A route of the dialect that is known and not offered: refused by name.
  void AddUnsupported(std::string_view method, std::string_view pattern);

  // Answers 404, 405 and OPTIONS itself; HEAD is served by GET's handler.
  void Route(const HttpExchangePtr& exchange);

  // Counts a response that the server gave without routing the request.
  void CountRefused(int status) { other_->Count(status); }

  // "GET /collections/{name}" of every route that is offered, in order of addition.
  std::vector<std::string> Offered() const;

 private:
  struct Entry;

  // The best of those that match, or null; `allowed` gets the methods of all.
  const Entry* Find(std::string_view method, const std::vector<std::string>& segments,
                    std::vector<std::string>* allowed) const;
  void Reject(const HttpExchangePtr& exchange, HttpResponse response);

  MetricsRegistry* const registry_;
  const Clock* const clock_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::unique_ptr<RouteMetrics> other_;  // what matches no route
};

}  // namespace vectron::gateway::rest
