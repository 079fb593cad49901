#include "gateway/rest/rest_metrics.h"

namespace vectron::gateway::rest {

RouteMetrics::RouteMetrics(MetricsRegistry* registry, std::string route)
    : route_(std::move(route)),
      counters_(&prometheus::BuildCounter()
                     .Name("vectron_http_requests_total")
                     .Help("Requests answered over HTTP, by route and status code")
                     .Register(*registry)),
      latency_(&prometheus::BuildHistogram()
                    .Name("vectron_http_request_duration_seconds")
                    .Help("From the end of a request's header to its answer, by route")
                    .Register(*registry)
                    .Add({{"route", route_}}, LatencyBuckets())) {}

void RouteMetrics::Count(int code) {
  if (code < kFirstCode || code >= kFirstCode + kCodes) code = 500;
  auto& place = by_code_[static_cast<size_t>(code - kFirstCode)];
  prometheus::Counter* counter = place.load(std::memory_order_acquire);
  if (counter == nullptr) {
    // Adding the same labels twice gives the same counter: a race is harmless.
    counter = &counters_->Add({{"route", route_}, {"code", std::to_string(code)}});
    place.store(counter, std::memory_order_release);
  }
  counter->Increment();
}

void RouteMetrics::Observe(int code, double seconds) {
  Count(code);
  latency_->Observe(seconds);
}

}  // namespace vectron::gateway::rest
