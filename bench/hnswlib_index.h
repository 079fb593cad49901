#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/collection.h"

namespace vectron::bench {

// The yardstick: the distribution's hnswlib, compiled for this machine.
class HnswlibIndex {
 public:
  HnswlibIndex(Metric metric, size_t dimension, size_t capacity, size_t m, size_t ef_construction);
  ~HnswlibIndex();
  HnswlibIndex(const HnswlibIndex&) = delete;
  HnswlibIndex& operator=(const HnswlibIndex&) = delete;

  // Thread-safe.
  void Add(const float* vector, uint32_t label);
  void SetEf(size_t ef);
  // Labels, in no order. Thread-safe.
  void Search(const float* query, size_t k, std::vector<uint32_t>* labels) const;
  // What its arrays take.
  uint64_t memory_bytes() const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vectron::bench
