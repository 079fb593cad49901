#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "common/mutex.h"
#include "common/thread.h"
#include "worker/shard_table.h"

namespace vectron::worker {

// Links vectors into the shards' graphs: threads of the lowest priority, so that they
// use what searches and writes leave. They go round the shards, a small piece of work
// at each, all of them at one shard where only one has work. Thread-safe.
class IndexThreads {
 public:
  // `table` must outlive them.
  IndexThreads(const ShardTable* table, int thread_count);
  // Stops, if that was not done.
  ~IndexThreads();

  // There may be work: wakes threads that sleep. Cheap.
  void Notify();

  // Waits for the pieces under way. Idempotent.
  void Stop();

 private:
  void Run(size_t first);

  const ShardTable* const table_;
  std::atomic<int> sleeping_{0};
  Mutex mutex_;
  CondVar wake_;
  uint64_t notified_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace vectron::worker
