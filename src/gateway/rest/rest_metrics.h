#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "common/metrics.h"

namespace vectron::gateway::rest {

// What is counted of one route: vectron_http_requests_total{route,code} and
// vectron_http_request_duration_seconds{route}. Thread-safe, without locks once a code
// has been seen.
class RouteMetrics {
 public:
  // `registry` outlives it. `route` is a pattern ("GET /collections/{collection_name}"),
  // never what a client sent: labels must be few.
  RouteMetrics(MetricsRegistry* registry, std::string route);

  // For requests whose time is not known (refused before they were read).
  void Count(int code);
  void Observe(int code, double seconds);

 private:
  // Codes we send are 200 to 599; those outside are counted as 500.
  static constexpr int kFirstCode = 200;
  static constexpr int kCodes = 400;

  const std::string route_;
  prometheus::Family<prometheus::Counter>* const counters_;
  prometheus::Histogram* const latency_;
  std::array<std::atomic<prometheus::Counter*>, kCodes> by_code_{};
};

}  // namespace vectron::gateway::rest
