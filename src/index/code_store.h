#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "common/mutex.h"
#include "index/graph/graph.h"
#include "index/memory/epoch.h"
#include "index/vector_space.h"

namespace vectron::index {

// Keeps the codes of all vectors, and learns the ranges they are made with.
//
// Before there are enough vectors to learn from there are no codes, and the graph is
// walked on floats; then a linking thread learns ranges from what is there. They are learnt anew as
// the index grows (from 4 times the vectors, until the sample is large), and when too many
// components do not fit any more or the codes mislead and others may not. Learning builds a second
// generation of codes beside the first while searches and puts go on; once it is complete, new
// operations use it. The old one is kept up to date until the last operation that uses it has
// ended. The graph stays as it is: only how exactly it is walked changes, never the distances that
// a search returns.
//
// Thread-safety: Reserve and Encode by the apply thread; LearnIfDue by any
// thread; current() by any thread under an epoch guard.
class CodeStore {
 public:
  CodeStore(const VectorSpace& space, const Graph& graph, EpochManager& epochs,
            const std::atomic<uint64_t>& slot_count);

  // nullptr before the first learning.
  const CodeSet* current() const { return current_.load(std::memory_order_acquire); }

  [[nodiscard]] bool Reserve(uint64_t slots);

  // Encodes the vector of `slot` into every generation in use, then calls publish(), which
  // makes it visible, before another generation can begin.
  template <typename Publish>
  void Encode(Slot slot, const float* vector, Publish&& publish) {
    MutexLock lock(mutex_);
    for (Generation& generation : generations_) EncodeInto(*generation.set, slot, vector);
    if (generations_.size() > 1) DropUnused();
    publish();
  }

  // Before the first search: ranges from a checkpoint. False: no memory. Then, by any
  // number of threads, each slot's code, where there are ranges: RestoreCode encodes
  // its vector and returns how many components did not fit; RestoreExact takes a
  // vector's whole numbers as its code if they are, else returns false. At last
  // FinishRestore with what they came to.
  [[nodiscard]] bool Restore(Sq8Quantizer quantizer, uint64_t sample_count, uint64_t slots);
  size_t RestoreCode(Slot slot, const float* vector);
  bool RestoreExact(Slot slot, const uint8_t* values);
  void FinishRestore(uint64_t encoded_count, uint64_t misfit_count);

  // Learns when it is due; returns at once when another thread does, unless
  // there is no code yet. `live_count` > 0 vectors are there to learn from.
  void LearnIfDue(uint64_t live_count);

  // Frees generations that nobody uses any more. Any thread.
  void DropOld();

  uint64_t memory_bytes() const;

 private:
  struct Generation {
    std::shared_ptr<CodeSet> set;
    uint64_t unused_after = 0;  // the epoch; 0: in use
  };

  bool IsDue(uint64_t live_count) const;
  void Learn();
  std::vector<Slot> SampleSlots() const;
  // Returns how many components did not fit.
  size_t EncodeRow(CodeSet& set, Slot slot, const float* vector) const;
  void EncodeInto(CodeSet& set, Slot slot, const float* vector) const;
  void CountMisfits(CodeSet& set, size_t misfits) const;
  void EncodeAll(CodeSet& set, uint64_t slots) const;
  void DropUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const VectorSpace& space_;
  const Graph& graph_;
  EpochManager& epochs_;
  const std::atomic<uint64_t>& slot_count_;

  std::atomic<CodeSet*> current_{nullptr};
  std::atomic<uint32_t> hiding_learnt_{0};  // times that codes hid a vector
  Mutex learning_;                          // held by the one thread that learns
  mutable Mutex mutex_;
  std::vector<Generation> generations_ ABSL_GUARDED_BY(mutex_);
  uint64_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;  // slots
};

}  // namespace vectron::index
