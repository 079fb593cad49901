#include "index/graph/consolidator.h"

#include <algorithm>
#include <utility>

namespace vectron::index {
namespace {

// A pass begins when this part of the nodes is dead.
constexpr uint64_t kDeadPart = 10;
// A piece of a sweep: lists looked at, and lists rebuilt.
constexpr uint64_t kSlotsPerStep = 8192;
constexpr uint64_t kRepairsPerStep = 256;

}  // namespace

Consolidator::Consolidator(Context context) : context_(std::move(context)) {}

void Consolidator::AddDead(Slot slot, uint64_t sequence) {
  MutexLock lock(dead_mutex_);
  dead_.push_back({slot, sequence});
  dead_count_.fetch_add(1, std::memory_order_relaxed);
}

bool Consolidator::Step(std::vector<Slot>* freed) {
  if (!mutex_.TryLock()) return false;
  bool worked = true;
  switch (phase_) {
    case Phase::kIdle:
      worked = Begin();
      break;
    case Phase::kWaitForLinkers:
      worked = context_.epochs.Passed(epoch_);
      if (!worked) break;
      next_slot_ = 0;
      end_slot_ = context_.slot_count.load(std::memory_order_acquire);
      phase_ = Phase::kSweep;
      break;
    case Phase::kSweep:
      Sweep();
      if (next_slot_ < end_slot_) break;
      Unmark();
      epoch_ = context_.epochs.Advance();
      phase_ = Phase::kWaitForReaders;
      break;
    case Phase::kWaitForReaders:
      worked = context_.epochs.Passed(epoch_);
      if (!worked) break;
      Free(freed);
      phase_ = Phase::kIdle;
      break;
  }
  mutex_.Unlock();
  return worked;
}

bool Consolidator::Begin() {
  const uint64_t linked_count = context_.linked_count.load(std::memory_order_relaxed);
  LetGo();
  const uint64_t dead = dead_count() - held_.size();
  if (dead == 0 || dead * kDeadPart < linked_count) return false;
  TakeDead();
  if (doomed_.empty()) return false;
  for (const Slot slot : doomed_) context_.doomed.Set(slot);
  MoveEntry();
  epoch_ = context_.epochs.Advance();
  phase_ = Phase::kWaitForLinkers;
  return true;
}

void Consolidator::TakeDead() {
  MutexLock lock(dead_mutex_);
  // Asked under the lock: a slot that is deleted after a cut gets among the dead after the cut is
  // known, so what is here was either deleted before it, or is found to be deleted after it.
  const uint64_t oldest_cut = context_.oldest_cut();
  const auto in_cuts = context_.in_cuts();
  if (held_.empty()) held_since_ = oldest_cut;
  std::vector<Dead> left;
  for (const Dead& dead : dead_) {
    if (in_cuts(dead.slot, dead.sequence)) {
      held_.push_back(dead);
    } else if (context_.graph.State(dead.slot) & Graph::kSettled) {
      doomed_.push_back(dead.slot);
    } else {
      left.push_back(dead);
    }
  }
  dead_ = std::move(left);
}

// Some of it may still be in other cuts: that is asked again.
void Consolidator::LetGo() {
  if (held_.empty() || context_.oldest_cut() == held_since_) return;
  MutexLock lock(dead_mutex_);
  dead_.insert(dead_.end(), held_.begin(), held_.end());
  held_.clear();
}

// To the living node of the highest level; to any linked node if none lives.
void Consolidator::MoveEntry() {
  Graph& graph = context_.graph;
  for (;;) {
    const Graph::Entry entry = graph.entry();
    if (entry.slot == kNoSlot || !context_.doomed.Test(entry.slot)) return;
    Graph::Entry best;
    bool best_lives = false;
    const uint64_t slot_count = context_.slot_count.load(std::memory_order_acquire);
    for (uint64_t i = 0; i < slot_count; ++i) {
      const auto slot = static_cast<Slot>(i);
      if (!(graph.State(slot) & Graph::kLinked) || context_.doomed.Test(slot)) continue;
      const bool lives = context_.live.Test(slot);
      const int level = graph.LevelOf(slot);
      if (best.slot != kNoSlot && std::pair(lives, level) <= std::pair(best_lives, best.level)) {
        continue;
      }
      best = {slot, level};
      best_lives = lives;
    }
    if (graph.ReplaceEntry(entry, best)) return;
  }
}

// No link leads to the doomed any more; without their state, those who go
// through the slots by number pass over them too.
void Consolidator::Unmark() {
  uint64_t linked = 0;
  for (const Slot slot : doomed_) {
    linked += (context_.graph.State(slot) & Graph::kLinked) != 0;
    context_.graph.ClearState(slot);
  }
  context_.linked_count.fetch_sub(linked, std::memory_order_relaxed);
}

void Consolidator::Free(std::vector<Slot>* freed) {
  for (const Slot slot : doomed_) context_.doomed.Clear(slot);
  dead_count_.fetch_sub(doomed_.size(), std::memory_order_relaxed);
  freed->insert(freed->end(), doomed_.begin(), doomed_.end());
  doomed_.clear();
}

void Consolidator::Sweep() {
  const EpochManager::Guard guard = context_.epochs.Enter();
  const Scorer scorer = context_.scorer();
  uint64_t repairs = 0;
  const uint64_t end = std::min(end_slot_, next_slot_ + kSlotsPerStep);
  while (next_slot_ < end && repairs < kRepairsPerStep) {
    const auto slot = static_cast<Slot>(next_slot_++);
    if (!(context_.graph.State(slot) & Graph::kLinked) || context_.doomed.Test(slot)) continue;
    repairs += context_.linker.Repair(scorer, slot, &scratch_);
  }
}

}  // namespace vectron::index
