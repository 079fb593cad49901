#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/thread.h"

namespace vectron::worker {

// Decides where a search runs. While fewer than `concurrency` run, on its caller's
// thread: a hand-over to another one costs more than a small search. Otherwise it waits
// its turn in a bounded queue, so that searches do not take the processors from each
// other. Thread-safe.
class SearchExecutor {
 public:
  struct Options {
    int concurrency = 1;
    size_t queue_count_max = 1024;
  };

  explicit SearchExecutor(const Options& options);
  // Stops, if that was not done.
  ~SearchExecutor();

  // The right to run a search on the caller's thread; empty if all are taken.
  class Slot {
   public:
    Slot() = default;
    ~Slot() {
      if (executor_ != nullptr) executor_->Leave();
    }
    Slot(Slot&& other) noexcept : executor_(std::exchange(other.executor_, nullptr)) {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    explicit operator bool() const { return executor_ != nullptr; }

   private:
    friend class SearchExecutor;
    explicit Slot(SearchExecutor* executor) : executor_(executor) {}
    SearchExecutor* executor_ = nullptr;
  };
  Slot TryEnter();

  // Runs `task` on a thread of the executor, in the order of submission. False, and it
  // is not run, when the queue is full or the executor stopped.
  [[nodiscard]] bool TryEnqueue(std::function<void()> task);

  // Runs what is queued, then joins. Idempotent.
  void Stop();

  size_t running_count() const;
  size_t queue_length() const;

 private:
  void Leave();
  void Run();

  const Options options_;
  mutable Mutex mutex_;
  CondVar wake_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace vectron::worker
