#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "common/mutex.h"
#include "index/graph/linker.h"
#include "index/memory/epoch.h"

namespace vectron::index {

// Takes deleted nodes out of the graph, so that their slots can be used again.
// A pass, once a tenth of the nodes is dead:
//   1. the dead nodes are doomed: no link to one is added any more, and the
//      entry point is moved off them;
//   2. every guard of before is left (links that were being added are in place);
//   3. every list that names a doomed node is rebuilt;
//   4. every guard of before is left (nobody stands on a doomed node);
//   5. the slots are free.
// Each Step does a bounded piece of that. A slot that was live at the cut of a
// checkpoint that is still being written is not doomed: the file may need it. One that
// was put since is.
//
// Thread-safe: one Step works at a time, others return at once.
class Consolidator {
 public:
  struct Context {
    EpochManager& epochs;
    Graph& graph;
    Linker& linker;
    const SlotBitmap& live;
    SlotBitmap& doomed;  // written only here
    // How distances are measured now; under a guard.
    std::function<Scorer()> scorer;
    // The cut of the oldest checkpoint that is being written, or kNoCut.
    std::function<uint64_t()> oldest_cut;
    // Tells whether a slot that was deleted at `sequence` was live at the cut of one of those that
    // are being written now.
    std::function<std::function<bool(Slot slot, uint64_t sequence)>()> in_cuts;
    const std::atomic<uint64_t>& slot_count;
    std::atomic<uint64_t>& linked_count;  // nodes in the graph
  };

  static constexpr uint64_t kNoCut = ~uint64_t{0};

  explicit Consolidator(Context context);

  // Apply thread. `sequence`: numbers deletions and cuts in the order of their
  // happening; never less than at the call before.
  void AddDead(Slot slot, uint64_t sequence);
  // True if it did something. Freed slots are appended to `freed`.
  bool Step(std::vector<Slot>* freed);

  uint64_t dead_count() const { return dead_count_.load(std::memory_order_relaxed); }

 private:
  enum class Phase { kIdle, kWaitForLinkers, kSweep, kWaitForReaders };
  struct Dead {
    Slot slot;
    uint64_t sequence;
  };

  bool Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what may be freed from dead_ to doomed_.
  void TakeDead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what a cut held that is gone back to dead_.
  void LetGo() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MoveEntry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unmark() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Free(std::vector<Slot>* freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Context context_;
  std::atomic<uint64_t> dead_count_{0};  // dead or doomed, not free yet

  Mutex dead_mutex_;
  std::vector<Dead> dead_ ABSL_GUARDED_BY(dead_mutex_);

  Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kIdle;
  std::vector<Slot> doomed_ ABSL_GUARDED_BY(mutex_);
  std::vector<Dead> held_ ABSL_GUARDED_BY(mutex_);  // by cuts, the oldest of which is:
  uint64_t held_since_ ABSL_GUARDED_BY(mutex_) = kNoCut;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;      // waited for
  uint64_t next_slot_ ABSL_GUARDED_BY(mutex_) = 0;  // of the sweep
  uint64_t end_slot_ ABSL_GUARDED_BY(mutex_) = 0;
  LinkScratch scratch_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::index
