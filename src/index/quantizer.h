#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/collection.h"
#include "index/kernels/kernels.h"

namespace vectron::index {

// Codes are padded to whole cache lines with zeros.
inline constexpr size_t kCodeUnitBytes = 64;

// 64-byte aligned memory for one vector in the form a kernel wants.
class AlignedBuffer {
 public:
  void* Resize(size_t bytes);

  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(start_);
  }

 private:
  std::vector<std::byte> memory_;
  std::byte* start_ = nullptr;
};

// One side of a distance, prepared once and then compared with many rows.
struct Prepared {
  AlignedBuffer values;  // for codes int16, or bytes as they have them; for floats float
  // distance = bias + scale * raw sum
  float bias = 0;
  float scale = 1;
};

// Scalar quantisation to 8 bits a dimension: x[d] is about origin[d] + step[d] *
// code[d], with ranges learnt from the data.
//
// For l2, and for cosine, which orders directions as l2 does, the distance between codes is a sum
// of integers: step[d]^2 is a common unit times a small integer weight (1 to 127; all 1 where the
// dimensions' scales are alike), so it needs nothing stored beside the codes and is exact for them:
// what all vectors have in common, however large, cancels out. For manhattan the same holds of
// step[d] itself (weights of 1 to 32,767). A vector outside the ranges is
// clipped, which moves it towards every query that is inside, never away. For dot each dimension
// has its own step, folded into the query; there clipping could hide a vector, and ranges must hold
// all. All sums fit 32 bits by construction, for any dimension.
//
// Data whose components are whole numbers in 0..255 (image descriptors, pixels)
// gets low 0 and step 1, except for cosine: `integral()`, its codes lose nothing.
//
// Immutable after construction: thread-safe.
class Sq8Quantizer {
 public:
  // Reads row i of the sample (0 <= i < count) into `row`.
  using SampleRow = std::function<void(size_t i, float* row)>;
  // Learns ranges from `count` >= 1 rows (normalised ones for cosine). Except for dot, a
  // few rows far from all others are left outside.
  static Sq8Quantizer Learn(Metric metric, size_t dimension, size_t count, const SampleRow& sample,
                            const Kernels& kernels);
  // From what `low()` and `range()` said; both finite, ranges positive.
  Sq8Quantizer(Metric metric, std::vector<float> low, std::vector<float> range, bool integral,
               const Kernels& kernels);

  // Writes padded_bytes() of code. Returns how many components were not
  // represented as well as the others: outside the learnt range, or, when
  // integral(), different from their code.
  size_t Encode(const float* vector, uint8_t* code) const;
  void Decode(const uint8_t* code, float* vector) const;

  // `query` is normalised for cosine. Distances() then gives approximate distances
  // that times scale() are in the metric's own terms.
  void Prepare(const float* query, Prepared* prepared) const;
  void PrepareCode(const uint8_t* code, Prepared* prepared) const;
  void Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                 float* distances) const;

  double scale() const { return scale_; }

  size_t dimension() const { return low_.size(); }
  size_t padded_bytes() const { return padded_; }
  bool integral() const { return integral_; }
  const std::vector<float>& low() const { return low_; }
  const std::vector<float>& range() const { return range_; }

 private:
  bool is_dot() const { return metric_ == Metric::kDot; }
  // Whether the codes themselves are compared, byte by byte.
  bool compares_bytes() const { return metric_ == Metric::kManhattan && weights_.empty(); }
  void ChooseSteps();
  void PlaceCodes();
  void PrepareDot(const float* query, Prepared* prepared) const;
  void Sums(const Prepared& prepared, const std::byte* const* rows, size_t count,
            uint32_t* sums) const;

  Metric metric_;
  size_t padded_;
  bool integral_;
  const Kernels* kernels_;
  std::vector<float> low_;
  std::vector<float> range_;
  std::vector<float> origin_;  // what code 0 stands for
  std::vector<float> step_;
  std::vector<float> inverse_step_;
  std::vector<int16_t> weights_;  // not for dot; padded; empty: all 1
  double scale_ = 1;
};

}  // namespace vectron::index
