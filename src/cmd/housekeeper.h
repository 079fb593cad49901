#pragma once

#include <atomic>
#include <memory>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/thread.h"

namespace vectron::cmd {

// Looks after the process as such, every few seconds on a thread of its own: keeps
// the metrics vectron_process_* (memory, CPU time, open files), and gives memory that
// the allocator holds for nobody back to the system. A bulk load leaves hundreds of
// megabytes of it, which would count as the database's for good.
class Housekeeper {
 public:
  // Neither is owned; both outlive it.
  Housekeeper(const Clock* clock, MetricsRegistry* metrics);
  ~Housekeeper();
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

 private:
  void Run();
  void UpdateMetrics();
  void TrimHeap();

  const TimePoint start_;
  const Clock* const clock_;
  prometheus::Gauge& resident_bytes_;
  prometheus::Counter& cpu_seconds_;
  prometheus::Gauge& open_files_;
  prometheus::Gauge& uptime_seconds_;
  // When the heap was trimmed last, or the least since.
  size_t trimmed_free_bytes_ = 0;
  double trimmed_resident_bytes_ = 0;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Thread thread_;  // last: it uses the others
};

// Settings of the process, to be made before any other thread exists: as many open
// files as the system allows, no death by SIGPIPE, an allocator that neither keeps an
// arena for every thread nor holds on to large blocks.
void SetUpProcess();

}  // namespace vectron::cmd
