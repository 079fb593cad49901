#include "shard/checkpoint_policy.h"

#include <algorithm>

namespace vectron::shard {
namespace {

constexpr std::chrono::milliseconds kLookPeriod{500};
// Linking so small a part of the vectors again costs less than writing all of them.
constexpr uint64_t kTailPart = 64;

}  // namespace

void CheckpointPolicy::SetCheckpoint(const Observed& written, TimePoint now) {
  {
    MutexLock lock(mutex_);
    checkpoint_ = written;
  }
  AdvanceCheckpoint(now);
}

void CheckpointPolicy::AdvanceCheckpoint(TimePoint now) {
  MutexLock lock(mutex_);
  last_ = now;
  requested_ = false;
  wanted_since_.reset();
}

void CheckpointPolicy::Request() {
  MutexLock lock(mutex_);
  requested_ = true;
}

// Unlinked vectors that are not worth waiting for, nor another checkpoint.
uint64_t CheckpointPolicy::TailMax(const Observed& index) const {
  return std::max(options_.changed_min, index.vector_count / kTailPart);
}

// Of those that the checkpoint holds without links. The tail is linked in the order in which
// it came, so what is pending now came later, or there is less of it.
uint64_t CheckpointPolicy::LinkedSince(const Observed& index) const {
  const uint64_t before = checkpoint_ ? checkpoint_->pending_count : index.vector_count;
  return before - std::min(before, index.pending_count);
}

bool CheckpointPolicy::HasLinkedMany(const Observed& index) const {
  return LinkedSince(index) > TailMax(index);
}

bool CheckpointPolicy::IsWorthwhile(const Observed& index) const {
  if (!checkpoint_.has_value()) return requested_ || index.vector_count > 0;
  const uint64_t behind = index.change_count - checkpoint_->change_count + LinkedSince(index);
  return behind >= options_.changed_min &&
         static_cast<double>(behind) >=
             options_.changed_fraction * static_cast<double>(index.vector_count);
}

bool CheckpointPolicy::IsUnchanged(const Observed& index) const {
  MutexLock lock(mutex_);
  return checkpoint_.has_value() && index.change_count == checkpoint_->change_count &&
         !HasLinkedMany(index);
}

void CheckpointPolicy::Look(const Observed& index, TimePoint now) {
  if (looked_at_.has_value() && now - *looked_at_ < kLookPeriod) return;
  is_shrinking_ = looked_at_.has_value() && index.pending_count < looked_pending_;
  looked_at_ = now;
  looked_pending_ = index.pending_count;
}

bool CheckpointPolicy::IsDue(const Observed& index, TimePoint now) {
  MutexLock lock(mutex_);
  Look(index, now);
  const bool is_shrinking = is_shrinking_ && index.pending_count > 0;
  const bool is_linked = !is_shrinking && index.pending_count <= TailMax(index);
  if (is_linked && HasLinkedMany(index)) return true;
  const bool is_wanted = requested_ || now - last_ >= options_.interval;
  if (!is_wanted || !IsWorthwhile(index)) return false;
  if (!wanted_since_.has_value()) wanted_since_ = now;
  return is_linked || now - *wanted_since_ >= options_.wait_max * (is_shrinking ? kDrainFactor : 1);
}

}  // namespace vectron::shard
