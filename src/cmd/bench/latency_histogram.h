#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "common/clock.h"

namespace vectron::cmd {

// Counts of durations in buckets whose width is below 1% of their value (as in
// HdrHistogram: a power of two, split linearly). Constant size. Not thread-safe:
// each thread records into its own, and they are merged.
class LatencyHistogram {
 public:
  void Record(Duration latency);
  void Merge(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  // The smallest duration that at least `fraction` (0 to 1) of all are within;
  // zero when nothing was recorded.
  Duration Quantile(double fraction) const;
  Duration Mean() const;
  Duration max() const { return max_; }

 private:
  static constexpr int kSplitBits = 7;  // buckets for each power of two: 128
  static constexpr int kPowers = 64 - kSplitBits;

  static size_t BucketOf(uint64_t ns);
  static uint64_t UpperBound(size_t bucket);

  std::array<uint64_t, static_cast<size_t>(kPowers + 1) << kSplitBits> counts_{};
  uint64_t count_ = 0;
  double total_ns_ = 0;  // may be more than a Duration holds
  Duration max_{0};
};

}  // namespace vectron::cmd
