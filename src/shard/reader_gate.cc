#include "shard/reader_gate.h"

namespace vectron::shard {
namespace {

size_t ThreadNumber() {
  static std::atomic<size_t> next{0};
  thread_local const size_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace

ReaderGate::Guard ReaderGate::Enter() const {
  Stripe& stripe = stripes_[ThreadNumber() % kStripeCount];
  while (true) {
    const uint64_t epoch = epoch_.load(std::memory_order_seq_cst);
    std::atomic<uint64_t>& active = stripe.active[epoch & 1];
    active.fetch_add(1, std::memory_order_seq_cst);
    // TryAdvance may have counted before this reader was counted; if the epoch is
    // still the same it will count it the next time, before it could matter.
    if (epoch_.load(std::memory_order_seq_cst) == epoch) return Guard(&active);
    active.fetch_sub(1, std::memory_order_release);
  }
}

uint64_t ReaderGate::TryAdvance() {
  const uint64_t epoch = epoch_.load(std::memory_order_seq_cst);
  for (const Stripe& stripe : stripes_) {
    if (stripe.active[(epoch + 1) & 1].load(std::memory_order_seq_cst) != 0) return epoch;
  }
  epoch_.store(epoch + 1, std::memory_order_seq_cst);
  return epoch + 1;
}

}  // namespace vectron::shard
