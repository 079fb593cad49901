#pragma once

#include <cstdint>
#include <span>

#include "index/code_guard.h"
#include "index/memory/slab_array.h"
#include "index/quantizer.h"
#include "index/vector_index.h"
#include "index/vector_store.h"

namespace vectron::index {

// The metric: which vectors it takes, and exact distances to those that are stored.
// Immutable: thread-safe.
class VectorSpace {
 public:
  VectorSpace(Metric metric, const VectorStore& vectors, const Kernels& kernels)
      : metric_(metric), dimension_(vectors.dimension()), kernels_(&kernels), vectors_(vectors) {}

  Metric metric() const { return metric_; }
  size_t dimension() const { return dimension_; }
  const Kernels& kernels() const { return *kernels_; }

  const VectorStore& vectors() const { return vectors_; }

  // INVALID_ARGUMENT unless `dimension` finite floats, not all zero for cosine.
  // `what`: "vector" or "query", for the message.
  Status Validate(std::span<const float> vector, const char* what) const;

  // What queries and codes are made of: the vector itself, or its direction for
  // cosine.
  void Normalize(const float* vector, float* out) const;
  // The form in which Distances() takes a valid vector.
  void Prepare(const float* vector, Prepared* prepared) const;
  // Distances as in Hit to rows of vectors(). Always finite: what overflows a float is clamped.
  void Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                 float* distances) const;

 private:
  // The same, of rows of floats.
  void FloatDistances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                      float* distances) const;
  float SlowDistance(const float* query, const float* row) const;

  const Metric metric_;
  const size_t dimension_;
  const Kernels* const kernels_;
  const VectorStore& vectors_;
};

// One generation of codes: replaced as a whole when ranges are learnt anew.
struct CodeSet {
  CodeSet(Sq8Quantizer learnt, uint64_t learnt_from, uint64_t learnt_at)
      : quantizer(std::move(learnt)),
        sample_count(learnt_from),
        slot_count(learnt_at),
        codes(quantizer.padded_bytes()) {}

  uint8_t* Row(Slot slot) const { return codes.At<uint8_t>(slot); }

  const Sq8Quantizer quantizer;
  const uint64_t sample_count;  // vectors that the ranges were learnt from
  const uint64_t slot_count;    // that there were then
  SlabArray codes;
  // Vectors encoded lately, and their components that did not fit (Encode).
  std::atomic<uint64_t> encoded_count{0};
  std::atomic<uint64_t> misfit_count{0};
  // Vectors encoded since the ranges were learnt.
  std::atomic<uint64_t> encoded_since{0};
  // No code differs from its vector. Whoever sees a vector sees what it did to this.
  std::atomic<bool> lossless{quantizer.integral()};
  // Some code hides its vector: inner products with it may be far greater than they seem.
  // The set is of no use until ranges are learnt anew.
  std::atomic<bool> hides{false};
  CodeTrust trust;
};

// How the graph measures distances: on codes where there are any, else on
// floats. A view of one generation, for one operation under one epoch guard.
// Distances of one Scorer are comparable with each other only.
class Scorer {
 public:
  // `codes` may be null.
  Scorer(const VectorSpace& space, const CodeSet* codes)
      : space_(&space),
        codes_(codes),
        row_bytes_(codes != nullptr ? codes->quantizer.padded_bytes()
                                    : space.dimension() * sizeof(float)) {}

  const VectorSpace& space() const { return *space_; }
  bool exact() const { return codes_ == nullptr; }
  size_t row_bytes() const { return row_bytes_; }
  // The same on floats.
  Scorer OnFloats() const { return Scorer(*space_, nullptr); }
  // Distances times this are in the metric's own terms.
  double scale() const { return codes_ != nullptr ? codes_->quantizer.scale() : 1; }
  // Whether codes proved misleading. Only where there are codes.
  void Report(bool misled) const { codes_->trust.Report(misled); }
  // True if the distances from a query are those of the floats, bit for bit, as
  // far as they are below kLosslessMax: whole numbers that a float holds whatever
  // the order in which they are added up. Asked after the rows were looked at.
  // `query_holds_bytes` as HoldsBytes says.
  bool LosslessFor(bool query_holds_bytes) const;
  // True if codes lose nothing of the vectors.
  bool LosslessRows() const;
  static constexpr float kLosslessMax = 16'777'216.0f;  // 2^24

  // `query` is valid and, for cosine, need not be normalised.
  void Prepare(const float* query, Prepared* prepared) const;
  void PrepareSlot(Slot slot, Prepared* prepared) const;

  const std::byte* Row(Slot slot) const {
    return codes_ != nullptr ? codes_->codes.At(slot) : space_->vectors().Row(slot);
  }
  // Always inline: gcc 12 takes a function that only prefetches for one without an effect, and
  // drops calls of it.
  [[gnu::always_inline]] void Prefetch(const std::byte* row) const {
    if (codes_ == nullptr) return space_->vectors().Prefetch(row);
    for (size_t i = 0; i < row_bytes_; i += 64) __builtin_prefetch(row + i);
  }
  void Distances(const Prepared& prepared, const std::byte* const* rows, size_t count,
                 float* distances) const {
    if (codes_ != nullptr) {
      codes_->quantizer.Distances(prepared, rows, count, distances);
    } else {
      space_->Distances(prepared, rows, count, distances);
    }
  }

 private:
  const VectorSpace* space_;
  const CodeSet* codes_;
  size_t row_bytes_;
};

}  // namespace vectron::index
