#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vectron::index {

// How far codes can be believed, measured beside exact distances of the same
// vectors. Approximate distances differ from exact ones by a bias, which does no harm
// to an order, and by noise around it, taken to be normal.
class CodeNoise {
 public:
  // `exact[i]` belongs to `coded[i]`, which times `scale` approximates it.
  CodeNoise(const float* exact, const float* coded, size_t count, double scale);

  double deviation() const { return deviation_; }
  // What is to be expected of a vector with this approximate distance.
  double Exact(float coded) const { return scale_ * coded + bias_; }
  // The part of vectors as near as `nearest` (exact distances) that were not seen, as noise
  // put them beyond the approximate distance `bound`, from where on nothing was.
  double Loss(const float* nearest, size_t count, float bound) const;

 private:
  double scale_;
  double bias_ = 0;
  double deviation_ = 0;
};

// Which part of the operations on codes had to be repeated on floats, lately. One for
// each generation of codes. Thread-safe; races lose single reports only.
class CodeTrust {
 public:
  // Whether an operation should begin on codes. Where more than `misled_max` of them
  // were misled, only one in 16 does, to notice when that changes.
  bool TryCodes(double misled_max) const {
    return misled_part() <= misled_max ||
           tries_.fetch_add(1, std::memory_order_relaxed) % kTriesPart == 0;
  }
  void Report(bool misled) const;
  double misled_part() const {
    return static_cast<double>(misled_.load(std::memory_order_relaxed)) / kOne;
  }

 private:
  static constexpr int32_t kOne = 1 << 16;
  static constexpr int32_t kWindow = 64;  // operations that the mean goes back
  static constexpr uint32_t kTriesPart = 16;

  mutable std::atomic<int32_t> misled_{0};  // of kOne
  mutable std::atomic<uint32_t> tries_{0};
};

}  // namespace vectron::index
