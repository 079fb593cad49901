#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/atomic_file.h"
#include "common/check.h"
#include "common/logging.h"
#include "shard/shard.h"
#include "shard/shard_state.h"

// What a shard does beside its log: linking, flushing, checkpoints, snapshots.

namespace vectron::shard {
namespace {

constexpr std::chrono::minutes kGarbageCheckInterval{1};

}  // namespace

bool Shard::DoIndexWork(size_t count_max) {
  const auto guard = gate_.Enter();
  return CurrentState().index->DoWork(count_max);
}

void Shard::StartBackground(std::function<void()> task) {
  MutexLock lock(background_mutex_);
  if (background_running_ || closing_) return;
  background_running_ = environment_.background->TrySubmit([this, task = std::move(task)] {
    task();
    MutexLock done_lock(background_mutex_);
    background_running_ = false;
    background_done_.NotifyAll();
  });
}

void Shard::RequestFlush() {
  SharedState()->checkpoint_policy.Request();
  StartFlush();
}

void Shard::StartFlush() {
  {
    MutexLock lock(background_mutex_);
    flush_wanted_ = true;
  }
  StartBackground([this] { RunFlushes(); });
}

void Shard::RunFlushes() {
  while (true) {
    {
      MutexLock lock(background_mutex_);
      if (!flush_wanted_ || closing_) return;
      flush_wanted_ = false;
    }
    const Status status = Checkpoint(CheckpointRule::kIfDue);
    if (status.ok()) continue;
    VECTRON_LOG_WARN("shard {}: cannot be made durable: {}", options_.shard.value(),
                     status.ToString());
    return;
  }
}

Status Shard::Checkpoint(CheckpointRule rule) {
  MutexLock serial(checkpoint_mutex_);
  const std::shared_ptr<State> state = SharedState();
  PointIndex::CutPtr cut;  // goes before the state that it is of
  LogIndex applied;
  CheckpointPolicy& policy = state->checkpoint_policy;
  CheckpointPolicy::Observed observed;
  bool unchanged = false;
  {
    MutexLock lock(apply_mutex_);
    VECTRON_RETURN_IF_ERROR(state->failure);
    applied = LogIndex(state->index_applied.load());
    observed = state->index->Observe();
    unchanged = policy.IsUnchanged(observed);
    const bool wanted =
        rule == CheckpointRule::kAlways || policy.IsDue(observed, environment_.clock->Now());
    if (!unchanged && wanted) cut = state->index->MakeCut();
  }
  // Before the index: an index that is ahead of its store would be of no use.
  VECTRON_RETURN_IF_ERROR(state->store->database().Flush());
  const LogIndex last(state->checkpoint_applied);
  if (cut != nullptr) {
    VECTRON_RETURN_IF_ERROR(state->checkpoints.Write(*state->index, *cut, applied,
                                                     options_.checkpoint_bytes_per_second_max));
    policy.SetCheckpoint(observed, environment_.clock->Now());
  } else if (unchanged && applied > last) {
    VECTRON_RETURN_IF_ERROR(state->checkpoints.Advance(last, applied));
    policy.AdvanceCheckpoint(environment_.clock->Now());
  } else {
    return OkStatus();
  }
  state->checkpoint_applied.store(applied.value(), std::memory_order_release);
  return OkStatus();
}

void Shard::Tick() {
  const std::shared_ptr<State> state = SharedState();
  const TimePoint now = environment_.clock->Now();
  if (!state->Damage().ok()) return;
  const Status store_error = state->store->database().BackgroundError();
  if (ReasonOf(store_error) == Reason::kCorruption) {
    Noted(*state, store_error).IgnoreError();  // a compaction met it
    return;
  }
  if (!store_error.ok()) {
    // RocksDB tries by itself where it saw that there was no room; this covers the
    // rest. It says in the log what came of it.
    StartBackground([state] { state->store->database().Resume().IgnoreError(); });
    return;
  }
  if (state->checkpoint_policy.IsDue(state->index->Observe(), now)) {
    StartFlush();
  } else if (now - last_garbage_check_.load(std::memory_order_relaxed) >= kGarbageCheckInterval) {
    last_garbage_check_.store(now, std::memory_order_relaxed);
    StartBackground([this] { CollectGarbage(); });
  }
}

void Shard::CollectGarbage() {
  const std::shared_ptr<State> state = SharedState();
  for (const storage::Family family : {Store::kVectors, Store::kPoints}) {
    const auto collected =
        state->store->database().CollectGarbage(family, options_.blob_garbage_fraction_max);
    if (!collected.ok()) {
      VECTRON_LOG_WARN("shard {}: {}", options_.shard.value(), collected.status().ToString());
    }
  }
}

StatusOr<Shard::ScrubPiece> Shard::Scrub(uint64_t bytes_max) {
  const std::shared_ptr<State> state = SharedState();
  VECTRON_RETURN_IF_ERROR(state->Damage());
  const storage::Database& database = state->store->database();
  if (state->scrub == nullptr) {
    VECTRON_ASSIGN_OR_RETURN(state->scrub, storage::FileScrub::Begin(database));
  }
  const auto piece = state->scrub->Step(bytes_max);
  if (!piece.ok()) return Noted(*state, piece.status());
  if (piece->is_last) state->scrub.reset();
  return ScrubPiece{piece->read_bytes, piece->is_last};
}

Status Shard::Close() {
  {
    MutexLock lock(background_mutex_);
    closing_ = true;
    while (background_running_) background_done_.Wait(background_mutex_);
  }
  VECTRON_RETURN_IF_ERROR(Damage());
  return Checkpoint(CheckpointRule::kAlways);
}

StatusOr<LogIndex> Shard::SaveSnapshot(const std::string& dir) {
  const std::shared_ptr<State> state = SharedState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(*state));
  VECTRON_RETURN_IF_ERROR(MakeDirectories(dir));
  // Most of the flush is done before Apply has to wait for the rest.
  VECTRON_RETURN_IF_ERROR(state->store->database().Flush());
  PointIndex::CutPtr cut;
  LogIndex applied;
  {
    MutexLock lock(apply_mutex_);
    VECTRON_RETURN_IF_ERROR(state->failure);
    applied = state->applied();
    cut = state->index->MakeCut();
    VECTRON_RETURN_IF_ERROR(state->store->database().Checkpoint(dir + "/store"));
  }
  IndexCheckpoints checkpoints(dir + "/index");
  VECTRON_RETURN_IF_ERROR(
      checkpoints.Write(*state->index, *cut, applied, options_.checkpoint_bytes_per_second_max));
  return applied;
}

}  // namespace vectron::shard
