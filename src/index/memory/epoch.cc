#include "index/memory/epoch.h"

#include <vector>

namespace vectron::index {
namespace {

// Threads start their search for a free entry at different places, so that they
// seldom touch the same cache line.
size_t StartOfThisThread() {
  static std::atomic<size_t> next{0};
  thread_local const size_t start = next.fetch_add(1, std::memory_order_relaxed);
  return start;
}

}  // namespace

EpochManager::~EpochManager() {
  for (Block* block = first_.next.load(); block != nullptr;) {
    Block* next = block->next.load();
    delete block;
    block = next;
  }
}

EpochManager::Guard EpochManager::Enter() const {
  const size_t start = StartOfThisThread();
  for (Block* block = &first_;;) {
    for (size_t i = 0; i < kEntriesPerBlock; ++i) {
      std::atomic<uint64_t>& entry = block->entries[(start + i) % kEntriesPerBlock].epoch;
      uint64_t expected = 0;
      if (entry.load(std::memory_order_relaxed) != 0) continue;
      // Sequentially consistent, as Passed's loads are: either Passed sees this
      // entry, or what we read from now on is what was there after the unlinking.
      // An epoch that is outdated by now only makes Passed wait longer.
      if (entry.compare_exchange_strong(expected, epoch_.load())) return Guard(&entry);
    }
    Block* next = block->next.load(std::memory_order_acquire);
    if (next == nullptr) {
      auto added = std::make_unique<Block>();
      if (block->next.compare_exchange_strong(next, added.get())) next = added.release();
    }
    block = next;
  }
}

uint64_t EpochManager::Advance() { return epoch_.fetch_add(1) + 1; }

bool EpochManager::Passed(uint64_t epoch) const {
  for (const Block* block = &first_; block != nullptr; block = block->next.load()) {
    for (const Entry& entry : block->entries) {
      const uint64_t held = entry.epoch.load();
      if (held != 0 && held < epoch) return false;
    }
  }
  return true;
}

void EpochManager::Retire(std::shared_ptr<void> object) {
  const uint64_t epoch = Advance();
  MutexLock lock(mutex_);
  retired_.emplace_back(epoch, std::move(object));
}

void EpochManager::Collect() {
  std::vector<std::shared_ptr<void>> dropped;  // destroyed outside the lock
  MutexLock lock(mutex_);
  while (!retired_.empty() && Passed(retired_.front().first)) {
    dropped.push_back(std::move(retired_.front().second));
    retired_.pop_front();
  }
}

}  // namespace vectron::index
