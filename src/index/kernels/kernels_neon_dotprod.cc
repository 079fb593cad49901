// Compiled with -march=armv8.2-a+dotprod; called only where the processor has it.

#include <arm_neon.h>

#include "index/kernels/kernels.h"

namespace vectron::index {
namespace {

inline uint32x4_t AddSquares(uint32x4_t sum, uint8x16_t a) { return vdotq_u32(sum, a, a); }

inline uint32x4_t AddSum(uint32x4_t sum, uint8x16_t a) { return vdotq_u32(sum, a, vdupq_n_u8(1)); }

}  // namespace
}  // namespace vectron::index

#include "index/kernels/kernels_neon_inl.h"

namespace vectron::index {

constexpr Kernels kNeonDotprodKernels = {
    .name = "neondotprod",
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
