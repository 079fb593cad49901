#include "cmd/bench/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace vectron::cmd {

// Values below 2^kSplitBits have a bucket each; above, the leading bit gives the
// power and the next kSplitBits bits the place within it.
size_t LatencyHistogram::BucketOf(uint64_t ns) {
  const int power = std::max(0, 63 - std::countl_zero(ns | 1) - kSplitBits);
  const uint64_t place = ns >> power;  // < 2^(kSplitBits + 1)
  return (static_cast<size_t>(power) << kSplitBits) + place;
}

uint64_t LatencyHistogram::UpperBound(size_t bucket) {
  if (bucket < (size_t{2} << kSplitBits)) return bucket;
  const size_t power = (bucket >> kSplitBits) - 1;
  const uint64_t place = bucket - (power << kSplitBits);
  return ((place + 1) << power) - 1;
}

void LatencyHistogram::Record(Duration latency) {
  latency = std::max(latency, Duration::zero());
  ++counts_[BucketOf(static_cast<uint64_t>(latency.count()))];
  ++count_;
  total_ns_ += static_cast<double>(latency.count());
  max_ = std::max(max_, latency);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  total_ns_ += other.total_ns_;
  max_ = std::max(max_, other.max_);
}

Duration LatencyHistogram::Quantile(double fraction) const {
  const auto wanted = std::max<uint64_t>(
      1, static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (counts_[i] != 0 && seen >= wanted) {
      return std::min(max_, Duration(static_cast<int64_t>(UpperBound(i))));
    }
  }
  return max_;
}

Duration LatencyHistogram::Mean() const {
  if (count_ == 0) return Duration::zero();
  const double mean_ns = total_ns_ / static_cast<double>(count_);
  // Rounded, that may be more than any of them.
  if (mean_ns >= static_cast<double>(max_.count())) return max_;
  return Duration(static_cast<int64_t>(mean_ns));
}

}  // namespace vectron::cmd
