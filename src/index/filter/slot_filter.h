#pragma once

#include <roaring/roaring.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/random.h"
#include "index/memory/slot_bitmap.h"
#include "index/vector_index.h"

namespace vectron::index {

// Which slots a search may return: the live ones that its bitmap holds and its
// predicate passes. Made for one search or one batch of searches.
//
// A walk asks about tens of thousands of slots, so the bitmap's containers are
// looked up by a table of their keys, made once, instead of a binary search each
// time; and those that would be searched too (lists and runs) are spread out into
// bits once they have been asked as often as that costs. Not thread-safe; the index's
// bitmaps are read under the caller's guard.
class SlotFilter {
 public:
  // `options` outlive the filter.
  SlotFilter(const SearchOptions& options, const SlotBitmap& live);

  // Everything that lives passes.
  bool passes_all() const { return slots_ == nullptr && predicate_ == nullptr; }
  // ForEach costs what passes, not what is there.
  bool is_listed() const { return slots_ != nullptr; }

  bool Passes(Slot slot) {
    return (slots_ == nullptr || Holds(slot)) && live_.Test(slot) &&
           (predicate_ == nullptr || (*predicate_)(slot));
  }

  // Calls visit(slot) for each slot below `slot_count` that passes, ascending, until
  // it returns false; and go_on() for each that is looked at, likewise.
  template <typename GoOn, typename Visit>
  void ForEach(uint64_t slot_count, GoOn&& go_on, Visit&& visit) const;

  // How many pass, about: what the caller said, else as it was sampled when it was
  // asked first.
  uint64_t EstimateCount(uint64_t slot_count, uint64_t live_count);
  // Up to `count` slots below `slot_count` that pass, from everywhere; fewer where
  // not so many are found in `tries` (by default, 16 for each). A place may come twice.
  void Sample(uint64_t slot_count, size_t count, std::vector<Slot>* slots) {
    Sample(slot_count, count, count * kTriesFactor, slots);
  }
  void Sample(uint64_t slot_count, size_t count, uint64_t tries, std::vector<Slot>* slots);

 private:
  static constexpr uint8_t kAskedMax = 100;
  static constexpr size_t kTriesFactor = 16;

  struct BitsetDeleter {
    void operator()(bitset_container_t* bitset) const { bitset_container_free(bitset); }
  };
  using BitsetPtr = std::unique_ptr<bitset_container_t, BitsetDeleter>;

  // A container of the bitmap: 65,536 slots.
  struct Block {
    const void* container = nullptr;
    uint8_t type = 0;
    uint8_t asked = 0;
  };

  bool Holds(Slot slot) {
    if (slot >> 16 >= blocks_.size()) return false;
    Block& block = blocks_[slot >> 16];
    if (block.container == nullptr) return false;
    const auto low = static_cast<uint16_t>(slot);
    if (block.type == BITSET_CONTAINER_TYPE_CODE) {
      return bitset_container_get(static_cast<const bitset_container_t*>(block.container), low);
    }
    if (++block.asked == kAskedMax) SpreadOut(&block);
    return container_contains(block.container, low, block.type);
  }
  void SpreadOut(Block* block);
  // Appends up to `count` slots that pass; returns how many it looked at.
  size_t SampleListed(uint64_t slot_count, size_t count, uint64_t tries, std::vector<Slot>* slots);
  size_t SampleLive(uint64_t slot_count, size_t count, uint64_t tries, std::vector<Slot>* slots);

  const SlotBitmap& live_;
  const roaring_bitmap_t* const slots_;
  const std::function<bool(Slot)>* const predicate_;
  std::optional<uint64_t> count_;
  std::vector<Block> blocks_;  // by key; empty without a bitmap
  std::vector<BitsetPtr> spread_out_;
};

template <typename GoOn, typename Visit>
void SlotFilter::ForEach(uint64_t slot_count, GoOn&& go_on, Visit&& visit) const {
  if (slots_ == nullptr) {
    live_.ForEachSet(slot_count, [&](Slot slot) {
      if (!go_on()) return false;
      return predicate_ == nullptr || (*predicate_)(slot) ? visit(slot) : true;
    });
    return;
  }
  constexpr uint32_t kBatch = 256;
  uint32_t slots[kBatch];
  roaring_uint32_iterator_t iterator;
  roaring_init_iterator(slots_, &iterator);
  while (const uint32_t count = roaring_read_uint32_iterator(&iterator, slots, kBatch)) {
    for (uint32_t i = 0; i < count; ++i) {
      if (slots[i] >= slot_count || !go_on()) return;
      if (!live_.Test(slots[i])) continue;
      if (predicate_ != nullptr && !(*predicate_)(slots[i])) continue;
      if (!visit(slots[i])) return;
    }
  }
}

}  // namespace vectron::index
