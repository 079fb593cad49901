#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "common/callback.h"
#include "common/clock.h"
#include "common/error.h"

namespace vectron::consensus {

// Bytes of proposals that are not answered yet, over all groups. Thread-safe.
class InflightBytes {
 public:
  explicit InflightBytes(size_t bytes_max) : bytes_max_(bytes_max) {}

  // False, and nothing is taken, when it would be too much. One proposal alone is
  // never too much.
  bool TryAcquire(size_t bytes) {
    size_t current = bytes_.load(std::memory_order_relaxed);
    do {
      if (current > 0 && current + bytes > bytes_max_) return false;
    } while (!bytes_.compare_exchange_weak(current, current + bytes, std::memory_order_relaxed));
    return true;
  }
  void Release(size_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  size_t Get() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const size_t bytes_max_;
  std::atomic<size_t> bytes_{0};
};

// Someone who waits for an answer and gets exactly one: the first. Thread-safe.
template <typename T>
class Waiter {
 public:
  Waiter(Callback<T> done, Deadline deadline) : deadline_(deadline), done_(std::move(done)) {}
  ~Waiter() { Answer(MakeError(Reason::kShuttingDown, "the request was dropped")); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Holds `bytes` of `inflight` until the answer.
  void Hold(InflightBytes* inflight, size_t bytes) {
    inflight_ = inflight;
    bytes_ = bytes;
  }

  // False if it was answered before.
  bool Answer(StatusOr<T> result) {
    if (answered_.exchange(true, std::memory_order_acq_rel)) return false;
    if (inflight_ != nullptr) inflight_->Release(bytes_);
    Callback<T> done = std::move(done_);
    done(std::move(result));
    return true;
  }

  bool answered() const { return answered_.load(std::memory_order_acquire); }
  Deadline deadline() const { return deadline_; }

 private:
  const Deadline deadline_;
  Callback<T> done_;
  std::atomic<bool> answered_{false};
  InflightBytes* inflight_ = nullptr;
  size_t bytes_ = 0;
};

template <typename T>
using WaiterPtr = std::shared_ptr<Waiter<T>>;

}  // namespace vectron::consensus
