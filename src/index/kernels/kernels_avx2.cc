// Compiled with -mavx2 -mfma; called only where the processor has them.

#include <immintrin.h>

#include "index/kernels/kernels.h"

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

inline __m128i SumsOf(const __m256i* a) {
  const __m256i low = _mm256_hadd_epi32(a[0], a[1]);
  const __m256i high = _mm256_hadd_epi32(a[2], a[3]);
  const __m256i all = _mm256_hadd_epi32(low, high);
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

inline __m128 SumsOf(const __m256* a) {
  const __m256 low = _mm256_hadd_ps(a[0], a[1]);
  const __m256 high = _mm256_hadd_ps(a[2], a[3]);
  const __m256 all = _mm256_hadd_ps(low, high);
  return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

inline __m256i Codes(const std::byte* row, size_t d) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + d)));
}

inline __m256i Load(const int16_t* values, size_t d) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + d));
}

enum class Form { kL2, kL2Weighted, kDot, kL1Weighted };

// Sixteen codes' part of a sum.
template <Form kForm>
inline __m256i Part(__m256i x, __m256i q, const int16_t* weights, size_t d) {
  if constexpr (kForm == Form::kDot) return _mm256_madd_epi16(x, q);
  x = _mm256_sub_epi16(x, q);
  if constexpr (kForm == Form::kL2) return _mm256_madd_epi16(x, x);
  if constexpr (kForm == Form::kL1Weighted) x = _mm256_abs_epi16(x);
  const __m256i w = Load(weights, d);
  return _mm256_madd_epi16(x, kForm == Form::kL1Weighted ? w : _mm256_mullo_epi16(x, w));
}

// Two parts are added before they go to the sum: a shorter chain (docs/adr/0011).
template <Form kForm>
inline void CodeSums(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    __m256i sum[4] = {};
    for (size_t d = 0; d < padded; d += 32) {
      const __m256i q[2] = {Load(query, d), Load(query, d + 16)};
      for (size_t i = 0; i < 4; ++i) {
        const __m256i low = Part<kForm>(Codes(four.row[i], d), q[0], weights, d);
        const __m256i high = Part<kForm>(Codes(four.row[i], d + 16), q[1], weights, d + 16);
        sum[i] = _mm256_add_epi32(sum[i], _mm256_add_epi32(low, high));
      }
    }
    alignas(16) uint32_t out[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(out), SumsOf(sum));
    CopyOut(out, first, count, sums);
  }
}

void L2Codes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  CodeSums<Form::kL2>(query, nullptr, rows, count, padded, sums);
}

void L2WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  CodeSums<Form::kL2Weighted>(query, weights, rows, count, padded, sums);
}

void DotCodes(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
              int32_t* sums) {
  CodeSums<Form::kDot>(query, nullptr, rows, count, padded, reinterpret_cast<uint32_t*>(sums));
}

void L1WeightedCodes(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  CodeSums<Form::kL1Weighted>(query, weights, rows, count, padded, sums);
}

// Eight bytes' differences at a time come as one 64-bit sum, which fits 32 bits.
void L1Codes(const uint8_t* query, const std::byte* const* rows, size_t count, size_t padded,
             uint32_t* sums) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    __m256i sum[4] = {};
    for (size_t d = 0; d < padded; d += 32) {
      const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + d));
      for (size_t i = 0; i < 4; ++i) {
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(four.row[i] + d));
        sum[i] = _mm256_add_epi32(sum[i], _mm256_sad_epu8(x, q));
      }
    }
    alignas(16) uint32_t out[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(out), SumsOf(sum));
    CopyOut(out, first, count, sums);
  }
}

// Eight floats from `d` on, zeros past the end.
inline __m256 Floats(const float* values, size_t d, size_t dimension) {
  if (d + 8 <= dimension) return _mm256_loadu_ps(values + d);
  const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(dimension - d)), places);
  return _mm256_maskload_ps(values + d, mask);
}

enum class FloatForm { kL2, kL1, kDot, kDotNorm };

template <FloatForm kForm>
inline void FloatSums(const float* query, const std::byte* const* rows, size_t count,
                      size_t dimension, float* sums, float* squares) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    __m256 sum[4] = {};
    __m256 square[4] = {};
    for (size_t d = 0; d < dimension; d += 8) {
      const __m256 q = Floats(query, d, dimension);
      for (size_t i = 0; i < 4; ++i) {
        const __m256 x = Floats(reinterpret_cast<const float*>(four.row[i]), d, dimension);
        if constexpr (kForm == FloatForm::kL2) {
          const __m256 difference = _mm256_sub_ps(x, q);
          sum[i] = _mm256_fmadd_ps(difference, difference, sum[i]);
        } else if constexpr (kForm == FloatForm::kL1) {
          // Without its sign.
          const __m256 difference = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(x, q));
          sum[i] = _mm256_add_ps(sum[i], difference);
        } else {
          sum[i] = _mm256_fmadd_ps(x, q, sum[i]);
        }
        if constexpr (kForm == FloatForm::kDotNorm) square[i] = _mm256_fmadd_ps(x, x, square[i]);
      }
    }
    alignas(16) float out[4];
    _mm_store_ps(out, SumsOf(sum));
    CopyOut(out, first, count, sums);
    if constexpr (kForm == FloatForm::kDotNorm) {
      _mm_store_ps(out, SumsOf(square));
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
  size_t outside = 0;
  size_t d = 0;
  for (; d + 8 <= dimension; d += 8) {
    const __m256 place =
        _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(vector + d), _mm256_loadu_ps(low + d)),
                      _mm256_loadu_ps(inverse_step + d));
    const __m256 below = _mm256_cmp_ps(place, _mm256_set1_ps(-0.5f), _CMP_LT_OQ);
    const __m256 above = _mm256_cmp_ps(place, _mm256_set1_ps(255.5f), _CMP_GT_OQ);
    outside += static_cast<size_t>(
        __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_or_ps(below, above)))));
    const __m256 clipped =
        _mm256_min_ps(_mm256_max_ps(place, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
    const __m256i wide = _mm256_cvtps_epi32(clipped);
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(code + d), _mm_packus_epi16(words, words));
  }
  if (d < dimension) {
    outside +=
        kScalarKernels.encode(vector + d, low + d, inverse_step + d, dimension - d, code + d);
  }
  return outside;
}

FactorSums MeasureFactors(const float* query, const float* low, const float* step,
                          size_t dimension) {
  __m256 largest = _mm256_setzero_ps();
  __m256 total = _mm256_setzero_ps();
  __m256 offset = _mm256_setzero_ps();
  for (size_t d = 0; d < dimension; d += 8) {
    const __m256 q = Floats(query, d, dimension);
    const __m256 product = _mm256_mul_ps(q, Floats(step, d, dimension));
    const __m256 factor = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), product);
    largest = _mm256_max_ps(factor, largest);
    total = _mm256_add_ps(total, factor);
    offset = _mm256_fmadd_ps(q, Floats(low, d, dimension), offset);
  }
  alignas(32) float lanes[3][8];
  _mm256_store_ps(lanes[0], largest);
  _mm256_store_ps(lanes[1], total);
  _mm256_store_ps(lanes[2], offset);
  FactorSums sums = {0, 0, 0};
  for (size_t i = 0; i < 8; ++i) {
    sums.largest = lanes[0][i] > sums.largest ? lanes[0][i] : sums.largest;
    sums.total += lanes[1][i];
    sums.offset += lanes[2][i];
  }
  return sums;
}

void RoundFactors(const float* query, const float* step, float scale, size_t dimension,
                  int16_t* factors) {
  size_t d = 0;
  for (; d + 8 <= dimension; d += 8) {
    const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(query + d), _mm256_loadu_ps(step + d));
    const __m256i wide = _mm256_cvtps_epi32(_mm256_mul_ps(product, _mm256_set1_ps(scale)));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(factors + d),
        _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
  }
  kScalarKernels.round_factors(query + d, step + d, scale, dimension - d, factors + d);
}

}  // namespace

constexpr Kernels kAvx2Kernels = {
    .name = "avx2",
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
