#pragma once

#include <atomic>
#include <cstdint>

#include "common/clock.h"

namespace vectron::testing {

// Time that passes only when it is told to. Thread-safe.
class ManualClock : public Clock {
 public:
  TimePoint Now() const override {
    return TimePoint(Duration(now_ns_.load(std::memory_order_relaxed)));
  }
  int64_t WallTimeMs() const override {
    return now_ns_.load(std::memory_order_relaxed) / 1'000'000;
  }
  void Advance(Duration duration) {
    now_ns_.fetch_add(duration.count(), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> now_ns_{1'000'000'000};
};

}  // namespace vectron::testing
