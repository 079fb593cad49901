// Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma; called only
// where the processor has them.

#include <immintrin.h>

#include "index/kernels/kernels.h"

namespace vectron::index {
namespace {

inline __m512i MultiplyAdd(__m512i sum, __m512i a, __m512i b) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}

}  // namespace
}  // namespace vectron::index

#include "index/kernels/kernels_avx512_inl.h"

namespace vectron::index {

constexpr Kernels kAvx512Kernels = {"avx512", L2Codes,   L2WeightedCodes, DotCodes,
                                    L2Floats, DotFloats, DotNormFloats,   Encode};

}  // namespace vectron::index
