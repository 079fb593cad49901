#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/point.h"
#include "index/vector_index.h"

namespace vectron::shard {

// Finds the slot of an id: an open-addressing hash table of (32 bits of hash, slot),
// 8 bytes an entry. The ids themselves are the labels in the index, so callers
// tell whether a slot of equal hash is the one they mean. Linear probing; an entry's
// home grows with its hash, so that growing the table is one sequential pass.
//
// Not thread-safe: of the apply thread.
class IdTable {
 public:
  IdTable();

  static uint32_t HashOf(const PointId& id);

  // The slot among those of this hash for which `is_same(slot)`; kNoSlot if none.
  template <typename IsSame>
  index::Slot Find(uint32_t hash, IsSame&& is_same) const {
    for (size_t i = Home(hash);; i = NextPosition(i)) {
      const Entry& entry = entries_[i];
      if (entry.slot == index::kNoSlot) return index::kNoSlot;
      if (entry.hash == hash && is_same(entry.slot)) return entry.slot;
    }
  }

  // The slot must not be there yet.
  void Insert(uint32_t hash, index::Slot slot);
  // Both must be there.
  void Replace(uint32_t hash, index::Slot slot, index::Slot new_slot);
  void Erase(uint32_t hash, index::Slot slot);

  void Reserve(size_t count);
  size_t size() const { return size_; }
  size_t memory_bytes() const { return entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    uint32_t hash = 0;
    index::Slot slot = index::kNoSlot;
  };

  // Monotonic in the hash.
  size_t Home(uint32_t hash) const {
    return static_cast<size_t>((static_cast<uint64_t>(hash) * entries_.size()) >> 32);
  }
  size_t NextPosition(size_t i) const { return i + 1 == entries_.size() ? 0 : i + 1; }
  size_t PositionOf(uint32_t hash, index::Slot slot) const;
  void Rehash(size_t capacity);

  std::vector<Entry> entries_;
  size_t size_ = 0;
};

}  // namespace vectron::shard
