#include "index/quantizer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "common/check.h"

namespace vectron::index {
namespace {

constexpr size_t kBatch = 64;
// What the kernels can take. A code or query differs by at most 255: for squares
// 66,051 * 255^2 < 2^32 and 127 * 255 < 2^15, else 16,843,009 * 255 < 2^32.
struct WeightLimits {
  uint32_t sum_max;
  uint32_t weight_max;
};
constexpr WeightLimits kSquaresLimits{66'051, 127};
constexpr WeightLimits kDifferencesLimits{16'843'009, 32'767};
// Rows with a component so many standard deviations from its mean are left outside
// of the ranges, as long as they are few: one wild row must not spoil the resolution of all.
// What is wild may hide behind what is wilder, hence rounds.
constexpr double kDeviationsMax = 8;
constexpr size_t kRoundsMax = 4;
constexpr size_t kWildPart = 100;
// Ranges for dot, which must hold what comes, are wider by this part on both sides.
constexpr double kDotMargin = 0.125;

// Factors for dot are worked out in floats within these, else in doubles.
constexpr float kFactorMin = 1e-30f;
constexpr float kFactorMax = 1e30f;
// A sum of 65,535 floats, added one by one, is off by less.
constexpr double kSumError = 1.01;

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
  bool IsWild(double x, double count) const {
    const double mean = sum / count;
    const double variance = std::max(squares / count - mean * mean, 0.0);
    return (x - mean) * (x - mean) > kDeviationsMax * kDeviationsMax * variance;
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

namespace {

using SampleRow = Sq8Quantizer::SampleRow;

// Of the rows with wild[i] == 0.
std::vector<Column> Measure(size_t dimension, const std::vector<uint8_t>& wild,
                            const SampleRow& sample) {
  std::vector<Column> columns(dimension);
  std::vector<float> row(dimension);
  for (size_t i = 0; i < wild.size(); ++i) {
    if (wild[i] != 0) continue;
    sample(i, row.data());
    for (size_t d = 0; d < dimension; ++d) columns[d].Add(row[d]);
  }
  return columns;
}

// Marks rows that lie far from the others; returns how many, none if they are too many to be
// exceptions.
size_t MarkWild(const std::vector<Column>& columns, size_t tame_count, std::vector<uint8_t>* wild,
                const SampleRow& sample) {
  std::vector<float> row(columns.size());
  std::vector<size_t> found;
  for (size_t i = 0; i < wild->size(); ++i) {
    if ((*wild)[i] != 0) continue;
    sample(i, row.data());
    for (size_t d = 0; d < row.size(); ++d) {
      if (!columns[d].IsWild(row[d], static_cast<double>(tame_count))) continue;
      found.push_back(i);
      break;
    }
    if (wild->size() - tame_count + found.size() > wild->size() / kWildPart) return 0;
  }
  for (const size_t i : found) (*wild)[i] = 1;
  return found.size();
}

}  // namespace

Sq8Quantizer Sq8Quantizer::Learn(Metric metric, size_t dimension, size_t count,
                                 const SampleRow& sample, const Kernels& kernels) {
  VECTRON_CHECK(count > 0);
  std::vector<float> low(dimension, 0.0f);
  std::vector<float> range(dimension, 255.0f);
  bool integral = metric != Metric::kCosine;
  std::vector<float> row(dimension);
  for (size_t i = 0; i < count && integral; ++i) {
    sample(i, row.data());
    integral = std::all_of(row.begin(), row.end(), IsByte);
  }
  if (integral) return Sq8Quantizer(metric, std::move(low), std::move(range), true, kernels);

  std::vector<uint8_t> wild(count, 0);
  size_t tame_count = count;
  std::vector<Column> columns = Measure(dimension, wild, sample);
  for (size_t round = 0; round < kRoundsMax && metric != Metric::kDot; ++round) {
    const size_t found = MarkWild(columns, tame_count, &wild, sample);
    if (found == 0) break;
    tame_count -= found;
    columns = Measure(dimension, wild, sample);
  }
  // A small sample does not know its ends.
  const double margin_part =
      metric == Metric::kDot ? kDotMargin : 1 / (2 * std::sqrt(static_cast<double>(tame_count)));
  for (size_t d = 0; d < dimension; ++d) {
    const double margin = (columns[d].most - columns[d].least) * margin_part;
    const double least = columns[d].least - margin;
    const double most = columns[d].most + margin;
    low[d] = ToFloat(least);
    range[d] = most > least ? std::max(ToFloat(most - least), FLT_MIN) : 0.0f;
  }
  return Sq8Quantizer(metric, std::move(low), std::move(range), false, kernels);
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
  if (!is_dot()) ChooseSteps();
  PlaceCodes();
  // Where all were the same, whatever differs is outside.
  for (size_t d = 0; d < low_.size(); ++d) {
    inverse_step_[d] = step_[d] > 0 ? ToFloat(1.0 / step_[d]) : FLT_MAX;
  }
}

// What a step counts for in a distance, its share (its square for l2 and cosine), becomes a whole
// number of units, its weight: the greatest for the widest step, for every other the next one that
// is not below it. Where one step for all would cost less than one bit of precision, all get it:
// weights of 1 are faster.
void Sq8Quantizer::ChooseSteps() {
  if (integral_) return;
  const bool squares = metric_ != Metric::kManhattan;
  const auto share_of = [&](double step) { return squares ? step * step : step; };
  const double half = metric_ == Metric::kCosine ? 0.5 : 1;  // |a - b|^2 = 2 (1 - cos(a, b))
  float widest_step = 0;
  double total = 0;
  for (const float step : step_) {
    widest_step = std::max(widest_step, step);
    total += share_of(step);
  }
  const double widest = share_of(widest_step);
  const double dimension = static_cast<double>(step_.size());
  const WeightLimits& limits = squares ? kSquaresLimits : kDifferencesLimits;
  uint32_t weight_max = 1;
  if (dimension * widest > share_of(2) * total) {
    // Each weight is below its part plus one.
    const double room = static_cast<double>(limits.sum_max) - dimension;
    const double parts = total > 0 ? total / widest : dimension;
    weight_max = static_cast<uint32_t>(std::clamp<double>(room / parts, 1, limits.weight_max));
  }
  if (weight_max == 1) {
    std::fill(step_.begin(), step_.end(), widest_step);
    scale_ = half * widest;
    return;
  }
  const double unit = widest / weight_max;
  scale_ = half * unit;
  weights_.assign(padded_, 0);
  for (size_t d = 0; d < step_.size(); ++d) {
    const double weight =
        std::clamp<double>(std::ceil(share_of(step_[d]) / unit - 1e-6), 1, weight_max);
    weights_[d] = static_cast<int16_t>(weight);
    step_[d] = ToFloat(squares ? std::sqrt(unit * weight) : unit * weight);
  }
}

// Where steps are wider than a range asks for, codes are left over: half of them on either side, so
// that what comes from below the range does not look like what is at its lower end. Where all were
// the same, that is in the middle, and what differs from it is clipped to one end or the other.
void Sq8Quantizer::PlaceCodes() {
  origin_ = low_;
  if (integral_ || is_dot()) return;
  for (size_t d = 0; d < low_.size(); ++d) {
    if (step_[d] == 0) {
      step_[d] = std::max(std::nextafter(std::abs(low_[d]), FLT_MAX) - std::abs(low_[d]), FLT_MIN);
    }
    const double over = 255.0 * step_[d] - range_[d];
    if (over > 0) origin_[d] = ToFloat(low_[d] - over / 2);
  }
}

size_t Sq8Quantizer::Encode(const float* vector, uint8_t* code) const {
  size_t misfits =
      kernels_->encode(vector, origin_.data(), inverse_step_.data(), low_.size(), code);
  std::memset(code + low_.size(), 0, padded_ - low_.size());
  if (integral_) {
    misfits = 0;
    for (size_t d = 0; d < low_.size(); ++d) misfits += static_cast<float>(code[d]) != vector[d];
  }
  return misfits;
}

void Sq8Quantizer::Decode(const uint8_t* code, float* vector) const {
  for (size_t d = 0; d < low_.size(); ++d) {
    vector[d] = origin_[d] + step_[d] * static_cast<float>(code[d]);
  }
}

void Sq8Quantizer::Prepare(const float* query, Prepared* prepared) const {
  if (is_dot()) {
    PrepareDot(query, prepared);
    return;
  }
  thread_local std::vector<uint8_t> code;
  code.resize(padded_);
  kernels_->encode(query, origin_.data(), inverse_step_.data(), low_.size(), code.data());
  std::memset(code.data() + low_.size(), 0, padded_ - low_.size());
  PrepareCode(code.data(), prepared);
}

void Sq8Quantizer::PrepareCode(const uint8_t* code, Prepared* prepared) const {
  if (is_dot()) {
    thread_local std::vector<float> decoded;
    decoded.resize(low_.size());
    Decode(code, decoded.data());
    PrepareDot(decoded.data(), prepared);
    return;
  }
  if (compares_bytes()) {
    std::memcpy(prepared->values.Resize(padded_), code, padded_);
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
  const FactorSums sums = kernels_->measure_factors(query, low_.data(), step_.data(), low_.size());
  const bool fits =
      sums.largest > kFactorMin && sums.total < kFactorMax && std::abs(sums.offset) < kFactorMax;
  double largest = sums.largest;
  double total = sums.total * kSumError;
  double offset = sums.offset;
  if (!fits) {
    largest = total = offset = 0;
    for (size_t d = 0; d < low_.size(); ++d) {
      const double factor = std::abs(static_cast<double>(query[d]) * step_[d]);
      largest = std::max(largest, factor);
      total += factor;
      offset += static_cast<double>(query[d]) * low_[d];
    }
  }
  // Rounding may add one half a dimension.
  const double room =
      (2147483647.0 / 255 - static_cast<double>(low_.size())) / std::max(total, 1e-300);
  const double limit = std::min(32'766.0 / std::max(largest, 1e-300), room);
  const double scale = std::ldexp(1.0, std::clamp(std::ilogb(limit), -1000, 1000));
  if (fits) {
    kernels_->round_factors(query, step_.data(), static_cast<float>(scale), low_.size(), values);
  } else {
    for (size_t d = 0; d < low_.size(); ++d) {
      values[d] = static_cast<int16_t>(std::rint(static_cast<double>(query[d]) * step_[d] * scale));
    }
  }
  std::fill(values + low_.size(), values + padded_, int16_t{0});
  // Clamped such that neither the product with a sum of 31 bits nor the addition
  // can overflow.
  prepared->bias = static_cast<float>(std::clamp(-offset, -1e37, 1e37));
  prepared->scale = static_cast<float>(-std::min(1 / scale, 1e28));
}

// Sums of differences, whole numbers.
void Sq8Quantizer::Sums(const Prepared& prepared, const std::byte* const* rows, size_t count,
                        uint32_t* sums) const {
  const int16_t* query = prepared.values.As<int16_t>();
  if (compares_bytes()) {
    kernels_->l1_codes(prepared.values.As<uint8_t>(), rows, count, padded_, sums);
  } else if (metric_ == Metric::kManhattan) {
    kernels_->l1_weighted_codes(query, weights_.data(), rows, count, padded_, sums);
  } else if (weights_.empty()) {
    kernels_->l2_codes(query, rows, count, padded_, sums);
  } else {
    kernels_->l2_weighted_codes(query, weights_.data(), rows, count, padded_, sums);
  }
}

void Sq8Quantizer::Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                             float* distances) const {
  while (count > 0) {
    const size_t batch = std::min(count, kBatch);
    if (!is_dot()) {
      uint32_t sums[kBatch];
      Sums(prepared, rows, batch, sums);
      for (size_t i = 0; i < batch; ++i) distances[i] = static_cast<float>(sums[i]);
    } else {
      int32_t sums[kBatch];
      kernels_->dot_codes(prepared.values.As<int16_t>(), rows, batch, padded_, sums);
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
