#include "gateway/request_metrics.h"

#include <string>

namespace vectron::gateway {
namespace {

constexpr std::array<const char*, kOperationCount> kOperationNames = {"create_collection",
                                                                      "drop_collection",
                                                                      "list_collections",
                                                                      "get_collection",
                                                                      "find_collection",
                                                                      "write",
                                                                      "search",
                                                                      "get",
                                                                      "scroll",
                                                                      "count",
                                                                      "cluster_status"};

// The reason, or for errors of other origin the name of their code.
std::string LabelOf(const Status& status) {
  const Reason reason = ReasonOf(status);
  if (reason != Reason::kNone) return std::string(ReasonName(reason));
  return absl::StatusCodeToString(status.code());
}

}  // namespace

RequestMetrics::RequestMetrics(MetricsRegistry* registry, const Clock* clock)
    : clock_(clock),
      requests_(prometheus::BuildCounter()
                    .Name("vectron_gateway_requests_total")
                    .Help("Requests answered, by operation and error reason.")
                    .Register(*registry)),
      retries_(prometheus::BuildCounter()
                   .Name("vectron_gateway_retries_total")
                   .Help("Parts of requests sent once more, by the reason of the refusal.")
                   .Register(*registry)) {
  auto& seconds = prometheus::BuildHistogram()
                      .Name("vectron_gateway_request_seconds")
                      .Help("Time from a request's arrival at the gateway to its answer.")
                      .Register(*registry);
  for (size_t i = 0; i < kOperationCount; ++i) {
    succeeded_[i] = &requests_.Add({{"operation", kOperationNames[i]}, {"reason", "OK"}});
    seconds_[i] = &seconds.Add({{"operation", kOperationNames[i]}}, LatencyBuckets());
  }
  partial_ = &prometheus::BuildCounter()
                  .Name("vectron_gateway_partial_searches_total")
                  .Help("Searches answered without some of the shards.")
                  .Register(*registry)
                  .Add({});
}

void RequestMetrics::Finished(Operation operation, TimePoint start, const Status& status) {
  const size_t i = static_cast<size_t>(operation);
  seconds_[i]->Observe(std::chrono::duration<double>(clock_->Now() - start).count());
  if (status.ok()) {
    succeeded_[i]->Increment();
  } else {
    requests_.Add({{"operation", kOperationNames[i]}, {"reason", LabelOf(status)}}).Increment();
  }
}

void RequestMetrics::Retried(const Status& cause) {
  retries_.Add({{"reason", LabelOf(cause)}}).Increment();
}

}  // namespace vectron::gateway
