#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace vectron::index {

struct Candidate {
  float distance = 0;
  uint32_t slot = 0;
};

inline bool Nearer(const Candidate& a, const Candidate& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
}

// The best candidates of a walk in one sorted array, nearest first, each marked
// once it is expanded: what others keep in two heaps. Insertion moves memory,
// which for beams of some hundreds is cheaper than the heaps' branches.
// Not thread-safe.
class CandidatePool {
 public:
  void Reset(size_t capacity) {
    capacity_ = capacity;
    size_ = 0;
    cursor_ = 0;
    if (entries_.size() < capacity + 1) entries_.resize(capacity + 1);
  }

  bool full() const { return size_ == capacity_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  // Only what is nearer can still get in.
  float bound() const {
    return full() ? entries_[size_ - 1].distance : std::numeric_limits<float>::infinity();
  }

  static constexpr size_t kRefused = ~size_t{0};
  // The place among the candidates, or kRefused if it is too far.
  size_t Insert(float distance, uint32_t slot) {
    if (full() && !(distance < entries_[size_ - 1].distance)) return kRefused;
    return InsertAt(PlaceOf(distance), distance, slot);
  }

  // The same, unless `slot` is there already (at the same distance).
  size_t InsertUnique(float distance, uint32_t slot) {
    if (full() && !(distance < entries_[size_ - 1].distance)) return kRefused;
    const size_t place = PlaceOf(distance);
    for (size_t i = place; i > 0 && entries_[i - 1].distance == distance; --i) {
      if (SlotOf(entries_[i - 1]) == slot) return kRefused;
    }
    return InsertAt(place, distance, slot);
  }

  // Marks the nearest candidate that was not expanded and gives its slot; false
  // when all were.
  bool ExpandNext(uint32_t* slot) {
    cursor_ = NextPlace();
    if (cursor_ == size_) return false;
    *slot = entries_[cursor_].slot;
    entries_[cursor_].slot |= kExpanded;
    return true;
  }
  // Calls visit(slot) for up to `count` that ExpandNext would give next, unmarked.
  template <typename Visit>
  void PeekNext(size_t count, Visit&& visit) const {
    for (size_t place = NextPlace(); place < size_ && count > 0; ++place) {
      if (entries_[place].slot & kExpanded) continue;
      visit(entries_[place].slot);
      --count;
    }
  }

  // Where ExpandNext looks first.
  size_t cursor() const { return cursor_; }

  Candidate operator[](size_t i) const { return {entries_[i].distance, SlotOf(entries_[i])}; }

  // Keeps those for which keep(slot), in order.
  template <typename Keep>
  void Filter(Keep&& keep) {
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      if (keep(SlotOf(entries_[i]))) entries_[kept++] = entries_[i];
    }
    size_ = kept;
    cursor_ = 0;
  }

 private:
  // Slots are below 2^31: see kSlotsMax.
  static constexpr uint32_t kExpanded = uint32_t{1} << 31;

  static uint32_t SlotOf(const Candidate& entry) { return entry.slot & ~kExpanded; }

  // Of the nearest that was not expanded; size_ when all were.
  size_t NextPlace() const {
    size_t place = cursor_;
    while (place < size_ && (entries_[place].slot & kExpanded)) ++place;
    return place;
  }

  // After all that are as near. Which half it is in nobody can predict: no branch depends on it.
  size_t PlaceOf(float distance) const {
    size_t low = 0;
    size_t count = size_;
    while (count > 0) {
      const size_t half = count - count / 2;
      const auto after = static_cast<size_t>(!(distance < entries_[low + half - 1].distance));
      low += half & (size_t{0} - after);
      count -= half;
    }
    return low;
  }

  size_t InsertAt(size_t place, float distance, uint32_t slot) {
    std::memmove(&entries_[place + 1], &entries_[place], (size_ - place) * sizeof(Candidate));
    entries_[place] = {distance, slot};
    if (size_ < capacity_) ++size_;
    cursor_ = std::min(cursor_, place);
    return place;
  }

  std::vector<Candidate> entries_;  // one more than the capacity: memmove's overhang
  size_t capacity_ = 0;
  size_t size_ = 0;
  size_t cursor_ = 0;
};

}  // namespace vectron::index
