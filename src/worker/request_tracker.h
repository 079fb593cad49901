#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"

namespace vectron::worker {

// Counts the requests under way, so that a stop can wait for them. Thread-safe.
class RequestTracker : public std::enable_shared_from_this<RequestTracker> {
 public:
  // One request; ends with its destruction. Empty once the tracker is closed.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept = default;
    Ticket& operator=(Ticket&& other) noexcept {
      if (this != &other) {
        End();
        tracker_ = std::move(other.tracker_);
      }
      return *this;
    }
    ~Ticket() { End(); }

    explicit operator bool() const { return tracker_ != nullptr; }

   private:
    friend class RequestTracker;
    explicit Ticket(std::shared_ptr<RequestTracker> tracker) : tracker_(std::move(tracker)) {}
    void End() {
      if (tracker_ != nullptr) std::exchange(tracker_, nullptr)->Leave();
    }
    std::shared_ptr<RequestTracker> tracker_;
  };

  Ticket Enter() {
    MutexLock lock(mutex_);
    if (closed_) return Ticket();
    ++count_;
    return Ticket(shared_from_this());
  }

  // No more tickets; waits until the last has ended or `deadline` (by `clock`). False if
  // some are left.
  bool CloseAndWait(const Clock& clock, Deadline deadline) {
    MutexLock lock(mutex_);
    closed_ = true;
    while (count_ > 0) {
      const TimePoint now = clock.Now();
      if (now >= deadline) return false;
      ended_.WaitFor(mutex_, std::min<Duration>(deadline - now, std::chrono::seconds(1)));
    }
    return true;
  }

 private:
  void Leave() {
    MutexLock lock(mutex_);
    if (--count_ == 0) ended_.NotifyAll();
  }

  Mutex mutex_;
  CondVar ended_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace vectron::worker
