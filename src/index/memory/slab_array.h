#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "index/memory/slab.h"

namespace vectron::index {

// An array of fixed-size elements that grows without moving: slabs of about
// 16 MB behind a directory whose place never changes. New memory reads as zeros; past a
// few megabytes huge pages are asked for, which makes random access about 1.1 to 1.2 times
// as fast.
//
// Thread-safety: Reserve by one thread at a time. At(i) by any thread that
// learnt of i through an acquire load of something stored after Reserve(i + 1).
// What is inside the elements is the callers' to synchronise.
class SlabArray {
 public:
  explicit SlabArray(size_t stride_bytes);
  SlabArray(const SlabArray&) = delete;
  SlabArray& operator=(const SlabArray&) = delete;

  // Makes [0, count) usable. False, and nothing changed, when the system gives no
  // memory or the directory is full.
  [[nodiscard]] bool Reserve(uint64_t count);

  std::byte* At(uint64_t i) const {
    return directory_[i >> shift_].load(std::memory_order_relaxed) + (i & mask_) * stride_;
  }

  template <typename T>
  T* At(uint64_t i) const {
    return reinterpret_cast<T*>(At(i));
  }

  size_t stride_bytes() const { return stride_; }
  // Elements side by side in memory: [i, i + n) with i a multiple of this and n
  // up to this.
  uint64_t slab_count() const { return mask_ + 1; }
  // What the reserved elements occupy, in whole pages. Any thread.
  uint64_t memory_bytes() const;

 private:
  bool AddSlab();

  const size_t stride_;
  const uint32_t shift_;
  const uint64_t mask_;
  const uint64_t slabs_max_;
  const size_t slab_bytes_;
  const Slab directory_memory_;
  std::atomic<std::byte*>* const directory_;  // slabs_max_ entries
  std::vector<std::unique_ptr<Slab>> slabs_;  // owner: the reserving thread
  bool huge_ = false;                         // owner: the reserving thread
  std::atomic<uint64_t> reserved_{0};         // elements
};

// Elements of a type, by index.
template <typename T>
class TypedSlabArray {
 public:
  TypedSlabArray() : slabs_(sizeof(T)) {}

  [[nodiscard]] bool Reserve(uint64_t count) { return slabs_.Reserve(count); }
  T& operator[](uint64_t i) const { return *slabs_.At<T>(i); }
  uint64_t memory_bytes() const { return slabs_.memory_bytes(); }

 private:
  SlabArray slabs_;
};

}  // namespace vectron::index
