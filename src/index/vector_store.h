#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "index/memory/epoch.h"
#include "index/memory/slab.h"
#include "index/vector_index.h"

namespace vectron::index {

// Whether all components are whole numbers within 0..255, so that bytes hold them bit for bit.
bool HoldsBytes(const float* vector, size_t dimension);
// Of a vector that bytes hold, and back.
void Narrow(const float* vector, size_t dimension, uint8_t* bytes);
void Widen(const uint8_t* bytes, size_t dimension, float* vector);

// The vectors as they were put, by slot: slabs of them behind a directory whose place never
// changes. Image descriptors and pixels are whole numbers within 0..255: a slab may begin with a
// byte a component, a quarter of the memory (at dimension 1, half), and goes on with floats from
// the first vector that asks for them. The byte slab lives on until the last reader has left it.
//
// A row is a place in one of them. Rows of bytes have odd addresses, one past their first byte, and
// are told by that; rows of floats are aligned.
//
// Thread-safety: Reserve and Write by the apply thread. Row by any thread that saw the slot become
// visible, under an epoch guard that it holds for as long as it uses the row.
class VectorStore {
 public:
  // Who measures the same rows again and again pays for bytes with time: `begins_with_bytes` is for
  // those who walk on codes.
  VectorStore(size_t dimension, bool begins_with_bytes, EpochManager& epochs);
  VectorStore(const VectorStore&) = delete;
  VectorStore& operator=(const VectorStore&) = delete;

  size_t dimension() const { return dimension_; }
  // Makes slots [0, count) usable. False: the system gives no memory.
  [[nodiscard]] bool Reserve(uint64_t count);
  // False, and nothing changed: no memory for floats.
  [[nodiscard]] bool Write(Slot slot, const float* vector);

  // Before the first search, with all slots reserved: first KeepAsFloats (false: no memory) for
  // slots whose vectors may ask for floats, then, by any number of threads, what is in each slot,
  // then FinishRestore.
  [[nodiscard]] bool KeepAsFloats(uint64_t first, uint64_t count);
  void Restore(Slot slot, const float* vector);
  void RestoreBytes(Slot slot, const uint8_t* bytes);
  void FinishRestore(uint64_t slot_count) { written_ = slot_count; }

  const std::byte* Row(Slot slot) const { return At(slot); }
  // The vector itself; `scratch` has room for it, which is used where the row is of bytes.
  const float* Vector(const std::byte* row, float* scratch) const {
    if (!IsBytes(row)) return reinterpret_cast<const float*>(row);
    Widen(reinterpret_cast<const uint8_t*>(row - kBytesMark), dimension_, scratch);
    return scratch;
  }
  const float* Vector(Slot slot, std::vector<float>* scratch) const {
    scratch->resize(dimension_);
    return Vector(Row(slot), scratch->data());
  }
  static bool IsBytes(const std::byte* row) {
    return reinterpret_cast<uintptr_t>(row) % 2 == kBytesMark;
  }
  [[gnu::always_inline]] void Prefetch(const std::byte* row) const {
    const size_t bytes = IsBytes(row) ? byte_stride_ : float_stride_;
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i);
  }

  // What the reserved slots occupy, in whole pages. Any thread.
  uint64_t memory_bytes() const;

 private:
  static constexpr ptrdiff_t kBytesMark = 1;

  size_t SlabBytes(size_t stride) const { return stride << shift_; }
  bool AddSlab();
  void AskForHugePagesIfLarge();
  bool GoOnWithFloats(uint64_t slab);
  std::byte* At(Slot slot) const {
    std::byte* slab = directory_[slot >> shift_].load(std::memory_order_acquire);
    return slab + (slot & mask_) * (IsBytes(slab) ? byte_stride_ : float_stride_);
  }

  const size_t dimension_;
  const size_t float_stride_;
  const size_t byte_stride_;  // even, so that all rows of bytes are at odd addresses
  const uint32_t shift_;
  const uint64_t mask_;
  const bool begins_with_bytes_;
  const uint64_t slabs_max_;
  EpochManager& epochs_;
  const Slab directory_memory_;
  std::atomic<std::byte*>* const directory_;  // slabs_max_ entries, each where its first row is
  std::atomic<uint64_t> reserved_{0};         // slots
  // Owner: the reserving thread.
  std::vector<std::shared_ptr<Slab>> slabs_;
  uint64_t written_ = 0;  // slots beyond were never written
  bool huge_ = false;
};

}  // namespace vectron::index
