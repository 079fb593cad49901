#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "common/callback.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"

namespace vectron::gateway {

enum class Operation {
  kCreateCollection,
  kDropCollection,
  kListCollections,
  kGetCollection,
  kFindCollection,
  kWrite,
  kSearch,
  kGet,
  kScroll,
  kCount,
  kClusterStatus,
};
inline constexpr size_t kOperationCount = 11;

// What the gateway tells about its work:
//   vectron_gateway_requests_total{operation, reason}   reason "OK" or the error's
//   vectron_gateway_request_seconds{operation}
//   vectron_gateway_retries_total{reason}               parts sent once more
//   vectron_gateway_partial_searches_total
// Thread-safe.
class RequestMetrics {
 public:
  RequestMetrics(MetricsRegistry* registry, const Clock* clock);

  TimePoint Now() const { return clock_->Now(); }
  void Finished(Operation operation, TimePoint start, const Status& status);
  void Retried(const Status& cause);
  void AnsweredPartially() { partial_->Increment(); }

 private:
  const Clock* const clock_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& retries_;
  prometheus::Counter* partial_ = nullptr;
  std::array<prometheus::Counter*, kOperationCount> succeeded_{};
  std::array<prometheus::Histogram*, kOperationCount> seconds_{};
};

// A request's callback that counts and times the request when it is answered.
template <typename T>
class Reply {
 public:
  Reply(RequestMetrics* metrics, Operation operation, Callback<T> done)
      : metrics_(metrics), operation_(operation), start_(metrics->Now()), done_(std::move(done)) {}

  void operator()(StatusOr<T> answer) { Answer(std::move(answer), OkStatus()); }
  // Counted as `outcome`, which the answer itself may hold.
  void Answer(StatusOr<T> answer, const Status& outcome) {
    metrics_->Finished(operation_, start_, answer.ok() ? outcome : answer.status());
    done_(std::move(answer));
  }

 private:
  RequestMetrics* metrics_;
  Operation operation_;
  TimePoint start_;
  Callback<T> done_;
};

}  // namespace vectron::gateway
