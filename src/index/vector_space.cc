#include "index/vector_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

namespace vectron::index {
namespace {

// Squared norms outside are computed again in doubles: floats would lose digits.
constexpr float kSquareMin = 1e-30f;
constexpr float kSquareMax = 1e30f;

double Norm(const float* vector, size_t dimension) {
  double squares = 0;
  for (size_t d = 0; d < dimension; ++d) squares += static_cast<double>(vector[d]) * vector[d];
  return std::sqrt(squares);
}

}  // namespace

Status VectorSpace::Validate(std::span<const float> vector, const char* what) const {
  if (vector.size() != dimension_) {
    return InvalidArgument(
        fmt::format("the {} has {} dimensions, not {}", what, vector.size(), dimension_));
  }
  constexpr uint32_t kExponent = 0x7f800000;  // all ones: infinity or NaN
  uint32_t not_finite = 0;
  uint32_t not_zero = 0;
  for (const float x : vector) {
    const auto bits = std::bit_cast<uint32_t>(x);
    not_finite |= (bits & kExponent) == kExponent;
    not_zero |= bits << 1;
  }
  if (not_finite != 0) {
    for (size_t d = 0; d < dimension_; ++d) {
      if (!std::isfinite(vector[d])) {
        return InvalidArgument(fmt::format("component {} of the {} is not finite", d, what));
      }
    }
  }
  if (not_zero == 0 && metric_ == Metric::kCosine) {
    return InvalidArgument(fmt::format("the {} is all zeros, which has no cosine", what));
  }
  return OkStatus();
}

void VectorSpace::Normalize(const float* vector, float* out) const {
  if (metric_ != Metric::kCosine) {
    std::memcpy(out, vector, dimension_ * sizeof(float));
    return;
  }
  const auto* row = reinterpret_cast<const std::byte*>(vector);
  float square = 0;
  kernels_->dot_floats(vector, &row, 1, dimension_, &square);
  if (square > kSquareMin && square < kSquareMax) {
    const auto inverse = static_cast<float>(1 / std::sqrt(static_cast<double>(square)));
    for (size_t d = 0; d < dimension_; ++d) out[d] = vector[d] * inverse;
    return;
  }
  const double inverse = 1 / Norm(vector, dimension_);
  for (size_t d = 0; d < dimension_; ++d) out[d] = static_cast<float>(vector[d] * inverse);
}

void VectorSpace::Prepare(const float* vector, Prepared* prepared) const {
  Normalize(vector, static_cast<float*>(prepared->values.Resize(dimension_ * sizeof(float))));
}

void VectorSpace::Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                            float* distances) const {
  if (std::none_of(rows, rows + count, VectorStore::IsBytes)) {
    return FloatDistances(prepared, rows, count, distances);
  }
  constexpr size_t kBatch = 8;
  thread_local std::vector<float> widened;
  widened.resize(kBatch * dimension_);
  std::array<const std::byte*, kBatch> batch;
  for (size_t first = 0; first < count; first += kBatch) {
    const size_t size = std::min(kBatch, count - first);
    for (size_t i = 0; i < size; ++i) {
      batch[i] = reinterpret_cast<const std::byte*>(
          vectors_.Vector(rows[first + i], widened.data() + i * dimension_));
    }
    FloatDistances(prepared, batch.data(), size, distances + first);
  }
}

void VectorSpace::FloatDistances(const Prepared& prepared, const std::byte* const* rows,
                                 size_t count, float* distances) const {
  const float* query = prepared.values.As<float>();
  switch (metric_) {
    case Metric::kL2:
      kernels_->l2_floats(query, rows, count, dimension_, distances);
      break;
    case Metric::kManhattan:
      kernels_->l1_floats(query, rows, count, dimension_, distances);
      break;
    case Metric::kDot:
      kernels_->dot_floats(query, rows, count, dimension_, distances);
      for (size_t i = 0; i < count; ++i) distances[i] = -distances[i];
      break;
    case Metric::kCosine: {
      constexpr size_t kBatch = 64;
      float squares[kBatch];
      for (size_t first = 0; first < count; first += kBatch) {
        const size_t batch = std::min(kBatch, count - first);
        float* out = distances + first;
        kernels_->dot_norm_floats(query, rows + first, batch, dimension_, out, squares);
        for (size_t i = 0; i < batch; ++i) {
          const bool fits = squares[i] > kSquareMin && squares[i] < kSquareMax;
          out[i] = fits ? 1.0f - out[i] / std::sqrt(squares[i]) : NAN;
        }
      }
      break;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(distances[i])) {
      distances[i] = SlowDistance(query, reinterpret_cast<const float*>(rows[i]));
    }
  }
}

float VectorSpace::SlowDistance(const float* query, const float* row) const {
  double sum = 0;
  for (size_t d = 0; d < dimension_; ++d) {
    const double x = row[d];
    const double q = query[d];
    switch (metric_) {
      case Metric::kL2:
        sum += (x - q) * (x - q);
        break;
      case Metric::kManhattan:
        sum += std::abs(x - q);
        break;
      case Metric::kCosine:
      case Metric::kDot:
        sum += x * q;
    }
  }
  if (metric_ == Metric::kDot) sum = -sum;
  if (metric_ == Metric::kCosine) sum = 1 - sum / Norm(row, dimension_);
  return static_cast<float>(std::clamp<double>(sum, -FLT_MAX, FLT_MAX));
}

void Scorer::Prepare(const float* query, Prepared* prepared) const {
  if (codes_ == nullptr) {
    space_->Prepare(query, prepared);
  } else if (space_->metric() != Metric::kCosine) {
    codes_->quantizer.Prepare(query, prepared);
  } else {
    thread_local std::vector<float> normal;
    normal.resize(space_->dimension());
    space_->Normalize(query, normal.data());
    codes_->quantizer.Prepare(normal.data(), prepared);
  }
}

bool Scorer::LosslessRows() const {
  return codes_ == nullptr || codes_->lossless.load(std::memory_order_relaxed);
}

bool Scorer::LosslessFor(bool query_holds_bytes) const {
  const bool sums_differences =
      space_->metric() == Metric::kL2 || space_->metric() == Metric::kManhattan;
  return codes_ != nullptr && sums_differences && query_holds_bytes && LosslessRows();
}

void Scorer::PrepareSlot(Slot slot, Prepared* prepared) const {
  if (codes_ != nullptr) {
    codes_->quantizer.PrepareCode(codes_->Row(slot), prepared);
  } else {
    thread_local std::vector<float> scratch;
    space_->Prepare(space_->vectors().Vector(slot, &scratch), prepared);
  }
}

}  // namespace vectron::index
