#pragma once

#include <cstddef>
#include <cstdint>

// Only plain types in this header: the files that implement it are compiled for
// one instruction set each, and an inline function of the standard library
// compiled there could be the copy that the linker keeps for everybody.

namespace vectron::index {

// What Kernels::measure_factors says of query[d] * step[d], a vector's factors.
struct FactorSums {
  float largest;  // of their absolute values
  float total;    // of those
  float offset;   // sum over d of query[d] * low[d]
};

// The inner loops, for one instruction set. Batches, not single vectors: one
// indirect call for the 32 neighbours of a node costs nothing, and four rows
// at a time share the loads of the query and one horizontal sum.
//
// `rows[i]` are codes (`padded` bytes, a multiple of 64, zeros at the end) or
// floats (`dimension` of them, no alignment). The result for a row does not
// depend on its place in the batch. Code kernels give the same result on every
// instruction set; float kernels differ by the order of summation.
struct Kernels {
  const char* name;

  // sums[i] = sum over d of (rows[i][d] - query[d])^2. At most 65,536 dimensions,
  // query within 0..255.
  void (*l2_codes)(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
                   uint32_t* sums);
  // sums[i] = sum over d of weights[d] * (rows[i][d] - query[d])^2, with weights
  // within 1..127 and a sum of weights of at most 66,051, so that it fits.
  void (*l2_weighted_codes)(const int16_t* query, const int16_t* weights,
                            const std::byte* const* rows, size_t count, size_t padded,
                            uint32_t* sums);
  // sums[i] = sum over d of query[d] * rows[i][d], where 255 * sum of |query[d]|
  // fits 31 bits.
  void (*dot_codes)(const int16_t* query, const std::byte* const* rows, size_t count, size_t padded,
                    int32_t* sums);

  // sums[i] = sum over d of |rows[i][d] - query[d]|. At most 65,536 dimensions.
  void (*l1_codes)(const uint8_t* query, const std::byte* const* rows, size_t count, size_t padded,
                   uint32_t* sums);
  // sums[i] = sum over d of weights[d] * |rows[i][d] - query[d]|, with query within 0..255,
  // weights within 1..32,767 and a sum of weights of at most 16,843,009, so that it fits.
  void (*l1_weighted_codes)(const int16_t* query, const int16_t* weights,
                            const std::byte* const* rows, size_t count, size_t padded,
                            uint32_t* sums);

  void (*l2_floats)(const float* query, const std::byte* const* rows, size_t count,
                    size_t dimension, float* distances);
  void (*l1_floats)(const float* query, const std::byte* const* rows, size_t count,
                    size_t dimension, float* distances);
  void (*dot_floats)(const float* query, const std::byte* const* rows, size_t count,
                     size_t dimension, float* products);
  // Inner products with the query, and of each row with itself.
  void (*dot_norm_floats)(const float* query, const std::byte* const* rows, size_t count,
                          size_t dimension, float* products, float* squares);

  // code[d] = (vector[d] - low[d]) * inverse_step[d], rounded to the nearest (even)
  // and clipped to 0..255. Returns how many were more than one half outside.
  size_t (*encode)(const float* vector, const float* low, const float* inverse_step,
                   size_t dimension, uint8_t* code);

  // Not finite where that overflows.
  FactorSums (*measure_factors)(const float* query, const float* low, const float* step,
                                size_t dimension);
  // factors[d] = query[d] * step[d] * scale, rounded to the nearest (even), where that is
  // within 16 bits.
  void (*round_factors)(const float* query, const float* step, float scale, size_t dimension,
                        int16_t* factors);
};

enum class Isa { kScalar, kAvx2, kAvx512, kAvx512Vnni, kNeon, kNeonDotprod };
// Of one family of processors, better ones come later.
inline constexpr Isa kIsas[] = {Isa::kScalar,     Isa::kAvx2, Isa::kAvx512,
                                Isa::kAvx512Vnni, Isa::kNeon, Isa::kNeonDotprod};

const char* IsaName(Isa isa);  // "scalar", "avx2", "avx512", "avx512vnni", "neon", "neondotprod"
bool IsaSupported(Isa isa);    // by this processor
// The scalar ones where this program has no others, being for another family.
const Kernels& KernelsFor(Isa isa);

// Those of the instruction set named `wanted` (in any case, with or without dashes), else the best
// for this processor. `complaint` says why it is not what was wanted; nullptr if it is, or if
// nothing was (`wanted` is nullptr).
const Kernels& ChooseKernels(const char* wanted, const char** complaint);
// What VECTRON_ISA in the environment asks for, else the best for this processor; a complaint is
// logged. Chosen once a process.
const Kernels& BestKernels();

// One file each.
extern const Kernels kScalarKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotprodKernels;
#endif

}  // namespace vectron::index
