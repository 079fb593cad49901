#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "index/memory/slab_array.h"

namespace vectron::index {

// One bit a slot, growing in place. One thread at a time writes and reserves;
// any thread reads. A reader that sees a bit's new value sees everything the
// writer did before.
class SlotBitmap {
 public:
  [[nodiscard]] bool Reserve(uint64_t slots) { return words_.Reserve((slots + 63) / 64); }

  bool Test(uint64_t slot) const {
    return (words_[slot >> 6].load(std::memory_order_acquire) >> (slot & 63)) & 1;
  }
  void Set(uint64_t slot) {
    std::atomic<uint64_t>& word = words_[slot >> 6];
    word.store(word.load(std::memory_order_relaxed) | Bit(slot), std::memory_order_release);
  }
  void Clear(uint64_t slot) {
    std::atomic<uint64_t>& word = words_[slot >> 6];
    word.store(word.load(std::memory_order_relaxed) & ~Bit(slot), std::memory_order_release);
  }
  // Bits of slots [64 * i, 64 * i + 64), lowest first.
  uint64_t Word(uint64_t i) const { return words_[i].load(std::memory_order_acquire); }

  std::vector<uint64_t> Copy(uint64_t slots) const {
    std::vector<uint64_t> copy((slots + 63) / 64);
    for (size_t i = 0; i < copy.size(); ++i) copy[i] = Word(i);
    return copy;
  }

  // Calls visit(slot) for each set bit below `slots`, ascending, until it returns
  // false.
  template <typename Visit>
  void ForEachSet(uint64_t slots, Visit&& visit) const {
    for (uint64_t i = 0; i < (slots + 63) / 64; ++i) {
      for (uint64_t word = Word(i); word != 0; word &= word - 1) {
        const uint64_t slot = i * 64 + static_cast<uint64_t>(std::countr_zero(word));
        if (slot >= slots || !visit(static_cast<uint32_t>(slot))) return;
      }
    }
  }

  uint64_t memory_bytes() const { return words_.memory_bytes(); }

 private:
  static uint64_t Bit(uint64_t slot) { return uint64_t{1} << (slot & 63); }

  TypedSlabArray<std::atomic<uint64_t>> words_;
};

}  // namespace vectron::index
