#pragma once

#include <array>
#include <atomic>
#include <chrono>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "consensus/host.h"
#include "storage/shared_resources.h"
#include "worker/scrubber.h"
#include "worker/search_executor.h"
#include "worker/shard_lifecycle.h"
#include "worker/shard_table.h"
#include "worker/write_gate.h"

namespace vectron::worker {

enum class Operation : size_t { kWrite, kSearch, kGet, kScroll, kCount };
inline constexpr size_t kOperationCount = 5;

// What /metrics shows of the worker. Sums over the shards: their number has no bound.
// Thread-safe.
class WorkerMetrics {
 public:
  explicit WorkerMetrics(MetricsRegistry* registry);

  void OnRequest(Operation operation, const Status& status, Duration took);

  struct Sources {
    const ShardTable& table;
    const ShardLifecycle& lifecycle;
    const SearchExecutor& searches;
    const WriteGate& gate;
    const Scrubber& scrubber;
    const consensus::Host& host;
    const storage::SharedResources& resources;
  };
  // Sets what it reads from `sources`. About once a second, from one thread.
  void Update(const Sources& sources);

 private:
  static constexpr size_t kReasonCount = static_cast<size_t>(Reason::kInternal) + 1;

  prometheus::Counter& CounterOf(Operation operation, Reason reason);
  void UpdateShards(const Sources& sources);
  void UpdateScrub(const Scrubber& scrubber);
  void UpdateStorage(const storage::SharedResources& resources);
  // The gauge `name`; registered at the first use.
  void Set(const char* name, const char* help, double value);
  // The same for a counter, of which somebody else counts: brings it up to `value`.
  void SetCounter(const char* name, const char* help, double value);

  MetricsRegistry* const registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  // Filled in as they occur.
  std::array<std::array<std::atomic<prometheus::Counter*>, kReasonCount>, kOperationCount>
      counters_{};
  std::array<prometheus::Histogram*, kOperationCount> latencies_{};
};

}  // namespace vectron::worker
