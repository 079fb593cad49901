#include "common/clock.h"

#include <thread>

namespace vectron {
namespace {

class RealClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }

  int64_t WallTimeMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace

const Clock& SystemClock() {
  static const RealClock clock;
  return clock;
}

void SleepUntil(TimePoint time) { std::this_thread::sleep_until(time); }

}  // namespace vectron
