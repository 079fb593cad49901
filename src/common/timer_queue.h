#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/thread.h"

namespace vectron {

// One thread that runs short tasks at their times: deadlines, retries, periodic
// duties. Thread-safe. Tasks must not block or throw; they may call the queue, except
// Stop(). How many wait is bounded by whoever adds them.
class TimerQueue {
 public:
  // `clock` must outlive the queue.
  TimerQueue(const std::string& name, const Clock& clock);
  // Stops, if that was not done.
  ~TimerQueue();

  using TimerId = uint64_t;

  // Runs `task` once, at `when` or soon after; kNoDeadline is never. After Stop the
  // task is dropped. Tasks of one time run in the order in which they were added.
  TimerId RunAt(TimePoint when, std::function<void()> task);
  TimerId RunAfter(Duration delay, std::function<void()> task);

  // False if the task ran, runs now, or was cancelled before.
  bool Cancel(TimerId id);

  // Drops what waits, waits for the task that runs, joins. Idempotent.
  void Stop();

 private:
  struct Key {
    TimePoint when;
    TimerId id;
    auto operator<=>(const Key&) const = default;
  };

  void Run();

  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  std::map<Key, std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<TimerId, TimePoint> times_ ABSL_GUARDED_BY(mutex_);
  TimerId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Thread thread_;  // last: it uses the rest
};

}  // namespace vectron
