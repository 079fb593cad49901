#include "index/code_guard.h"

#include <algorithm>
#include <cmath>

namespace vectron::index {
namespace {

// Floats are no more exact than this part of themselves.
constexpr double kRounding = 1e-6;

}  // namespace

CodeNoise::CodeNoise(const float* exact, const float* coded, size_t count, double scale)
    : scale_(scale) {
  if (count == 0) return;
  for (size_t i = 0; i < count; ++i) bias_ += exact[i] - scale_ * coded[i];
  bias_ /= static_cast<double>(count);
  // The mean absolute deviation, which wild values move less than they do the variance; times
  // this it is the standard deviation of what is normal.
  constexpr double kOfNormal = 1.2533;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::abs(exact[i] - Exact(coded[i]));
  deviation_ = kOfNormal * sum / static_cast<double>(count);
}

double CodeNoise::Loss(const float* nearest, size_t count, float bound) const {
  if (count == 0 || std::isinf(bound)) return 0;
  const double end = Exact(bound);
  double lost = 0;
  for (size_t i = 0; i < count; ++i) {
    // Without noise, what lies at the bound is as good as what was left out.
    if (deviation_ <= kRounding * std::abs(nearest[i])) continue;
    lost += 0.5 * std::erfc((end - nearest[i]) / (deviation_ * std::sqrt(2.0)));
  }
  return lost / static_cast<double>(count);
}

void CodeTrust::Report(bool misled) const {
  const int32_t before = misled_.load(std::memory_order_relaxed);
  const int32_t after = before + ((misled ? kOne : 0) - before) / kWindow;
  // Most often nothing changes, and the cache line stays everybody's.
  if (after != before) misled_.store(after, std::memory_order_relaxed);
}

}  // namespace vectron::index
