#pragma once

// The body of kernels_neon.cc and kernels_neon_dotprod.cc, which define before they include it
// AddSquares(sum, a): sum + the squares of 16 bytes, four by four, and AddSum(sum, a): sum + the
// bytes. In an unnamed namespace: each has its own.

namespace vectron::index {
namespace {

// The four rows from `first` on; where the batch ends earlier, its last row again.
struct FourRows {
  const std::byte* row[4];

  FourRows(const std::byte* const* rows, size_t first, size_t count) {
    for (size_t i = 0; i < 4; ++i) row[i] = rows[first + i < count ? first + i : count - 1];
  }
};

template <typename T>
inline void CopyOut(const T* four, size_t first, size_t count, T* out) {
  for (size_t i = 0; i < 4 && first + i < count; ++i) out[first + i] = four[i];
}

inline uint8x16_t Codes(const std::byte* row, size_t d) {
  return vld1q_u8(reinterpret_cast<const uint8_t*>(row + d));
}

// 16 of the query, which is within 0..255, as bytes.
inline uint8x16_t Narrow(const int16_t* query, size_t d) {
  return vcombine_u8(vqmovun_s16(vld1q_s16(query + d)), vqmovun_s16(vld1q_s16(query + d + 8)));
}

inline uint16x8_t Weights(const int16_t* weights, size_t d) {
  return vreinterpretq_u16_s16(vld1q_s16(weights + d));
}

// sum + a[i] * b[i], two by two.
inline uint32x4_t MultiplyAdd(uint32x4_t sum, uint16x8_t a, uint16x8_t b) {
  return vmlal_high_u16(vmlal_u16(sum, vget_low_u16(a), vget_low_u16(b)), a, b);
}

inline int32x4_t MultiplyAdd(int32x4_t sum, int16x8_t a, int16x8_t b) {
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b)), a, b);
}

// Calls add(sum, differences, d) with the absolute differences of each row from the query, 16 at
// a time.
template <typename LoadQuery, typename Add>
inline void DifferenceSums(const LoadQuery& load_query, const std::byte* const* rows, size_t count,
                           size_t padded, uint32_t* sums, const Add& add) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    uint32x4_t sum[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (size_t d = 0; d < padded; d += 16) {
      const uint8x16_t q = load_query(d);
      for (size_t i = 0; i < 4; ++i) {
        sum[i] = add(sum[i], vabdq_u8(Codes(four.row[i], d), q), d);
      }
    }
    uint32_t out[4];
    for (size_t i = 0; i < 4; ++i) out[i] = vaddvq_u32(sum[i]);
    CopyOut(out, first, count, sums);
  }
}

void L2Codes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  DifferenceSums([&](size_t d) { return Narrow(query, d); }, rows, count, padded, sums,
                 [](uint32x4_t sum, uint8x16_t a, size_t) { return AddSquares(sum, a); });
}

void L2WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  DifferenceSums([&](size_t d) { return Narrow(query, d); }, rows, count, padded, sums,
                 [&](uint32x4_t sum, uint8x16_t a, size_t d) {
                   const uint16x8_t low = vmovl_u8(vget_low_u8(a));
                   const uint16x8_t high = vmovl_high_u8(a);
                   sum = MultiplyAdd(sum, low, vmulq_u16(low, Weights(weights, d)));
                   return MultiplyAdd(sum, high, vmulq_u16(high, Weights(weights, d + 8)));
                 });
}

void L1Codes(const uint8_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  DifferenceSums([&](size_t d) { return vld1q_u8(query + d); }, rows, count, padded, sums,
                 [](uint32x4_t sum, uint8x16_t a, size_t) { return AddSum(sum, a); });
}

void L1WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  DifferenceSums([&](size_t d) { return Narrow(query, d); }, rows, count, padded, sums,
                 [&](uint32x4_t sum, uint8x16_t a, size_t d) {
                   sum = MultiplyAdd(sum, vmovl_u8(vget_low_u8(a)), Weights(weights, d));
                   return MultiplyAdd(sum, vmovl_high_u8(a), Weights(weights, d + 8));
                 });
}

void DotCodes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
              int32_t* sums) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (size_t d = 0; d < padded; d += 16) {
      const int16x8_t low = vld1q_s16(query + d);
      const int16x8_t high = vld1q_s16(query + d + 8);
      for (size_t i = 0; i < 4; ++i) {
        const uint8x16_t x = Codes(four.row[i], d);
        sum[i] = MultiplyAdd(sum[i], low, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))));
        sum[i] = MultiplyAdd(sum[i], high, vreinterpretq_s16_u16(vmovl_high_u8(x)));
      }
    }
    int32_t out[4];
    for (size_t i = 0; i < 4; ++i) out[i] = vaddvq_s32(sum[i]);
    CopyOut(out, first, count, sums);
  }
}

// Four floats from `d` on, zeros past the end.
inline float32x4_t Floats(const float* values, size_t d, size_t dimension) {
  if (d + 4 <= dimension) return vld1q_f32(values + d);
  float last[4] = {0, 0, 0, 0};
  for (size_t i = 0; d + i < dimension; ++i) last[i] = values[d + i];
  return vld1q_f32(last);
}

enum class FloatForm { kL2, kL1, kDot, kDotNorm };

template <FloatForm kForm>
inline void FloatSums(const float* query, const std::byte* const* rows, size_t count,
                      size_t dimension, float* sums, float* squares) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    float32x4_t square[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t d = 0; d < dimension; d += 4) {
      const float32x4_t q = Floats(query, d, dimension);
      for (size_t i = 0; i < 4; ++i) {
        const float32x4_t x = Floats(reinterpret_cast<const float*>(four.row[i]), d, dimension);
        if constexpr (kForm == FloatForm::kL2) {
          const float32x4_t difference = vsubq_f32(x, q);
          sum[i] = vfmaq_f32(sum[i], difference, difference);
        } else if constexpr (kForm == FloatForm::kL1) {
          sum[i] = vaddq_f32(sum[i], vabdq_f32(x, q));
        } else {
          sum[i] = vfmaq_f32(sum[i], x, q);
        }
        if constexpr (kForm == FloatForm::kDotNorm) square[i] = vfmaq_f32(square[i], x, x);
      }
    }
    float out[4];
    for (size_t i = 0; i < 4; ++i) out[i] = vaddvq_f32(sum[i]);
    CopyOut(out, first, count, sums);
    if constexpr (kForm == FloatForm::kDotNorm) {
      for (size_t i = 0; i < 4; ++i) out[i] = vaddvq_f32(square[i]);
      CopyOut(out, first, count, squares);
    }
  }
}

void L2Floats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
              float* distances) {
  FloatSums<FloatForm::kL2>(query, rows, count, dimension, distances, nullptr);
}

void L1Floats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
              float* distances) {
  FloatSums<FloatForm::kL1>(query, rows, count, dimension, distances, nullptr);
}

void DotFloats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
               float* products) {
  FloatSums<FloatForm::kDot>(query, rows, count, dimension, products, nullptr);
}

void DotNormFloats(const float* query, const std::byte* const* rows, size_t count, size_t dimension,
                   float* products, float* squares) {
  FloatSums<FloatForm::kDotNorm>(query, rows, count, dimension, products, squares);
}

size_t Encode(const float* vector, const float* low, const float* inverse_step, size_t dimension,
              uint8_t* code) {
  uint32x4_t outside = vdupq_n_u32(0);  // minus one for each
  size_t d = 0;
  for (; d + 8 <= dimension; d += 8) {
    uint16x4_t words[2];
    for (size_t half = 0; half < 2; ++half) {
      const size_t at = d + 4 * half;
      const float32x4_t place = vmulq_f32(vsubq_f32(vld1q_f32(vector + at), vld1q_f32(low + at)),
                                          vld1q_f32(inverse_step + at));
      const uint32x4_t below = vcltq_f32(place, vdupq_n_f32(-0.5f));
      const uint32x4_t above = vcgtq_f32(place, vdupq_n_f32(255.5f));
      outside = vaddq_u32(outside, vorrq_u32(below, above));
      // Of a number and NaN these give the number.
      const float32x4_t clipped = vminnmq_f32(vmaxnmq_f32(place, vdupq_n_f32(0)), vdupq_n_f32(255));
      words[half] = vmovn_u32(vcvtnq_u32_f32(clipped));
    }
    vst1_u8(code + d, vmovn_u16(vcombine_u16(words[0], words[1])));
  }
  const auto count = static_cast<size_t>(0 - vaddvq_u32(outside));
  return count +
         kScalarKernels.encode(vector + d, low + d, inverse_step + d, dimension - d, code + d);
}

FactorSums MeasureFactors(const float* query, const float* low, const float* step,
                          size_t dimension) {
  float32x4_t largest = vdupq_n_f32(0);
  float32x4_t total = vdupq_n_f32(0);
  float32x4_t offset = vdupq_n_f32(0);
  for (size_t d = 0; d < dimension; d += 4) {
    const float32x4_t q = Floats(query, d, dimension);
    const float32x4_t factor = vabsq_f32(vmulq_f32(q, Floats(step, d, dimension)));
    largest = vmaxq_f32(largest, factor);
    total = vaddq_f32(total, factor);
    offset = vfmaq_f32(offset, q, Floats(low, d, dimension));
  }
  return {vmaxvq_f32(largest), vaddvq_f32(total), vaddvq_f32(offset)};
}

void RoundFactors(const float* query, const float* step, float scale, size_t dimension,
                  int16_t* factors) {
  size_t d = 0;
  for (; d + 4 <= dimension; d += 4) {
    const float32x4_t product = vmulq_f32(vld1q_f32(query + d), vld1q_f32(step + d));
    vst1_s16(factors + d, vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(product, scale))));
  }
  kScalarKernels.round_factors(query + d, step + d, scale, dimension - d, factors + d);
}

}  // namespace
}  // namespace vectron::index
