#include "stopwatch.h"

#include <time.h>

#include "common/clock.h"

namespace vectron::bench {

double Seconds(Watch watch) {
  if (watch == Watch::kWall) {
    return std::chrono::duration<double>(SystemClock().Now().time_since_epoch()).count();
  }
  timespec time{};
  clock_gettime(watch == Watch::kThread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID,
                &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace vectron::bench
