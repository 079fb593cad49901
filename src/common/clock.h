#pragma once

#include <chrono>
#include <cstdint>

namespace vectron {

using Duration = std::chrono::nanoseconds;
// Monotonic; comparable only within one process.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
// The moment after which nobody waits for the answer any more.
using Deadline = TimePoint;

inline constexpr Deadline kNoDeadline = Deadline::max();

// Where time comes from. Everything that needs time is given a Clock, so that
// the same code runs under a virtual one. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual TimePoint Now() const = 0;
  // Milliseconds since the Unix epoch; may jump. For timestamps that people or
  // other processes read, never for timeouts.
  virtual int64_t WallTimeMs() const = 0;
};

// The machine's clock; lives as long as the process.
const Clock& SystemClock();

// Returns once SystemClock() has reached `time`. For programs that pace
// themselves; servers wait on what they wait for.
void SleepUntil(TimePoint time);

}  // namespace vectron
