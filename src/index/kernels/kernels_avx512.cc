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

constexpr Kernels kAvx512Kernels = {
    .name = "avx512",
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
