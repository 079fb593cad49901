#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "common/mutex.h"
#include "index/memory/epoch.h"
#include "index/vector_index.h"

namespace vectron::index {

// The vectors that the graph does not reach yet: slots in the order in which they
// were put. Positions count up from 0 and never come back. Before `head`
// everything is settled (linked into the graph, or deleted before it came to that);
// between `head` and `end` searches scan.
//
// Thread-safety: Append by the apply thread. Claim and Settle by any linking
// thread. Head, End and Scan by any thread under an epoch guard that it
// holds from before Head or End until after Scan: chunks behind the head are
// retired through the epochs.
class Tail {
 public:
  struct Cursor;

  explicit Tail(EpochManager& epochs);
  ~Tail();
  Tail(const Tail&) = delete;
  Tail& operator=(const Tail&) = delete;

  void Append(Slot slot);

  Cursor Head() const;
  Cursor End() const;
  // Calls visit(slot) for each entry from `cursor` to the end as it is when the
  // scan gets there, in order, until it returns false.
  template <typename Visit>
  void Scan(Cursor cursor, Visit&& visit) const;

  struct Claimed {
    uint64_t position = 0;
    Slot slot = kNoSlot;
  };
  // The first entry that nobody claimed; it must be settled. False: none.
  bool Claim(Claimed* claimed);
  void Settle(const Claimed& claimed);

  // Entries that searches scan.
  uint64_t length() const {
    const uint64_t head = head_.load(std::memory_order_acquire);
    return end_.load(std::memory_order_acquire) - head;
  }
  uint64_t memory_bytes() const;

 private:
  static constexpr uint64_t kChunkEntries = 4096;

  struct Chunk {
    explicit Chunk(uint64_t first) : base(first) {}

    bool Holds(uint64_t position) const { return position - base < kChunkEntries; }

    const uint64_t base;  // position of the first entry
    std::array<std::atomic<Slot>, kChunkEntries> slots{};
    std::array<bool, kChunkEntries> settled{};  // guarded by Tail::mutex_
    std::atomic<Chunk*> next{nullptr};
  };

  EpochManager& epochs_;

  // Invariant: head <= claimed <= end. The chunk of the head is at or before the
  // one that holds `head_`, so a reader loads it first.
  std::atomic<Chunk*> head_chunk_;
  std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> end_{0};
  std::atomic<Chunk*> end_chunk_;  // written by the apply thread

  Mutex mutex_;
  Chunk* claim_chunk_ ABSL_GUARDED_BY(mutex_);
  uint64_t claimed_ ABSL_GUARDED_BY(mutex_) = 0;

 public:
  struct Cursor {
    const Chunk* chunk = nullptr;
    uint64_t position = 0;
  };
};

template <typename Visit>
void Tail::Scan(Cursor cursor, Visit&& visit) const {
  while (cursor.position < end_.load(std::memory_order_acquire)) {
    while (!cursor.chunk->Holds(cursor.position)) {
      cursor.chunk = cursor.chunk->next.load(std::memory_order_acquire);
    }
    const uint64_t place = cursor.position - cursor.chunk->base;
    if (!visit(cursor.chunk->slots[place].load(std::memory_order_relaxed))) return;
    ++cursor.position;
  }
}

}  // namespace vectron::index
