#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "common/mutex.h"

namespace vectron::index {

// Epoch-based reclamation (Fraser, "Practical lock-freedom", 2004, section 5.2.3):
// tells when nobody can still be looking at something that was made unreachable.
//
// A reader holds a Guard while it follows links. Who makes something unreachable
// calls Advance() afterwards and may reuse it once Passed(that epoch): every guard
// that was entered before has been left. Thread-safe; Enter takes no lock and
// waits for nobody.
class EpochManager {
 public:
  class [[nodiscard]] Guard {
   public:
    Guard() = default;
    Guard(Guard&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      Leave();
      entry_ = std::exchange(other.entry_, nullptr);
      return *this;
    }
    ~Guard() { Leave(); }

   private:
    friend class EpochManager;
    explicit Guard(std::atomic<uint64_t>* entry) : entry_(entry) {}
    void Leave() {
      if (entry_ != nullptr) entry_->store(0, std::memory_order_release);
    }

    std::atomic<uint64_t>* entry_ = nullptr;
  };

  EpochManager() = default;
  ~EpochManager();
  EpochManager(const EpochManager&) = delete;
  EpochManager& operator=(const EpochManager&) = delete;

  Guard Enter() const;
  uint64_t Advance();
  bool Passed(uint64_t epoch) const;

  // Drops `object` once no guard of now is left: at a later Collect().
  void Retire(std::shared_ptr<void> object);
  void Collect();

 private:
  static constexpr size_t kEntriesPerBlock = 64;
  struct alignas(64) Entry {
    std::atomic<uint64_t> epoch{0};  // of the guard that holds it; 0: nobody does
  };
  struct Block {
    std::array<Entry, kEntriesPerBlock> entries;
    std::atomic<Block*> next{nullptr};  // more blocks, when this many guards are held
  };

  std::atomic<uint64_t> epoch_{1};
  mutable Block first_;
  Mutex mutex_;
  std::deque<std::pair<uint64_t, std::shared_ptr<void>>> retired_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::index
