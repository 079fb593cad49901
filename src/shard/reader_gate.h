#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vectron::shard {

// Tells a writer when readers can no longer see what it took away (epoch-based
// reclamation: Fraser, "Practical lock-freedom", 2004, section 5.2.3).
//
// What a writer unlinked in epoch e is seen by nobody once Epoch() is e + 2.
//
// Thread-safety: Enter on any thread; TryAdvance on one thread at a time. Readers
// never wait.
class ReaderGate {
 public:
  // Between construction and destruction nothing unlinked later is reclaimed.
  // Movable only into a variable: stays on the thread's stack.
  class Guard {
   public:
    ~Guard() { active_->fetch_sub(1, std::memory_order_release); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    friend class ReaderGate;
    explicit Guard(std::atomic<uint64_t>* active) : active_(active) {}

    std::atomic<uint64_t>* const active_;
  };

  ReaderGate() = default;
  ReaderGate(const ReaderGate&) = delete;
  ReaderGate& operator=(const ReaderGate&) = delete;

  [[nodiscard]] Guard Enter() const;

  uint64_t Epoch() const { return epoch_.load(std::memory_order_seq_cst); }
  // Begins the next epoch if no reader of the one before the present is left.
  // Returns the epoch.
  uint64_t TryAdvance();

 private:
  // Readers of even and of odd epochs; striped so that threads do not share lines.
  struct alignas(64) Stripe {
    std::array<std::atomic<uint64_t>, 2> active{};
  };
  static constexpr size_t kStripeCount = 16;

  mutable std::array<Stripe, kStripeCount> stripes_;
  std::atomic<uint64_t> epoch_{2};
};

}  // namespace vectron::shard
