#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/thread.h"

namespace vectron {

// A fixed number of threads that run tasks in the order of submission, from one
// bounded queue. Thread-safe. Tasks must not throw.
class ThreadPool {
 public:
  struct Options {
    std::string name;
    int thread_count = 1;
    size_t queue_count_max = 1024;
    ThreadPriority priority = ThreadPriority::kNormal;
  };

  explicit ThreadPool(const Options& options);
  // Stops, if that was not done.
  ~ThreadPool();

  // False, and `task` is not run, when the queue is full or the pool stopped:
  // the caller then says so to whoever waits.
  [[nodiscard]] bool TrySubmit(std::function<void()> task);

  // Runs what is queued, then joins. Idempotent; not from a task.
  void Stop();

  size_t QueueLength() const;

 private:
  void Run();

  const size_t queue_count_max_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace vectron
