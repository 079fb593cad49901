#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "consensus/log/log_store.h"

namespace vectron::consensus {

// Writes what the rounds of all step workers produced: while one record is being
// synced the next ones gather, and go to the disk together. Thread-safe.
//
// A full disk is waited out: the writes stay queued and are tried again, in order,
// so nothing is lost and nothing is acknowledged. Any other failure is final: all
// writes from then on answer with it.
class LogWriter {
 public:
  using Done = std::function<void(Status)>;

  // With a thread of its own, or none: then Poll does the work.
  LogWriter(LogStore* store, const Clock* clock, MetricsRegistry* metrics, bool has_thread);
  ~LogWriter();

  // `done` is called from the writer's thread, in the order of the submissions.
  void Submit(LogBatch batch, Done done);

  // Without a thread: writes what is queued. False if there was nothing to do.
  bool Poll();

  // The last write found the disk full.
  bool disk_full() const { return disk_full_.load(std::memory_order_relaxed); }

  // Writes what is queued (fails it, if the disk is full), then joins. Idempotent.
  void Stop();

 private:
  struct Write {
    LogBatch batch;
    Done done;
  };

  void Run();
  // Takes what one record should hold.
  std::deque<Write> TakeSome() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status WriteAll(std::deque<Write>* writes);

  LogStore* const store_;
  const Clock* const clock_;
  prometheus::Histogram* fsync_seconds_ = nullptr;
  prometheus::Counter* records_ = nullptr;
  prometheus::Counter* bytes_ = nullptr;
  std::atomic<bool> disk_full_{false};

  Mutex mutex_;
  CondVar wake_;
  std::deque<Write> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<Thread> thread_;
};

}  // namespace vectron::consensus
