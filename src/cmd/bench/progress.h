#pragma once

#include <cstdint>
#include <string>

#include "common/clock.h"
#include "common/mutex.h"

namespace vectron::cmd {

// Shows on stderr how far a long piece of work is: a bar that is redrawn on a
// terminal, else a line every few seconds. Thread-safe.
class Progress {
 public:
  // `total` in `unit`s; 0 when it is not known. Silent when `quiet`.
  Progress(std::string label, std::string unit, uint64_t total, bool quiet);
  // Leaves the last state standing.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(uint64_t done);

 private:
  void Draw(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string label_;
  const std::string unit_;
  const uint64_t total_;
  const bool quiet_;
  const bool terminal_;
  const TimePoint start_;
  Mutex mutex_;
  uint64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  TimePoint next_draw_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::cmd
