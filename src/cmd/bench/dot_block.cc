#include "cmd/bench/dot_block.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vectron::cmd {
namespace {

// A tile of 4 x 2 sums stays in registers while both rows' components stream
// through, so each load feeds several multiplications.
constexpr size_t kTileA = 4;
constexpr size_t kTileB = 2;

float Dot(const float* a, const float* b, size_t dimension) {
  float lanes[8] = {};
  size_t i = 0;
  for (; i + 8 <= dimension; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (; i < dimension; ++i) sum += a[i] * b[i];
  for (float lane : lanes) sum += lane;
  return sum;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) float Sum(__m256 lanes) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

__attribute__((target("avx2,fma"))) void DotTileAvx2(const float* a, const float* b,
                                                     size_t dimension, float* out,
                                                     size_t out_stride) {
  __m256 sums[kTileA][kTileB];
  for (auto& row : sums) {
    for (__m256& sum : row) sum = _mm256_setzero_ps();
  }
  const size_t whole = dimension - dimension % 8;
  for (size_t k = 0; k < whole; k += 8) {
    const __m256 b0 = _mm256_loadu_ps(b + k);
    const __m256 b1 = _mm256_loadu_ps(b + dimension + k);
    for (size_t i = 0; i < kTileA; ++i) {
      const __m256 x = _mm256_loadu_ps(a + i * dimension + k);
      sums[i][0] = _mm256_fmadd_ps(x, b0, sums[i][0]);
      sums[i][1] = _mm256_fmadd_ps(x, b1, sums[i][1]);
    }
  }
  for (size_t i = 0; i < kTileA; ++i) {
    for (size_t j = 0; j < kTileB; ++j) {
      float sum = Sum(sums[i][j]);
      for (size_t k = whole; k < dimension; ++k) sum += a[i * dimension + k] * b[j * dimension + k];
      out[i * out_stride + j] = sum;
    }
  }
}
#endif

void DotTile(const float* a, const float* b, size_t dimension, float* out, size_t out_stride) {
  for (size_t i = 0; i < kTileA; ++i) {
    for (size_t j = 0; j < kTileB; ++j) {
      out[i * out_stride + j] = Dot(a + i * dimension, b + j * dimension, dimension);
    }
  }
}

using TileFunction = void (*)(const float*, const float*, size_t, float*, size_t);

TileFunction ChooseTile() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return DotTileAvx2;
#endif
  return DotTile;
}

}  // namespace

void DotBlock(const float* a, size_t a_count, const float* b, size_t b_count, size_t dimension,
              float* out) {
  static const TileFunction tile = ChooseTile();
  const size_t a_tiled = a_count - a_count % kTileA;
  const size_t b_tiled = b_count - b_count % kTileB;
  for (size_t i = 0; i < a_tiled; i += kTileA) {
    for (size_t j = 0; j < b_tiled; j += kTileB) {
      tile(a + i * dimension, b + j * dimension, dimension, out + i * b_count + j, b_count);
    }
  }
  for (size_t i = 0; i < a_count; ++i) {
    for (size_t j = i < a_tiled ? b_tiled : 0; j < b_count; ++j) {
      out[i * b_count + j] = Dot(a + i * dimension, b + j * dimension, dimension);
    }
  }
}

}  // namespace vectron::cmd
