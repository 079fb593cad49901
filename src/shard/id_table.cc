#include "shard/id_table.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace vectron::shard {
namespace {

constexpr size_t kCapacityMin = 16;
// Of 8ths: three quarters full at most.
constexpr size_t kFillMax8 = 6;

}  // namespace

IdTable::IdTable() : entries_(kCapacityMin) {}

// Not RingHash: a shard's ids share its upper bits.
uint32_t IdTable::HashOf(const PointId& id) {
  if (id.is_number()) {
    const uint64_t number = id.number();
    return static_cast<uint32_t>(XXH3_64bits_withSeed(&number, sizeof(number), 1) >> 32);
  }
  return static_cast<uint32_t>(XXH3_64bits_withSeed(id.text().data(), id.text().size(), 1) >> 32);
}

void IdTable::Insert(uint32_t hash, index::Slot slot) {
  VECTRON_CHECK(slot != index::kNoSlot);
  if ((size_ + 1) * 8 > entries_.size() * kFillMax8) Rehash(entries_.size() + entries_.size() / 2);
  size_t i = Home(hash);
  while (entries_[i].slot != index::kNoSlot) i = NextPosition(i);
  entries_[i] = {hash, slot};
  ++size_;
}

size_t IdTable::PositionOf(uint32_t hash, index::Slot slot) const {
  size_t i = Home(hash);
  while (entries_[i].slot != slot) {
    VECTRON_CHECK(entries_[i].slot != index::kNoSlot);
    i = NextPosition(i);
  }
  return i;
}

void IdTable::Replace(uint32_t hash, index::Slot slot, index::Slot new_slot) {
  entries_[PositionOf(hash, slot)].slot = new_slot;
}

void IdTable::Erase(uint32_t hash, index::Slot slot) {
  // Backward-shift deletion (Knuth, TAOCP 3, 6.4, algorithm R): no tombstones.
  size_t hole = PositionOf(hash, slot);
  for (size_t i = NextPosition(hole); entries_[i].slot != index::kNoSlot; i = NextPosition(i)) {
    const size_t home = Home(entries_[i].hash);
    const bool stays =
        hole < i ? (home > hole && home <= i) : (home > hole || home <= i);  // wraps around
    if (stays) continue;
    entries_[hole] = entries_[i];
    hole = i;
  }
  entries_[hole] = {};
  --size_;
}

void IdTable::Reserve(size_t count) {
  const size_t capacity = count * 8 / kFillMax8 + kCapacityMin;
  if (capacity > entries_.size()) Rehash(capacity);
}

void IdTable::Rehash(size_t capacity) {
  std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(capacity));
  size_ = 0;
  for (const Entry& entry : old) {
    if (entry.slot != index::kNoSlot) Insert(entry.hash, entry.slot);
  }
}

}  // namespace vectron::shard
