#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "index/memory/slab_array.h"
#include "index/vector_index.h"

namespace vectron::index {

// A node is on layers 0 to its level.
inline constexpr int kLevelMax = 12;

// What is stored of the graph: for every slot its neighbours on each of its
// layers, its state and its lock; and the entry point.
//
// Links are arrays of atomics of fixed size (2m on layer 0, m above), filled from
// the front, ended by kNoSlot where not full. Readers load them one by one without
// a lock (acquire: a link's target is fully written); lists change under their
// node's lock, entry by entry, so a reader may see a mixture of an old and a
// new list, which is as good a list as either.
//
// A slot's level follows from its number and the seed, so that it is never stored,
// and a slot that is used again needs no other memory. Nor is it stored where the links
// above layer 0 are, of which few slots have any: they lie in the order of the slots, and
// their place is counted (UpperGroup).
class Graph {
 public:
  Graph(uint32_t m, uint64_t seed);

  // Apply thread: makes `slots` slots usable, on all of their layers. False when there is no
  // memory; those of before stay usable.
  [[nodiscard]] bool Reserve(uint64_t slots);
  // Apply thread: a node without links that nobody can reach yet.
  void Reset(Slot slot);

  // Before anyone reads.
  void RestoreState(Slot slot, uint8_t bits) {
    state_[slot].store(bits, std::memory_order_relaxed);
  }

  int LevelOf(Slot slot) const;
  uint32_t degree_max(int level) const { return level == 0 ? 2 * m_ : m_; }
  uint32_t m() const { return m_; }

  std::atomic<Slot>* BaseLinks(Slot slot) const { return base_.At<std::atomic<Slot>>(slot); }
  // `level` <= LevelOf(slot).
  std::atomic<Slot>* Links(Slot slot, int level) const {
    return level == 0 ? BaseLinks(slot) : upper_.At<std::atomic<Slot>>(UpperBlock(slot, level));
  }
  // Calls visit(neighbour) until the first kNoSlot.
  template <typename Visit>
  void ForEachLink(Slot slot, int level, Visit&& visit) const {
    const std::atomic<Slot>* links = Links(slot, level);
    for (uint32_t i = 0; i < degree_max(level); ++i) {
      const Slot neighbour = links[i].load(std::memory_order_acquire);
      if (neighbour == kNoSlot) break;
      visit(neighbour);
    }
  }
  // Replaces the list; under the node's lock or before anyone can reach it.
  void SetLinks(Slot slot, int level, const std::vector<Slot>& neighbours);
  void CopyLinks(Slot slot, int level, std::vector<Slot>* neighbours) const;

  struct Entry {
    Slot slot = kNoSlot;
    int level = 0;
  };
  Entry entry() const;
  void set_entry(Entry entry);
  // True if it was `expected` until now.
  bool ReplaceEntry(Entry expected, Entry entry);

  // State bits; each is set once in a slot's life and cleared with it.
  static constexpr uint8_t kLinked = 1;   // searches can reach it
  static constexpr uint8_t kDead = 2;     // deleted
  static constexpr uint8_t kSettled = 4;  // done with by the tail
  static constexpr uint8_t kUsed = 8;     // holds a vector, live or dead
  static constexpr uint8_t kWeak = 16;    // linked, but lost links: to be linked again
  uint8_t State(Slot slot) const { return state_[slot].load(std::memory_order_acquire); }
  // Returns the bits before.
  uint8_t AddState(Slot slot, uint8_t bits) { return state_[slot].fetch_or(bits); }

  // When nobody can reach the slot any more.
  void ClearState(Slot slot) { state_[slot].store(0, std::memory_order_release); }

  // Holds a node's lock, which guards its lists. Never two at a time.
  class NodeLock {
   public:
    NodeLock(Graph& graph, Slot slot);
    ~NodeLock();
    NodeLock(const NodeLock&) = delete;
    NodeLock& operator=(const NodeLock&) = delete;

   private:
    std::atomic<uint8_t>& state_;
  };

  uint64_t memory_bytes() const;

 private:
  static constexpr uint8_t kLocked = 128;

  // The blocks of 64 slots lie together: first one for each slot on layer 1, by number; then
  // those of layers 2 and above, of each slot by itself. Written before any of its slots can be
  // reached, and never after.
  struct UpperGroup {
    uint64_t upper = 0;  // bit i: slot i of the group is on layer 1
    uint64_t high = 0;   // ... on layer 2
    uint64_t first_block = 0;
  };
  static constexpr uint64_t kGroupSlots = 64;

  [[nodiscard]] bool AddUpperGroup();
  // `level` from 1 to LevelOf(slot).
  uint64_t UpperBlock(Slot slot, int level) const;

  const uint32_t m_;
  const uint64_t seed_;
  SlabArray base_;   // 2m links a slot
  SlabArray upper_;  // blocks of m links, one for each layer of a slot above 0
  TypedSlabArray<UpperGroup> upper_groups_;
  TypedSlabArray<std::atomic<uint8_t>> state_;
  uint64_t group_count_ = 0;  // apply thread
  uint64_t block_count_ = 0;  // apply thread
  std::atomic<uint64_t> entry_;
};

}  // namespace vectron::index
