#pragma once

// The body of kernels_avx512.cc and kernels_avx512_vnni.cc, which define before
// they include it MultiplyAdd(sum, a, b): sum + the products of 16-bit pairs,
// added two by two into 32 bits. In an unnamed namespace: each has its own.

namespace vectron::index {
namespace {

// The four rows from `first` on; where the batch ends earlier, its last row again.
struct FourRows {
  const std::byte* row[4];

  FourRows(const std::byte* const* rows, size_t first, size_t count) {
    for (size_t i = 0; i < 4; ++i) row[i] = rows[first + i < count ? first + i : count - 1];
  }
};

inline __mmask8 FourMask(size_t first, size_t count) {
  return static_cast<__mmask8>(count - first >= 4 ? 15 : (1 << (count - first)) - 1);
}

inline __mmask16 SixteenMask(size_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
}

inline __m256i Halves(__m512i a) {
  return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
}

inline __m128i SumsOf(const __m512i* a) {
  const __m256i low = _mm256_hadd_epi32(Halves(a[0]), Halves(a[1]));
  const __m256i high = _mm256_hadd_epi32(Halves(a[2]), Halves(a[3]));
  const __m256i all = _mm256_hadd_epi32(low, high);
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

inline __m256 Halves(__m512 a) {
  return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

inline __m128 SumsOf(const __m512* a) {
  const __m256 low = _mm256_hadd_ps(Halves(a[0]), Halves(a[1]));
  const __m256 high = _mm256_hadd_ps(Halves(a[2]), Halves(a[3]));
  const __m256 all = _mm256_hadd_ps(low, high);
  return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

inline __m512i Codes(const std::byte* row, size_t d) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + d)));
}

enum class Form { kL2, kL2Weighted, kDot, kL1Weighted };

template <Form kForm>
inline void CodeSums(const int16_t* query, const int16_t* weights, const std::byte* const* rows,
                     size_t count, size_t padded, uint32_t* sums) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};
    for (size_t d = 0; d < padded; d += 32) {
      const __m512i q = _mm512_loadu_si512(query + d);
      for (size_t i = 0; i < 4; ++i) {
        __m512i left = Codes(four.row[i], d);
        __m512i right = q;
        if constexpr (kForm != Form::kDot) left = right = _mm512_sub_epi16(left, q);
        if constexpr (kForm == Form::kL2Weighted) {
          right = _mm512_mullo_epi16(right, _mm512_loadu_si512(weights + d));
        }
        if constexpr (kForm == Form::kL1Weighted) {
          left = _mm512_abs_epi16(left);
          right = _mm512_loadu_si512(weights + d);
        }
        sum[i] = MultiplyAdd(sum[i], left, right);
      }
    }
    _mm_mask_storeu_epi32(sums + first, FourMask(first, count), SumsOf(sum));
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
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};
    for (size_t d = 0; d < padded; d += 64) {
      const __m512i q = _mm512_loadu_si512(query + d);
      for (size_t i = 0; i < 4; ++i) {
        const __m512i x = _mm512_loadu_si512(four.row[i] + d);
        sum[i] = _mm512_add_epi32(sum[i], _mm512_sad_epu8(x, q));
      }
    }
    _mm_mask_storeu_epi32(sums + first, FourMask(first, count), SumsOf(sum));
  }
}

enum class FloatForm { kL2, kL1, kDot, kDotNorm };

template <FloatForm kForm>
inline void FloatSums(const float* query, const std::byte* const* rows, size_t count,
                      size_t dimension, float* sums, float* squares) {
  for (size_t first = 0; first < count; first += 4) {
    const FourRows four(rows, first, count);
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    __m512 square[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                        _mm512_setzero_ps()};
    for (size_t d = 0; d < dimension; d += 16) {
      const __mmask16 mask = SixteenMask(dimension - d);
      const __m512 q = _mm512_maskz_loadu_ps(mask, query + d);
      for (size_t i = 0; i < 4; ++i) {
        const __m512 x =
            _mm512_maskz_loadu_ps(mask, reinterpret_cast<const float*>(four.row[i]) + d);
        if constexpr (kForm == FloatForm::kL2) {
          const __m512 difference = _mm512_sub_ps(x, q);
          sum[i] = _mm512_fmadd_ps(difference, difference, sum[i]);
        } else if constexpr (kForm == FloatForm::kL1) {
          sum[i] = _mm512_add_ps(sum[i], _mm512_abs_ps(_mm512_sub_ps(x, q)));
        } else {
          sum[i] = _mm512_fmadd_ps(x, q, sum[i]);
        }
        if constexpr (kForm == FloatForm::kDotNorm) square[i] = _mm512_fmadd_ps(x, x, square[i]);
      }
    }
    const __mmask8 mask = FourMask(first, count);
    _mm_mask_storeu_ps(sums + first, mask, SumsOf(sum));
    if constexpr (kForm == FloatForm::kDotNorm) {
      _mm_mask_storeu_ps(squares + first, mask, SumsOf(square));
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
  for (size_t d = 0; d < dimension; d += 16) {
    const __mmask16 mask = SixteenMask(dimension - d);
    const __m512 place = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, vector + d),
                                                     _mm512_maskz_loadu_ps(mask, low + d)),
                                       _mm512_maskz_loadu_ps(mask, inverse_step + d));
    const unsigned below = _mm512_cmp_ps_mask(place, _mm512_set1_ps(-0.5f), _CMP_LT_OQ);
    const unsigned above = _mm512_cmp_ps_mask(place, _mm512_set1_ps(255.5f), _CMP_GT_OQ);
    outside += static_cast<size_t>(__builtin_popcount(below | above));
    const __m512 clipped =
        _mm512_min_ps(_mm512_max_ps(place, _mm512_setzero_ps()), _mm512_set1_ps(255.0f));
    _mm_mask_storeu_epi8(code + d, mask, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(clipped)));
  }
  return outside;
}

FactorSums MeasureFactors(const float* query, const float* low, const float* step,
                          size_t dimension) {
  __m512 largest = _mm512_setzero_ps();
  __m512 total = _mm512_setzero_ps();
  __m512 offset = _mm512_setzero_ps();
  for (size_t d = 0; d < dimension; d += 16) {
    const __mmask16 mask = SixteenMask(dimension - d);
    const __m512 q = _mm512_maskz_loadu_ps(mask, query + d);
    const __m512 factor = _mm512_abs_ps(_mm512_mul_ps(q, _mm512_maskz_loadu_ps(mask, step + d)));
    largest = _mm512_max_ps(factor, largest);
    total = _mm512_add_ps(total, factor);
    offset = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(mask, low + d), offset);
  }
  alignas(64) float lanes[3][16];
  _mm512_store_ps(lanes[0], largest);
  _mm512_store_ps(lanes[1], total);
  _mm512_store_ps(lanes[2], offset);
  FactorSums sums = {0, 0, 0};
  for (size_t i = 0; i < 16; ++i) {
    sums.largest = lanes[0][i] > sums.largest ? lanes[0][i] : sums.largest;
    sums.total += lanes[1][i];
    sums.offset += lanes[2][i];
  }
  return sums;
}

void RoundFactors(const float* query, const float* step, float scale, size_t dimension,
                  int16_t* factors) {
  for (size_t d = 0; d < dimension; d += 16) {
    const __mmask16 mask = SixteenMask(dimension - d);
    const __m512 product = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, query + d),
                                         _mm512_maskz_loadu_ps(mask, step + d));
    const __m512i wide = _mm512_cvtps_epi32(_mm512_mul_ps(product, _mm512_set1_ps(scale)));
    _mm256_mask_storeu_epi16(factors + d, mask, _mm512_cvtepi32_epi16(wide));
  }
}

}  // namespace
}  // namespace vectron::index
