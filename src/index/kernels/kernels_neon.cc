// What every 64-bit ARM processor has.

#include <arm_neon.h>

#include "index/kernels/kernels.h"

namespace vectron::index {
namespace {

inline uint32x4_t AddSquares(uint32x4_t sum, uint8x16_t a) {
  sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(a), vget_low_u8(a)));
  return vpadalq_u16(sum, vmull_high_u8(a, a));
}

inline uint32x4_t AddSum(uint32x4_t sum, uint8x16_t a) { return vpadalq_u16(sum, vpaddlq_u8(a)); }

}  // namespace
}  // namespace vectron::index

#include "index/kernels/kernels_neon_inl.h"

namespace vectron::index {

constexpr Kernels kNeonKernels = {
    .name = "neon",
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
