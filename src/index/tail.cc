#include "index/tail.h"

namespace vectron::index {

Tail::Tail(EpochManager& epochs)
    : epochs_(epochs), head_chunk_(new Chunk(0)), end_chunk_(head_chunk_.load()) {
  claim_chunk_ = head_chunk_.load();
}

Tail::~Tail() {
  for (Chunk* chunk = head_chunk_.load(); chunk != nullptr;) {
    Chunk* next = chunk->next.load();
    delete chunk;
    chunk = next;
  }
}

void Tail::Append(Slot slot) {
  const uint64_t position = end_.load(std::memory_order_relaxed);
  Chunk* chunk = end_chunk_.load(std::memory_order_relaxed);
  if (!chunk->Holds(position)) {
    auto* next = new Chunk(position);
    chunk->next.store(next, std::memory_order_release);
    end_chunk_.store(next, std::memory_order_release);
    chunk = next;
  }
  chunk->slots[position - chunk->base].store(slot, std::memory_order_relaxed);
  end_.store(position + 1, std::memory_order_release);
}

Tail::Cursor Tail::Head() const {
  const Chunk* chunk = head_chunk_.load(std::memory_order_acquire);
  return {chunk, head_.load(std::memory_order_acquire)};
}

Tail::Cursor Tail::End() const {
  // In this order the chunk is at or before the one that holds the position.
  const Chunk* chunk = end_chunk_.load(std::memory_order_acquire);
  return {chunk, end_.load(std::memory_order_acquire)};
}

bool Tail::Claim(Claimed* claimed) {
  MutexLock lock(mutex_);
  if (claimed_ == end_.load(std::memory_order_acquire)) return false;
  while (!claim_chunk_->Holds(claimed_)) {
    claim_chunk_ = claim_chunk_->next.load(std::memory_order_acquire);
  }
  claimed->position = claimed_;
  claimed->slot =
      claim_chunk_->slots[claimed_ - claim_chunk_->base].load(std::memory_order_relaxed);
  ++claimed_;
  return true;
}

void Tail::Settle(const Claimed& claimed) {
  MutexLock lock(mutex_);
  Chunk* first = head_chunk_.load(std::memory_order_relaxed);
  Chunk* chunk = first;
  while (!chunk->Holds(claimed.position)) chunk = chunk->next.load(std::memory_order_acquire);
  chunk->settled[claimed.position - chunk->base] = true;

  uint64_t head = head_.load(std::memory_order_relaxed);
  if (head != claimed.position) return;
  chunk = first;
  while (head < claimed_) {
    while (!chunk->Holds(head)) chunk = chunk->next.load(std::memory_order_acquire);
    if (!chunk->settled[head - chunk->base]) break;
    ++head;
  }
  head_.store(head, std::memory_order_release);
  // `chunk` holds the last entry before the head, or the head itself; the claiming
  // cursor and the end are at or behind it. What comes before it nobody needs who
  // has not got it already.
  head_chunk_.store(chunk, std::memory_order_release);
  while (first != chunk) {
    Chunk* next = first->next.load(std::memory_order_acquire);
    epochs_.Retire(std::shared_ptr<Chunk>(first));
    first = next;
  }
}

uint64_t Tail::memory_bytes() const { return (length() / kChunkEntries + 1) * sizeof(Chunk); }

}  // namespace vectron::index
