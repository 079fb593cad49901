#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/clock.h"
#include "common/mutex.h"

namespace vectron::shard {

// When a checkpoint of a shard's index is worth what it writes, and when is a good
// moment for it.
//
// A checkpoint writes all vectors and links. What it spares the next start is to put what
// has changed since (a few microseconds a vector) and to link what it holds without
// links (some hundred). So it is due when enough has changed; and not while
// vectors wait to be linked, if they soon will be: one that is written in the
// middle of a load is outdated when the load is linked. Where it could not
// wait so long, and holds many vectors without links, another follows once they have
// them.
//
// Thread-safe.
class CheckpointPolicy {
 public:
  struct Options {
    std::chrono::milliseconds interval{};
    double changed_fraction = 0;
    uint64_t changed_min = 0;
    // How long it waits for a tail that does not get shorter; for one that does, kDrainFactor
    // times as long.
    std::chrono::milliseconds wait_max{};
  };
  static constexpr int kDrainFactor = 5;

  // Of the index, or of a checkpoint of it.
  struct Observed {
    uint64_t vector_count = 0;
    uint64_t change_count = 0;   // vectors put or deleted; only differences count
    uint64_t pending_count = 0;  // of the vectors: those that are not linked
  };

  CheckpointPolicy(const Options& options, TimePoint now) : options_(options), last_(now) {}

  // There is a checkpoint, and this is in it.
  void SetCheckpoint(const Observed& written, TimePoint now);
  // The one there is stands for the index as it is now, which IsUnchanged.
  void AdvanceCheckpoint(TimePoint now);
  // Whoever keeps the log would like to cut it.
  void Request();

  // True if one should be written now. To be asked about once a second.
  bool IsDue(const Observed& index, TimePoint now);
  // True if a start from the checkpoint there is would find what `index` has, up to
  // links that are quickly made again.
  bool IsUnchanged(const Observed& index) const;

 private:
  uint64_t TailMax(const Observed& index) const;
  uint64_t LinkedSince(const Observed& index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsWorthwhile(const Observed& index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasLinkedMany(const Observed& index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Look(const Observed& index, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  std::optional<Observed> checkpoint_ ABSL_GUARDED_BY(mutex_);
  TimePoint last_ ABSL_GUARDED_BY(mutex_);
  bool requested_ ABSL_GUARDED_BY(mutex_) = false;
  // Since when one would be worthwhile and somebody or the interval asks for it.
  std::optional<TimePoint> wanted_since_ ABSL_GUARDED_BY(mutex_);

  // Whether the tail gets shorter: from looks that are some time apart.
  std::optional<TimePoint> looked_at_ ABSL_GUARDED_BY(mutex_);
  uint64_t looked_pending_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_shrinking_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace vectron::shard
