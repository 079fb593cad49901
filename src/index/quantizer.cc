#include "index/quantizer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "common/check.h"

namespace vectron::index {
namespace {

constexpr size_t kBatch = 64;
// A code or query differs by at most 255, and 66,051 * 255^2 < 2^32.
constexpr uint64_t kWeightSumMax = 66'051;
// 127 * 255 < 2^15.
constexpr uint32_t kWeightMax = 127;
// Ranges reach at most so many standard deviations from the mean, so that one
// wild value does not spoil the resolution of all others.
constexpr double kDeviationsMax = 8;

bool IsByte(float x) { return x >= 0 && x <= 255 && x == std::rint(x); }

// One dimension's sample, in doubles: neither sums nor ranges of floats overflow.
struct Column {
  double least = DBL_MAX;
  double most = -DBL_MAX;
  double sum = 0;
  double squares = 0;

  void Add(double x) {
    least = std::min(least, x);
    most = std::max(most, x);
    sum += x;
    squares += x * x;
  }
};

float ToFloat(double x) { return static_cast<float>(std::clamp<double>(x, -FLT_MAX, FLT_MAX)); }

}  // namespace

void* AlignedBuffer::Resize(size_t bytes) {
  if (memory_.size() < bytes + 64) memory_.resize(bytes + 64);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  start_ = memory_.data() + ((address + 63) / 64 * 64 - address);
  return start_;
}

Sq8Quantizer Sq8Quantizer::Learn(Metric metric, size_t dimension, size_t count,
                                 const SampleRow& sample, const Kernels& kernels) {
  VECTRON_CHECK(count > 0);
  std::vector<Column> columns(dimension);
  std::vector<float> row(dimension);
  bool integral = metric != Metric::kCosine;
  for (size_t i = 0; i < count; ++i) {
    sample(i, row.data());
    for (size_t d = 0; d < dimension; ++d) {
      columns[d].Add(row[d]);
      integral = integral && IsByte(row[d]);
    }
  }
  std::vector<float> low(dimension, 0.0f);
  std::vector<float> range(dimension, 255.0f);
  if (!integral) {
    const double n = static_cast<double>(count);
    for (size_t d = 0; d < dimension; ++d) {
      const Column& column = columns[d];
      const double mean = column.sum / n;
      const double deviation = std::sqrt(std::max(column.squares / n - mean * mean, 0.0));
      // A small sample does not know its ends.
      const double margin = (column.most - column.least) / (2 * std::sqrt(n));
      const double least = std::max(column.least, mean - kDeviationsMax * deviation) - margin;
      const double most = std::min(column.most, mean + kDeviationsMax * deviation) + margin;
      low[d] = ToFloat(least);
      range[d] = most > least ? std::max(ToFloat(most - least), FLT_MIN) : 0.0f;
    }
  }
  return Sq8Quantizer(metric, std::move(low), std::move(range), integral, kernels);
}

Sq8Quantizer::Sq8Quantizer(Metric metric, std::vector<float> low, std::vector<float> range,
                           bool integral, const Kernels& kernels)
    : metric_(metric),
      padded_((low.size() + kCodeUnitBytes - 1) / kCodeUnitBytes * kCodeUnitBytes),
      integral_(integral),
      kernels_(&kernels),
      low_(std::move(low)),
      range_(std::move(range)),
      step_(low_.size()),
      inverse_step_(low_.size()) {
  VECTRON_CHECK(low_.size() == range_.size());
  for (size_t d = 0; d < low_.size(); ++d) step_[d] = range_[d] / 255.0f;
  if (metric_ == Metric::kL2) ChooseL2Steps();
  for (size_t d = 0; d < low_.size(); ++d) {
    inverse_step_[d] = step_[d] > 0 ? ToFloat(1.0 / step_[d]) : 0.0f;
  }
}

// The widest step becomes sqrt(weight_max) units, every other the next square
// root of a whole number of units that is not below it. Where one step for all
// would cost less than one bit of precision, all get it: weights of 1 are faster.
void Sq8Quantizer::ChooseL2Steps() {
  if (integral_) return;
  double widest = 0;
  double squares = 0;
  for (const float step : step_) {
    widest = std::max<double>(widest, step);
    squares += static_cast<double>(step) * step;
  }
  const double dimension = static_cast<double>(step_.size());
  uint32_t weight_max = 1;
  if (dimension * widest * widest > 4 * squares) {
    // Each weight is below its share plus one.
    const double room = static_cast<double>(kWeightSumMax) - dimension;
    const double share = squares > 0 ? squares / (widest * widest) : dimension;
    weight_max = static_cast<uint32_t>(std::clamp<double>(room / share, 1, kWeightMax));
  }
  if (weight_max == 1) {
    std::fill(step_.begin(), step_.end(), ToFloat(widest));
    return;
  }
  const double unit = widest / std::sqrt(weight_max);
  weights_.assign(padded_, 0);
  for (size_t d = 0; d < step_.size(); ++d) {
    const double ratio = step_[d] / unit;
    const double weight = std::clamp(std::ceil(ratio * ratio - 1e-6), 1.0, double{kWeightMax});
    weights_[d] = static_cast<int16_t>(weight);
    step_[d] = ToFloat(unit * std::sqrt(weight));
  }
}

size_t Sq8Quantizer::Encode(const float* vector, uint8_t* code) const {
  size_t misfits = kernels_->encode(vector, low_.data(), inverse_step_.data(), low_.size(), code);
  std::memset(code + low_.size(), 0, padded_ - low_.size());
  if (integral_) {
    misfits = 0;
    for (size_t d = 0; d < low_.size(); ++d) misfits += static_cast<float>(code[d]) != vector[d];
  }
  return misfits;
}

void Sq8Quantizer::Decode(const uint8_t* code, float* vector) const {
  for (size_t d = 0; d < low_.size(); ++d) {
    vector[d] = low_[d] + step_[d] * static_cast<float>(code[d]);
  }
}

void Sq8Quantizer::Prepare(const float* query, Prepared* prepared) const {
  if (metric_ != Metric::kL2) {
    PrepareDot(query, prepared);
    return;
  }
  auto* values = static_cast<int16_t*>(prepared->values.Resize(padded_ * sizeof(int16_t)));
  for (size_t d = 0; d < low_.size(); ++d) {
    const float place = (query[d] - low_[d]) * inverse_step_[d];
    values[d] = static_cast<int16_t>(std::rint(place > 0 ? std::min(place, 255.0f) : 0.0f));
  }
  std::fill(values + low_.size(), values + padded_, int16_t{0});
}

void Sq8Quantizer::PrepareCode(const uint8_t* code, Prepared* prepared) const {
  if (metric_ != Metric::kL2) {
    thread_local std::vector<float> decoded;
    decoded.resize(low_.size());
    Decode(code, decoded.data());
    PrepareDot(decoded.data(), prepared);
    return;
  }
  auto* values = static_cast<int16_t*>(prepared->values.Resize(padded_ * sizeof(int16_t)));
  for (size_t d = 0; d < padded_; ++d) values[d] = code[d];
}

// <query, x> = <query, low> + sum of query[d] * step[d] * code[d]. The factors are
// rounded to multiples of a power of two (so that whole numbers stay exact) chosen
// such that each fits 16 bits and the sum of all, times 255, 31.
void Sq8Quantizer::PrepareDot(const float* query, Prepared* prepared) const {
  auto* values = static_cast<int16_t*>(prepared->values.Resize(padded_ * sizeof(int16_t)));
  double largest = 0;
  double total = 0;
  double offset = 0;
  for (size_t d = 0; d < low_.size(); ++d) {
    const double factor = std::abs(static_cast<double>(query[d]) * step_[d]);
    largest = std::max(largest, factor);
    total += factor;
    offset += static_cast<double>(query[d]) * low_[d];
  }
  // Rounding may add one half a dimension.
  const double room =
      (2147483647.0 / 255 - static_cast<double>(low_.size())) / std::max(total, 1e-300);
  const double limit = std::min(32'766.0 / std::max(largest, 1e-300), room);
  const double scale = std::ldexp(1.0, std::clamp(std::ilogb(limit), -1000, 1000));
  for (size_t d = 0; d < low_.size(); ++d) {
    values[d] = static_cast<int16_t>(std::rint(static_cast<double>(query[d]) * step_[d] * scale));
  }
  std::fill(values + low_.size(), values + padded_, int16_t{0});
  // Clamped such that neither the product with a sum of 31 bits nor the addition
  // can overflow.
  const double base = metric_ == Metric::kCosine ? 1.0 : 0.0;
  prepared->bias = static_cast<float>(std::clamp(base - offset, -1e37, 1e37));
  prepared->scale = static_cast<float>(-std::min(1 / scale, 1e28));
}

void Sq8Quantizer::Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                             float* distances) const {
  const int16_t* query = prepared.values.As<int16_t>();
  while (count > 0) {
    const size_t batch = std::min(count, kBatch);
    if (metric_ == Metric::kL2) {
      uint32_t sums[kBatch];
      if (weights_.empty()) {
        kernels_->l2_codes(query, rows, batch, padded_, sums);
      } else {
        kernels_->l2_weighted_codes(query, weights_.data(), rows, batch, padded_, sums);
      }
      for (size_t i = 0; i < batch; ++i) distances[i] = static_cast<float>(sums[i]);
    } else {
      int32_t sums[kBatch];
      kernels_->dot_codes(query, rows, batch, padded_, sums);
      for (size_t i = 0; i < batch; ++i) {
        distances[i] = prepared.bias + prepared.scale * static_cast<float>(sums[i]);
      }
    }
    rows += batch;
    distances += batch;
    count -= batch;
  }
}

}  // namespace vectron::index
