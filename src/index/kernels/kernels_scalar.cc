// The definition of what the other files compute, and the fallback.

#include "index/kernels/kernels.h"

namespace vectron::index {
namespace {

uint8_t Code(const std::byte* row, size_t d) { return static_cast<uint8_t>(row[d]); }
const float* Floats(const std::byte* row) { return reinterpret_cast<const float*>(row); }

void L2Codes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t sum = 0;
    for (size_t d = 0; d < padded; ++d) {
      const int32_t difference = Code(rows[i], d) - query[d];
      sum += static_cast<uint32_t>(difference * difference);
    }
    sums[i] = sum;
  }
}

void L2WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t sum = 0;
    for (size_t d = 0; d < padded; ++d) {
      const int32_t difference = Code(rows[i], d) - query[d];
      sum += static_cast<uint32_t>(weights[d] * difference * difference);
    }
    sums[i] = sum;
  }
}

void DotCodes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
              int32_t* sums) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (size_t d = 0; d < padded; ++d) sum += query[d] * Code(rows[i], d);
    sums[i] = sum;
  }
}

void L1Codes(const uint8_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t sum = 0;
    for (size_t d = 0; d < padded; ++d) {
      const int32_t difference = Code(rows[i], d) - query[d];
      sum += static_cast<uint32_t>(difference < 0 ? -difference : difference);
    }
    sums[i] = sum;
  }
}

void L1WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t sum = 0;
    for (size_t d = 0; d < padded; ++d) {
      const int32_t difference = Code(rows[i], d) - query[d];
      sum += static_cast<uint32_t>(weights[d] * (difference < 0 ? -difference : difference));
    }
    sums[i] = sum;
  }
}

// term(0) + term(1) + ...: as sums of a few terms each, so that what is added is not small beside
// what it is added to, as it would be at the end of 65,535 dimensions; and the compiler may work on
// them side by side.
template <typename Term>
float Sum(size_t dimension, Term term) {
  constexpr size_t kParts = 16;
  float parts[kParts] = {};
  size_t d = 0;
  for (; d + kParts <= dimension; d += kParts) {
    for (size_t i = 0; i < kParts; ++i) parts[i] += term(d + i);
  }
  for (size_t i = 0; d < dimension; ++d, ++i) parts[i] += term(d);
  for (size_t half = kParts / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) parts[i] += parts[i + half];
  }
  return parts[0];
}

float Square(float x) { return x * x; }

void L2Floats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
              float* distances) {
  for (size_t i = 0; i < count; ++i) {
    const float* row = Floats(rows[i]);
    distances[i] = Sum(dimension, [&](size_t d) { return Square(row[d] - query[d]); });
  }
}

void L1Floats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
              float* distances) {
  for (size_t i = 0; i < count; ++i) {
    const float* row = Floats(rows[i]);
    distances[i] = Sum(dimension, [&](size_t d) { return __builtin_fabsf(row[d] - query[d]); });
  }
}

void DotFloats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
               float* products) {
  for (size_t i = 0; i < count; ++i) {
    const float* row = Floats(rows[i]);
    products[i] = Sum(dimension, [&](size_t d) { return row[d] * query[d]; });
  }
}

void DotNormFloats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
                   float* products, float* squares) {
  DotFloats(query, rows, count, dimension, products);
  for (size_t i = 0; i < count; ++i) {
    const float* row = Floats(rows[i]);
    squares[i] = Sum(dimension, [&](size_t d) { return Square(row[d]); });
  }
}

size_t Encode(const float* vector, const float* low, const float* inverse_step, size_t dimension,
              uint8_t* code) {
  size_t outside = 0;
  for (size_t d = 0; d < dimension; ++d) {
    const float place = (vector[d] - low[d]) * inverse_step[d];
    outside += place < -0.5f || place > 255.5f;
    // In this order NaN (infinity times zero) becomes 0, as in the other files.
    const float clipped = !(place > 0.0f) ? 0.0f : place > 255.0f ? 255.0f : place;
    code[d] = static_cast<uint8_t>(__builtin_rintf(clipped));
  }
  return outside;
}

FactorSums MeasureFactors(const float* query, const float* low, const float* step,
                          size_t dimension) {
  FactorSums sums = {0, 0, 0};
  for (size_t d = 0; d < dimension; ++d) {
    const float factor = __builtin_fabsf(query[d] * step[d]);
    if (factor > sums.largest) sums.largest = factor;
    sums.total += factor;
    sums.offset += query[d] * low[d];
  }
  return sums;
}

void RoundFactors(const float* query, const float* step, float scale, size_t dimension,
                  int16_t* factors) {
  for (size_t d = 0; d < dimension; ++d) {
    factors[d] = static_cast<int16_t>(__builtin_rintf(query[d] * step[d] * scale));
  }
}

}  // namespace

constexpr Kernels kScalarKernels = {
    .name = "scalar",
    .l2_codes = L2Codes,
    .l2_weighted_codes = L2WeightedCodes,
    .dot_codes = DotCodes,
    .l1_codes = L1Codes,
    .l1_weighted_codes = L1WeightedCodes,
    .l2_floats = L2Floats,
    .l1_floats = L1Floats,
    .dot_floats = DotFloats,
    .dot_norm_floats = DotNormFloats,
    .encode = Encode,
    .measure_factors = MeasureFactors,
    .round_factors = RoundFactors,
};

}  // namespace vectron::index
