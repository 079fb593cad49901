// Compiled with the flags of kernels_avx512.cc and -mavx512vnni; called only
// where the processor has them.

#include <immintrin.h>

#include "index/kernels/kernels.h"

namespace vectron::index {
namespace {

inline __m512i MultiplyAdd(__m512i sum, __m512i a, __m512i b) {
  return _mm512_dpwssd_epi32(sum, a, b);
}

}  // namespace
}  // namespace vectron::index

#include "index/kernels/kernels_avx512_inl.h"

namespace vectron::index {

constexpr Kernels kAvx512VnniKernels = {"avx512vnni", L2Codes,   L2WeightedCodes, DotCodes,
                                        L2Floats,     DotFloats, DotNormFloats,   Encode};

}  // namespace vectron::index
