#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vectron::index {

// Which slots a walk has met, as far as it remembers: a table of slots, each at the one
// place that its number gives it, from where the next of that place drives it out. What
// was forgotten is met again, so a walk that uses it must not count on the difference.
//
// It is as large as the walk's beam asks for, not as the index: some KB, which stay in the
// first cache. Not thread-safe.
class VisitedFilter {
 public:
  // What it takes for a walk with a beam of so many.
  static size_t BytesOf(size_t beam) { return SizeOf(beam) * sizeof(uint32_t); }

  // Empty, for such a walk.
  void Reset(size_t beam) {
    const size_t size = SizeOf(beam);
    shift_ = 32 - std::countr_zero(size);
    entries_.assign(size, kNone);
  }

  // False if it is known that it was met. Without a branch.
  bool Insert(uint32_t slot) {
    uint32_t& entry = entries_[(slot * kMultiplier) >> shift_];
    const bool is_new = entry != slot;
    entry = slot;
    return is_new;
  }

 private:
  // A walk meets some twenty slots for each place of its beam (M = 16).
  static constexpr size_t kEntriesPerBeam = 64;
  static constexpr size_t kBeamMin = 16;
  static constexpr size_t kBeamMax = size_t{1} << 16;
  static constexpr uint32_t kNone = ~uint32_t{0};
  static size_t SizeOf(size_t beam) {
    return std::bit_ceil(std::clamp(beam, kBeamMin, kBeamMax) * kEntriesPerBeam);
  }

  // Fibonacci hashing (Knuth, TAOCP 3, 6.4): 2^32 by the golden ratio.
  static constexpr uint32_t kMultiplier = 0x9e3779b9;

  std::vector<uint32_t> entries_;
  int shift_ = 32;
};

}  // namespace vectron::index
